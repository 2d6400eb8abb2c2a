"""Composites: conditions that are written often, under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from freshet.definitions.condition.base import AutomationCondition

__all__ = ["Composites"]


class Composites:
    """A part of `AutomationCondition`."""

    @classmethod
    def any_deps_missing(cls) -> AutomationCondition:
        """A partition of a dependency is missing and not about to be made in the same run."""
        own = _factories(cls)
        return own.any_deps_match(own.missing() & ~own.will_be_requested()).with_label("any_deps_missing")

    @classmethod
    def any_deps_updated(cls) -> AutomationCondition:
        """A partition of a dependency was materialized in this transaction."""
        own = _factories(cls)
        return own.any_deps_match(own.newly_updated()).with_label("any_deps_updated")


def _factories(cls: type[Composites]) -> type[AutomationCondition]:
    return cast("type[AutomationCondition]", cls)
