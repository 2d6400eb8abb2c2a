"""The sensors as the engine holds them: what is remembered, what is in flight, what they were told to look at."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field, replace

from freshet.definitions.outcome import Json
from freshet.definitions.sensor import SensorSpec
from freshet.engine.attention import FULL, Attention
from freshet.engine.views import SensorState, SensorStatus, TickReport
from freshet.errors import FreshetError
from freshet.executors.base import TickEnd, TickOrder
from freshet.store.records import DroppedRequest, TickerRow
from freshet.store.records.ticks import RunKey

__all__ = ["InFlight", "SensorTicker", "TickTally"]

_PUT_OFF = 3
"""Looks in a row that a source may put off before its sensor is said to wait."""


@dataclass(slots=True)
class TickTally:
    """What a tick by hand has done so far, checkpoints included, and who waits for it."""

    cursor_before: Json
    answer: asyncio.Future[TickReport]
    runs: list[Json] = field(default_factory=list[Json])
    dropped: list[Json] = field(default_factory=list[Json])
    partitions: list[Json] = field(default_factory=list[Json])
    reports: list[Json] = field(default_factory=list[Json])
    pending: list[Json] = field(default_factory=list[Json])
    ledger_added: int = 0
    ledger_removed: int = 0

    def answer_with(self, row: TickerRow, end: TickEnd, error: FreshetError | None) -> None:
        """Tell who waits, unless nobody does any more."""
        if self.answer.done():
            return
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(self._finish(row, end))

    def _finish(self, row: TickerRow, end: TickEnd) -> TickReport:
        return TickReport(
            sensor=row.name,
            status=end.status,
            dry_run=False,
            cursor_before=self.cursor_before,
            cursor=row.cursor,
            runs=tuple(self.runs),
            dropped=tuple(self.dropped),
            partitions=tuple(self.partitions),
            reports=tuple(self.reports),
            pending=tuple(self.pending),
            ledger_added=self.ledger_added,
            ledger_removed=self.ledger_removed,
            skip=end.skip,
            error=None if end.error is None else asdict(end.error),
        )


@dataclass(slots=True)
class InFlight:
    """A tick under way, and the ticker's revision with which it began. After a checkpoint it goes on under a new id.

    `committing`: a part of it is on its way to the store. `overtaken`: its end, where that came meanwhile. `dropped`:
    requests that were dropped so far.
    `release`: run keys that are free again with its commit (of a rollback)."""

    order: TickOrder
    revision: int
    began: float
    attention: Attention
    report: TickTally | None = None
    committing: bool = False
    overtaken: TickEnd | None = None
    release: tuple[RunKey, ...] = ()
    dropped: list[DroppedRequest] = field(default_factory=list[DroppedRequest])


@dataclass(slots=True)
class SensorTicker:
    """One sensor. `row` is what the store holds, as of the last commit of this process. `held`: it is being rolled
    back, and does not look. `told`: what it said of its own lag: how many items, since when the oldest waits;
    `notice`: what of how it stands. `dropping`: what the log was told of requests that are dropped, while that stays
    as it is. `waits_for`: why nothing can come; `laters`: how many looks in a row were put off by the source."""

    spec: SensorSpec
    row: TickerRow
    attention: Attention = FULL
    in_flight: InFlight | None = None
    holds_off: bool = False
    isolated: bool = False
    held: bool = False
    ticks: int = 0
    idle_ticks: int = 0
    last_tick_at: float | None = None
    told: tuple[int, float | None] | None = None
    notice: str | None = None
    dropping: str = ""
    waits_for: str | None = None
    laters: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def may_look(self) -> bool:
        """Whether a wake may start a tick now: nothing in flight, no pause, no quarantine, no back-off."""
        return not (self.in_flight or self.holds_off or self.row.paused or self.row.quarantined is not None)

    def take_count(self) -> tuple[int, int, int, float | None] | None:
        """What was counted in memory, as the store takes it; None where nothing was. From now on it is the row's."""
        if not self.ticks:
            return None
        count = (self.row.id, self.ticks, self.idle_ticks, self.last_tick_at)
        ticks, idle = self.row.ticks + self.ticks, self.row.idle_ticks + self.idle_ticks
        self.row = replace(self.row, ticks=ticks, idle_ticks=idle)
        self.ticks = self.idle_ticks = 0
        return count

    def heard(self, end: TickEnd) -> None:
        """Take from the end of a look whether the sensor waits. A look at a few things tells nothing of the rest."""
        self.laters = self.laters + 1 if end.status == "later" else 0
        if end.status == "later":
            if self.laters >= _PUT_OFF:
                said = end.error.message if end.error is not None else ""
                self.waits_for = f"put off {self.laters} times: {said or 'its source asks for patience'}"
        elif end.status != "ok" or end.waiting:
            self.waits_for = end.skip if end.waiting else None
        elif self.in_flight is None or self.in_flight.order.hints is None or end.runs or end.partitions:
            self.waits_for = None

    def state(self, due_at: float | None, pending: tuple[int, float | None] = (0, None)) -> SensorState:
        """For display. `pending`: how many requests wait, and since when the oldest does."""
        items, since = self.told or (0, None)
        waiting = [at for at in (since, pending[1]) if at is not None]
        row = self.row
        resting = row.paused or row.quarantined is not None
        status: SensorStatus = "failing" if row.failures else "ok" if self.waits_for is None else "waiting"
        if row.paused:
            status = "paused"
        elif row.quarantined is not None:
            status = "quarantined"
        return SensorState(
            name=self.spec.name,
            status=status,
            in_flight=self.in_flight is not None,
            due_at=None if resting else due_at,
            ticks=row.ticks + self.ticks,
            idle_ticks=row.idle_ticks + self.idle_ticks,
            failures=row.failures,
            last_tick_at=self.last_tick_at or row.last_tick_at,
            last_error=row.last_error,
            isolated=self.isolated,
            cursor=row.cursor,
            revision=row.revision,
            quarantined=row.quarantined,
            strikes=row.strikes,
            waits_for=self.waits_for if status == "waiting" else None,
            looking_since=None if self.in_flight is None else self.in_flight.began,
            pending=pending[0],
            notice=self.notice,
            lag=pending[0] + items,
            lag_since=min(waiting, default=None),
        )
