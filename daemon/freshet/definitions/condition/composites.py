"""Composites: conditions that are written often, under a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    def any_deps_in_progress(cls) -> AutomationCondition:
        """A partition of a dependency is queued or running. Unlike Dagster's `eager`, ours waits for those by
        `when_deps_ready`, and for `max_wait` at most."""
        own = _factories(cls)
        return own.any_deps_match(own.in_progress()).with_label("any_deps_in_progress")

    @classmethod
    def any_deps_updated(cls) -> AutomationCondition:
        """A partition of a dependency was materialized in this transaction.

        Unlike Dagster's, not also where one is about to be requested: `eager` says that beside it, since what is merely
        asked for is no update if its run fails. Of what a run makes that makes this asset next, Dagster's is not true;
        here it is, and the request joins that run's own step (see `newly_handled`)."""
        own = _factories(cls)
        return own.any_deps_match(own.newly_updated()).with_label("any_deps_updated")

    @classmethod
    def any_new_update_has_run_tags(
        cls, tag_keys: Iterable[str] | None = None, tag_values: Mapping[str, str] | None = None
    ) -> AutomationCondition:
        """It was materialized in this transaction by a run with these tags; as in `executed_with_tags`."""
        own = _factories(cls)
        tagged = own.newly_updated() & own.executed_with_tags(tag_keys, tag_values)
        return tagged.with_label("any_new_update_has_run_tags")

    @classmethod
    def all_new_updates_have_run_tags(
        cls, tag_keys: Iterable[str] | None = None, tag_values: Mapping[str, str] | None = None
    ) -> AutomationCondition:
        """The same as `any_new_update_has_run_tags`: a look sees one transaction, and in one a run makes a partition
        once. Dagster's sees all that came since its last evaluation, and asks whether each of them was such."""
        tagged = cls.any_new_update_has_run_tags(tag_keys, tag_values)
        return tagged.with_label("all_new_updates_have_run_tags")

    @classmethod
    def all_deps_blocking_checks_passed(cls) -> AutomationCondition:
        """Of each dependency, a partition whose blocking checks have all passed, or that is about to be made in the
        same run. `eager()` has no need of it: what blocking checks hold is no update for it."""
        own = _factories(cls)
        passed = own.all_checks_match(own.check_passed(), blocking_only=True) | own.will_be_requested()
        return own.all_deps_match(passed).with_label("all_deps_blocking_checks_passed")


def _factories(cls: type[Composites]) -> type[AutomationCondition]:
    return cast("type[AutomationCondition]", cls)
