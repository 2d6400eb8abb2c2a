"""Conditions on what checks have found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freshet.definitions.condition import nodes
from freshet.definitions.expect import expect
from freshet.errors import DefinitionError

if TYPE_CHECKING:
    from freshet.definitions.condition.base import AutomationCondition

__all__ = ["Checks"]


class Checks:
    """A part of `AutomationCondition`.

    What a check found counts for what it looked at: once a partition is made anew, it has neither passed nor failed
    until it has run again, as in Dagster. What a check of all partitions together found counts for each of them, until
    it runs again. Unlike Dagster's, a check that raised has failed.
    """

    @staticmethod
    def check_passed(name: str | None = None) -> AutomationCondition:
        """The check of that name has passed; without a name: the asset has checks, and all have passed. Imported ones
        are called by their source, too: `check_passed("dbt:unique_orders_id")`."""
        return nodes.CheckIs("check_passed", _named(name, "check_passed"))

    @staticmethod
    def check_failed(name: str | None = None) -> AutomationCondition:
        """The check of that name has failed, whatever its severity; without a name: at least one has."""
        return nodes.CheckIs("check_failed", _named(name, "check_failed"))

    @staticmethod
    def any_checks_match(condition: AutomationCondition, *, blocking_only: bool = False) -> AutomationCondition:
        """`condition` is true of at least one check of the asset: made of `check_passed()` and `check_failed()` with
        `&`, `|` and `~`. `blocking_only`: of the blocking ones. False for an asset without such checks."""
        return nodes.ChecksMatch("any_checks_match", _of_checks(condition, "any_checks_match"), blocking_only)

    @staticmethod
    def all_checks_match(condition: AutomationCondition, *, blocking_only: bool = False) -> AutomationCondition:
        """`condition` is true of every check of the asset; as in `any_checks_match`. True for an asset without such
        checks."""
        return nodes.ChecksMatch("all_checks_match", _of_checks(condition, "all_checks_match"), blocking_only)


def _named(name: str | None, what: str) -> str | None:
    return expect(name, (str, type(None)), what, f'write {what}("not_negative")')


def _of_checks(condition: AutomationCondition, what: str) -> AutomationCondition:
    if not _is_of_checks(condition):
        raise DefinitionError(
            f"{what}({condition}) is not made of checks alone",
            hint="write check_passed() and check_failed() without names in it, joined by &, | and ~",
        )
    return condition


def _is_of_checks(condition: object) -> bool:
    if isinstance(condition, nodes.CheckIs):
        return condition.name is None
    return isinstance(condition, (nodes.And, nodes.Or, nodes.Not)) and all(map(_is_of_checks, condition.children()))
