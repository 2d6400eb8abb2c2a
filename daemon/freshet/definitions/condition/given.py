"""What is handed to conditions, looked at where the plugin hands it over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freshet.definitions.expect import expect
from freshet.errors import DefinitionError

if TYPE_CHECKING:
    from freshet.definitions.condition.base import AutomationCondition

__all__ = ["given_condition", "given_count"]


def given_condition(condition: AutomationCondition, base: type[AutomationCondition], what: str) -> AutomationCondition:
    """A condition, or `DefinitionError` with the place. `base`: the class of all."""
    name: object = condition
    known = isinstance(name, str) and name.isidentifier() and callable(getattr(base, name, None))
    hint = f"AutomationCondition.{condition}()" if known else "a condition, for example AutomationCondition.missing()"
    return expect(condition, (base,), what, f"write {hint}")


def given_count(count: int, what: str, fails: str) -> int:
    """A number of one or more. `fails`: what becomes of less."""
    if expect(count, (int,), what, "give a whole number, at least 1") < 1:
        raise DefinitionError(f"{what.removesuffix(')')}{count}) {fails}", hint="give at least 1")
    return count
