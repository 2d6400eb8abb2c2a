"""From the outcome of a tick to its one commit: templates filled, deliveries settled, slots reserved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from freshet.definitions.frames import raised_at
from freshet.engine.deliveries import prepared
from freshet.engine.instruments import Instruments
from freshet.engine.launcher import CANCEL_GRACE, Launcher
from freshet.engine.outcomes import tally, tick_commit
from freshet.engine.pieces import COMBINATIONS, is_large
from freshet.engine.probing import refused_deliveries
from freshet.engine.requests import input_needs
from freshet.engine.sensors import InFlight, SensorTicker
from freshet.engine.staging import Staging
from freshet.engine.templates import filled
from freshet.errors import FreshetError, StoreError
from freshet.executors.base import TickEnd
from freshet.store.combinations import hanging
from freshet.store.records import DroppedRequest, TickCommit, TickError, TickerRow, TickResult
from freshet.store.records.pending import WaitingRequest
from freshet.store.ticks import commit_tick

__all__ = ["Decided", "TickCommits", "tell_dropped", "tell_failed"]

Decided = Callable[[SensorTicker, TickCommit, TickResult], None]
"""Told when what a ticker remembers is committed; of a large outcome, the rest is carried out afterwards."""

_KEYS_AT_ONCE = 500

_log = structlog.get_logger("freshet.sensors")


class TickCommits:
    """Commits outcomes. `waits` is told of requests that are kept until they may become runs."""

    def __init__(self, instruments: Instruments, launcher: Launcher, staging: Staging) -> None:
        self._in = instruments
        self._launcher = launcher
        self._staging = staging
        self.waits: Callable[[str, Sequence[WaitingRequest]], None] = lambda sensor, requests: None

    async def commit(self, ticker: SensorTicker, flight: InFlight, end: TickEnd, decided: Decided) -> TickResult:
        """Commit; a delivery whose results turn out to be impossible has failed, and the others go on.

        Raises `StoreError`, and `FreshetError` where the sensor asked for what cannot be: then nothing of it holds.
        """
        failed = dict[int, str]()
        end = filled(self._in.in_force.definitions, ticker.spec, end)
        while True:
            definitions, now = self._in.in_force.definitions, self._in.clock.now()
            whole = prepared(definitions, ticker.row.name, end, now, failed)
            try:
                result = await self._commit(ticker, flight, whole, decided)
            except StoreError:
                raise
            except FreshetError:
                found = await refused_deliveries(self._in, ticker.row, flight, whole)
                if not found:
                    raise
                failed |= found
            else:
                if result.pending:
                    self.waits(ticker.row.name, result.pending)
                flight.dropped += result.dropped
                return result

    async def _commit(self, ticker: SensorTicker, flight: InFlight, end: TickEnd, decided: Decided) -> TickResult:
        if is_large(end) or len(flight.release) > _KEYS_AT_ONCE or await self._moves_many(end):
            return await self._staging.commit(ticker.row, flight, end, partial(decided, ticker))
        return await self._commit_at_once(ticker, flight, end, decided)

    async def _moves_many(self, end: TickEnd) -> bool:
        """Whether more combinations come and go with its keys than one transaction takes."""
        moved = 0
        for delta in end.partitions:
            if delta.set in self._in.in_force.definitions.dimension_sets:
                keys = [*(key for key, _ in delta.add), *delta.delete]
                moved += sum(await self._in.store.read(partial(hanging, set=delta.set, keys=keys)))
        return moved > COMBINATIONS

    async def _commit_at_once(
        self, ticker: SensorTicker, flight: InFlight, end: TickEnd, decided: Decided
    ) -> TickResult:
        definitions, booking = self._in.in_force.definitions, None
        try:
            commit = tick_commit(definitions, ticker.row, flight, end, now=self._in.clock.now())
            booking = self._launcher.book(commit.runs)
            names = (step.name for run in commit.runs for step in run.steps) if booking.begins else ()
            commit = replace(commit, runs=booking.runs, start=booking.start, needs=input_needs(definitions, names))
            result = await self._in.store.write(partial(commit_tick, commit=commit))
        except FreshetError:
            if booking is not None:
                self._launcher.forgo(booking)
            raise
        decided(ticker, commit, result)
        self._launcher.admitted(booking, commit.runs, result.admitted)
        for run_id in result.canceled:
            self._launcher.cancel(run_id, grace=CANCEL_GRACE)
        if flight.report is not None:
            tally(flight.report, commit, result)
        return result


def tell_dropped(ticker: SensorTicker, dropped: Sequence[DroppedRequest]) -> None:
    """Say what a tick, which is over, asked for in vain, unless the one before did so, too."""
    told: list[str] = []
    for reason, why in (("run_key", "their run keys are taken"), ("overlap", "they gave way to others")):
        some = [one for one in dropped if one.reason == reason]
        if some:
            first = some[0]
            by = f"run {first.run_id}" if first.run_id > 0 else f"request {-first.run_id}, which waits"
            by = by if first.run_id else "another of this tick"
            key = f"{first.run_key} by " if reason == "run_key" else "to "
            told.append(f"{len(some)} dropped: {why}, e.g. {key}{by}")
    said = "; ".join(told)
    if said and said != ticker.dropping:
        _log.info(said, sensor=ticker.row.name, target=dropped[0].target)
    ticker.dropping = said


def tell_failed(row: TickerRow, end: TickEnd, delay: float, quarantined: str | None) -> None:
    """Say that a sensor, which stood as in `row`, begins to fail, or is not looked at any more."""
    if end.status != "later" and row.failures == 0:
        said = end.error or TickError(end.status, end.status)
        at = raised_at(said.traceback)
        _log.warning("sensor failing", sensor=row.name, type=said.type, error=said.message, at=at, retry_in=delay)
    if quarantined is not None and row.quarantined is None:
        _log.warning("sensor quarantined", sensor=row.name, error=quarantined)
