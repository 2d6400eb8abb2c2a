"""The policies: conditions ready for use, written with the operands and operators that plugins have too."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from freshet.definitions.durations import Duration

if TYPE_CHECKING:
    from freshet.definitions.condition.base import AutomationCondition

__all__ = ["Policies"]


class Policies:
    """A part of `AutomationCondition`."""

    @classmethod
    def eager(cls, max_wait: Duration = "1m") -> AutomationCondition:
        """Materialize when an upstream was updated, and when missing.

        ==================================================  =============================================
        what happens                                        what follows
        ==================================================  =============================================
        a dependency is materialized                        a request
        missing at the first look, or partition added       a request
        a dependency is requested in this look and can      a request in the same run
        share its run (same set, same key)
        updated while the run is queued                     nothing: the run reads it when it starts
        updated while the run is running                    one more run when it ends
        the run fails for good, is canceled or skipped      nothing until the next update
        upstream held back (see `WhenDepsReady`)            the request waits, if softly `max_wait` at most
        ==================================================  =============================================

        Differs from Dagster on purpose: an update counts as handled when the step starts, not when it is
        requested; an upstream partition that failed for good, or lies below a failure, does not hold back a
        downstream that maps several partitions, so that one bad batch does not stop the total; waiting for
        upstreams in progress ends after `max_wait`; all windows of time are looked at, not the latest alone (say
        `& AutomationCondition.in_latest_time_window()` for that), so that a late update reaches what it concerns; a
        dependency that is merely about to be requested is not remembered as an update unless it shares the run, so
        that nothing runs because of a run that failed.
        """
        own = _factories(cls)
        updated = (own.newly_missing() | own.any_deps_updated()).since_last_handled().with_label("updated")
        joins = own.any_deps_match(own.will_be_requested()).with_label("joins_upstream")
        ready = updated.when_deps_ready(max_wait) | joins.when_deps_ready(None)
        return (ready & ~own.in_progress()).with_label("eager")

    @classmethod
    def on_missing(cls) -> AutomationCondition:
        """Materialize what is missing, once, when all it depends on is there.

        ==================================================  =============================================
        what happens                                        what follows
        ==================================================  =============================================
        missing at the first look, or partition added       a request once every partition its mappings
                                                            name is materialized, at least one of each
        a dependency will be made in the same run           as if it were there
        a dependency is updated later                       nothing
        the run fails for good, is canceled or skipped      nothing: it was asked for once
        ==================================================  =============================================

        As in Dagster, except that what is missing at the first look is asked for too, that all windows of time are,
        not the latest alone (say `& AutomationCondition.in_latest_time_window()` for that), and that a mapping that
        names no partition at all (a set without keys) is not 'all there'.
        """
        own = _factories(cls)
        there = own.all_deps_match(~own.missing() | own.will_be_requested()).with_label("all_deps_there")
        asked = own.newly_missing().since_last_handled().with_label("missing_since_last_handled")
        return (asked & there & ~own.any_deps_missing() & ~own.in_progress()).with_label("on_missing")

    @classmethod
    def on_lapse(cls, attempts: int = 3, *, delay: Duration = "30s", max_wait: Duration = "1m") -> AutomationCondition:
        """Materialize when its own freshness policy lapses or one above it does (`upstream_lapsed`).

        ==================================================  =============================================
        what happens                                        what follows
        ==================================================  =============================================
        a policy lapses                                     one request for this episode
        it lapses while a run is queued or running          no second run beside it; one after it if that run
                                                            began before an upstream lapsed
        the run fails for good                              again after `delay`, then twice that, up to
                                                            `attempts` runs in all; then exhausted
        exhausted                                           nothing until a success or another lapse
        the run is canceled                                 as exhausted
        the run is skipped as one above it failed           a run of its own, on what is there
        the lapsed upstream is being refreshed              after it; in the same run where they share one
        ==================================================  =============================================

        Of a partitioned asset the newest partition is made; where its own policy is for each partition, every one that
        lapsed; where one above it is, every one that depends on a partition which lapsed. Episodes and attempts are
        those of each partition. That it is exhausted, and the success after it, are events (`refresh_exhausted`,
        `refresh_recovered`). Not in Dagster.
        """
        own = _factories(cls)
        ready = own.lapse_unserved(attempts, delay).when_deps_ready(max_wait, after_lapsed=True)
        return (ready & ~own.in_progress()).with_label("on_lapse")


def _factories(cls: type[Policies]) -> type[AutomationCondition]:
    return cast("type[AutomationCondition]", cls)
