"""Conditions about time: instants that pass, and windows that are the latest."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from freshet.definitions.condition import nodes
from freshet.definitions.cron import check_cron
from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.zones import check_zone

if TYPE_CHECKING:
    from freshet.definitions.condition.base import AutomationCondition

__all__ = ["Moments"]


class Moments:
    """A part of `AutomationCondition`."""

    @staticmethod
    def cron_tick_passed(cron: str, timezone: str | None = None) -> AutomationCondition:
        """An instant of the cron text has passed, in the look at that instant; several that passed while nothing was
        looked at are one. `timezone`: the configuration's if None.

        Looks come in the order of time: what was committed before the instant is looked at before it.
        """
        zone = None if timezone is None else check_zone(timezone, what="cron_tick_passed(timezone=)")
        return nodes.CronTickPassed(check_cron(cron, what="cron_tick_passed()"), zone)

    @staticmethod
    def in_latest_time_window(lookback: Duration | None = None) -> AutomationCondition:
        """It is the latest window that has opened; with `lookback`, one that ended less than that before the end of
        the latest. Of a set of several dimensions, as its windows are; of an asset without windows, always true."""
        seconds = None if lookback is None else parse_duration(lookback, what="in_latest_time_window()")
        return nodes.InLatestTimeWindow(seconds)

    @classmethod
    def on_cron(cls, cron: str, timezone: str | None = None) -> AutomationCondition:
        """Materialize after each instant of the cron text, once everything above was updated since.

        ==================================================  =============================================
        what happens                                        what follows
        ==================================================  =============================================
        an instant passes, nothing lies above               a request
        an instant passes, something lies above             a request as soon as each dependency was
                                                            updated after it
        a dependency is requested in this look and can      as if it were updated: one run
        share its run
        a dependency is updated again later                 nothing until the next instant
        the next instant passes first                       it waits for updates since that one
        the run fails for good, is canceled or skipped      nothing until the next instant
        ==================================================  =============================================

        As in Dagster: of what is partitioned in time the latest window alone is made; give
        `.without(AutomationCondition.in_latest_time_window())` for all. An update counts as handled when the step
        starts, not when it is requested.
        """
        own = cast("type[AutomationCondition]", cls)
        check_cron(cron, what="on_cron()")
        passed = own.cron_tick_passed(cron, timezone)
        due = passed.since_last_handled().with_label("tick_since_last_handled")
        updated = own.all_deps_updated_since_cron(cron, timezone)
        return (own.in_latest_time_window() & due & updated & ~own.in_progress()).with_label("on_cron")

    @classmethod
    def all_deps_updated_since_cron(cls, cron: str, timezone: str | None = None) -> AutomationCondition:
        """Each dependency was materialized after the last instant of the cron text, or is about to be in this run."""
        own = cast("type[AutomationCondition]", cls)
        since = own.newly_updated().since(own.cron_tick_passed(cron, timezone))
        return own.all_deps_match(since | own.will_be_requested()).with_label("all_deps_updated_since_cron")
