"""Schedules with a body: to an evaluator they are sensors whose cursor is the instant they are asked about."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any

from freshet.definitions.schedule import Schedule
from freshet.definitions.sensor import FunctionSensor
from freshet.host.contexts import Logger, SensorContext

__all__ = ["ScheduledContext", "as_sensor"]


class ScheduledContext:
    """`ctx` of a schedule's body: implements `host.contexts.ScheduleContext`."""

    __slots__ = ("_ctx",)

    def __init__(self, ctx: SensorContext) -> None:
        self._ctx = ctx

    @property
    def name(self) -> str:
        """The schedule's name."""
        return self._ctx.name

    @property
    def scheduled_time(self) -> datetime:
        """The nominal instant, aware, in UTC."""
        return datetime.fromtimestamp(self._ctx.cursor, UTC)

    @property
    def now(self) -> datetime:
        """The time of this tick, aware, in UTC."""
        return self._ctx.now

    @property
    def log(self) -> Logger:
        """The daemon's log, with the schedule's name."""
        return self._ctx.log


def as_sensor(schedule: Schedule) -> FunctionSensor:
    """What the evaluator holds for a schedule with a body."""
    assert schedule.function is not None, "a schedule without a body is not asked"

    @functools.wraps(schedule.function)
    def body(ctx: SensorContext) -> Any:
        return schedule.evaluate(ScheduledContext(ctx))

    made = FunctionSensor(body, name=schedule.name, target=schedule.spec.target)
    made.resources = ()  # a body is given none
    return made
