"""Facts: the conditions that the others are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from freshet.definitions.condition import nodes
from freshet.definitions.condition.given import given_condition, given_count
from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect_list, expect_tags
from freshet.errors import DefinitionError

if TYPE_CHECKING:
    from freshet.definitions.condition.base import AutomationCondition

__all__ = ["Facts"]


class Facts:
    """A part of `AutomationCondition`."""

    @staticmethod
    def missing() -> AutomationCondition:
        """Never materialized. For what depends on it, also while its blocking checks hold it."""
        return nodes.Operand("missing")

    @staticmethod
    def in_progress() -> AutomationCondition:
        """Queued or running, whoever asked for it: for the asset itself from the commit of the request on; for others
        that look at it (`any_deps_match`, `asset_matches`) from the decision to ask on."""
        return nodes.Operand("in_progress")

    @classmethod
    def run_in_progress(cls) -> AutomationCondition:
        """The same as `in_progress`: Dagster's `in_progress` is also true of what a backfill has not come to yet."""
        return _base(cls).in_progress()

    @staticmethod
    def execution_failed() -> AutomationCondition:
        """The last run that ended failed for good: no attempts were left."""
        return nodes.Operand("execution_failed")

    @staticmethod
    def newly_updated() -> AutomationCondition:
        """Materialized in this transaction, by a run or by a report from outside. For what depends on it, not before
        its blocking checks have passed: then in the transaction in which the last of them did."""
        return nodes.Operand("newly_updated")

    @staticmethod
    def newly_requested() -> AutomationCondition:
        """A run of it was admitted in this transaction. Unlike Dagster's: whoever asked for it."""
        return nodes.Operand("newly_requested")

    @staticmethod
    def newly_missing() -> AutomationCondition:
        """Added in this transaction, or missing when this condition is evaluated for the first time."""
        return nodes.Operand("newly_missing")

    @staticmethod
    def newly_handled() -> AutomationCondition:
        """Its step began in this transaction (and read its inputs in it), or it was reported from outside, or its
        queued run was canceled or skipped.

        Not in Dagster, whose conditions count as handled when they are requested. What arrives between request
        and start is read by that run and needs no other.
        """
        return nodes.Operand("newly_handled")

    @staticmethod
    def will_be_requested() -> AutomationCondition:
        """Of a dependency: requested in this same look, for the same partition, so that one run can hold both."""
        return nodes.Operand("will_be_requested")

    @staticmethod
    def freshness_passed() -> AutomationCondition:
        """It has a freshness policy that neither warns nor has lapsed; partitions as in `freshness_lapsed`. Unlike
        Dagster's also before it was ever made, as long as the policy, which counts from when it was there first, gives
        it time."""
        return nodes.Operand("freshness_passed")

    @classmethod
    def freshness_failed(cls) -> AutomationCondition:
        """Dagster's name for `freshness_lapsed`, which differs in one point: what was never made lapses, too."""
        return _base(cls).freshness_lapsed()

    @staticmethod
    def freshness_lapsed() -> AutomationCondition:
        """Its freshness policy has lapsed. For a partitioned asset true of its newest partition alone: the policy
        is about the latest activity, and making all partitions again would not make it more recent. Where the policy is
        for each partition, true of those that lapsed."""
        return nodes.Operand("freshness_lapsed")

    @staticmethod
    def freshness_warned() -> AutomationCondition:
        """Its freshness policy warns and has not lapsed; partitions as in `freshness_lapsed`."""
        return nodes.Operand("freshness_warned")

    @staticmethod
    def upstream_lapsed() -> AutomationCondition:
        """A policy above it has lapsed: of any asset at any distance, looking past assets without a policy and
        stopping at the first that has one. True of the newest partition; where that policy is for each partition, of
        those that depend on one which lapsed, as the mappings on the way there say."""
        return nodes.Operand("upstream_lapsed")

    @staticmethod
    def initial_evaluation() -> AutomationCondition:
        """This condition is evaluated for the first time for its asset (also after an edit of the condition)."""
        return nodes.Operand("initial_evaluation")

    @staticmethod
    def code_version_changed() -> AutomationCondition:
        """Its code is another than that of the definitions before: its `version=`, or without one what its function
        does. As in Dagster true in that look only, once for an edit, and not for an asset that is new; of all
        partitions there are. Unlike Dagster's, also where the condition was edited with it."""
        return nodes.Operand("code_version_changed")

    @staticmethod
    def data_version_changed() -> AutomationCondition:
        """Materialized in this transaction with data of another version than the partition had before; true of what has
        no version, since nothing is known of it, and of a partition's first. The version is what the function
        (`ctx.data_version`) or the report says, else the digest of the value that is kept. As in Dagster true in that
        look only; what asks for it is not woken by data that is the same again."""
        return nodes.Operand("data_version_changed")

    @staticmethod
    def executed_with_tags(
        tag_keys: Iterable[str] | None = None, tag_values: Mapping[str, str] | None = None
    ) -> AutomationCondition:
        """The run that materialized it last has all of these tags: keys with any value, and keys with this value. A
        report from outside has none.

        Unlike Dagster's: of what was made before this condition was there, nothing is known, and it is false.
        """
        keys = () if tag_keys is None else expect_list(tag_keys, "executed_with_tags(tag_keys=)", 'write ["team"]')
        values = expect_tags(None if tag_values is None else dict(tag_values), "executed_with_tags(tag_values=)")
        if not keys and not values:
            raise DefinitionError("executed_with_tags() names no tag", hint='write tag_values={"team": "sales"}')
        return nodes.ExecutedWithTags(tuple(sorted(set(keys))), tuple(sorted(values.items())))

    @classmethod
    def any_deps_match(cls, condition: AutomationCondition) -> AutomationCondition:
        """`condition` is true of at least one partition, that the mapping names, of at least one dependency."""
        return nodes.AnyDepsMatch(given_condition(condition, _base(cls), "any_deps_match()"))

    @classmethod
    def all_deps_match(cls, condition: AutomationCondition) -> AutomationCondition:
        """`condition` is true of at least one partition, that the mapping names, of each dependency; a key for which
        a `Static` names nothing does not have that dependency."""
        return nodes.AllDepsMatch(given_condition(condition, _base(cls), "all_deps_match()"))

    @staticmethod
    def any_downstream_conditions() -> AutomationCondition:
        """The condition of an asset next below is true, as if it were this one's own. Where that one says
        `any_downstream_conditions` itself, those below it count."""
        return nodes.AnyDownstreamConditions()

    @staticmethod
    def lapse_unserved(attempts: int = 3, delay: Duration = "30s") -> AutomationCondition:
        """A lapse that no run has answered, with attempts left; see `LapseUnserved`."""
        given_count(attempts, "on_lapse(attempts=)", "allows no run")
        return nodes.LapseUnserved(attempts, parse_duration(delay, what="on_lapse(delay=)"))


def _base(cls: type[Facts]) -> type[AutomationCondition]:
    return cast("type[AutomationCondition]", cls)
