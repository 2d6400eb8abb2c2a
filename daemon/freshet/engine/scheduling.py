"""A schedule as the engine holds it."""

from __future__ import annotations

from dataclasses import dataclass

from freshet.definitions.schedule import ScheduleSpec
from freshet.engine.control import ScheduleView
from freshet.engine.schedules.plan import Plan, ScheduleState
from freshet.store.records import TickerRow

__all__ = ["ScheduleTicker", "ticker_of"]


@dataclass(slots=True)
class ScheduleTicker:
    """`state`: what is decided so far, as of the last commit. `busy`: a decision is on its way. `asked`: what the body
    is being asked about, under `tick_id`."""

    spec: ScheduleSpec
    row: TickerRow
    state: ScheduleState | None
    busy: bool = False
    asked: Plan | None = None
    tick_id: int = 0
    last_fired: float | None = None

    def view(self, now: float) -> ScheduleView:
        """For display."""
        following = self.spec.times.after(self.state.decided if self.state else now)
        return ScheduleView(
            name=self.spec.name,
            status="paused" if self.row.paused else "failing" if self.row.failures else "ok",
            next=following,
            last_fired=self.last_fired,
            failures=self.row.failures,
            last_error=self.row.last_error,
        )


def ticker_of(spec: ScheduleSpec, row: TickerRow) -> ScheduleTicker:
    """A schedule with what its ticker's cursor holds."""
    state = None if row.cursor is None else ScheduleState(**row.cursor)
    return ScheduleTicker(spec, row, state)
