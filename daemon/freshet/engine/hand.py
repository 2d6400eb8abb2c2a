"""Ticks by hand, dry runs, and what else a person does to a sensor: cursor, pause, resume."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import anyio
import structlog

from freshet.definitions.names import nearest_hint
from freshet.definitions.outcome import Json
from freshet.engine.attention import FULL
from freshet.engine.control import SensorState, TickReport
from freshet.engine.deliveries import prepared
from freshet.engine.inbox import Inbox
from freshet.engine.instruments import Instruments
from freshet.engine.outcomes import asked_for
from freshet.engine.pending import Pending
from freshet.engine.sensors import SensorTicker, TickTally
from freshet.engine.templates import filled
from freshet.engine.ticks import TickLoop
from freshet.errors import Conflict, FreshetError, UnknownName
from freshet.executors.base import TickEnd, TickOrder
from freshet.store.history import note_cursor
from freshet.store.overlap import settle_runs
from freshet.store.queries import run_key_holders
from freshet.store.records import RunToAdmit, TickError, TickerRow
from freshet.store.tickers import pardon, resume, set_cursor, set_paused

__all__ = ["SensorDesk"]

_Key = tuple[str, str | None, str]
"""A run key with its target and its partition's key."""

_log = structlog.get_logger("freshet.sensors")


class SensorDesk:
    """The hand on the sensors. Each change raises the ticker's revision, so that a tick in flight is refused."""

    def __init__(self, instruments: Instruments, loop: TickLoop, inbox: Inbox, pending: Pending) -> None:
        self._in = instruments
        self._loop = loop
        self._inbox = inbox
        self._pending = pending
        self._dry: dict[int, asyncio.Future[TickEnd]] = {}

    def find(self, name: str) -> SensorTicker:
        """The sensor, or `UnknownName` with the nearest."""
        ticker = self._loop.sensors.get(name)
        if ticker is None:
            raise UnknownName(f"there is no sensor {name!r}", hint=nearest_hint(name, self._loop.sensors))
        return ticker

    def states(self) -> tuple[SensorState, ...]:
        """All sensors, by name."""
        return tuple(self.state(ticker) for _, ticker in sorted(self._loop.sensors.items()))

    def state(self, ticker: SensorTicker) -> SensorState:
        """One sensor."""
        return ticker.state(self._in.heap.due_at(("sensor", ticker.spec.name)), self._pending.lag(ticker.spec.name))

    # --- ticks ----------------------------------------------------------------------------------------------

    def dry_ended(self, end: TickEnd) -> bool:
        """Whether `end` is the end of a dry run; it is answered."""
        waiting = self._dry.pop(end.tick_id, None)
        if waiting is None:
            return False
        if not waiting.done():
            waiting.set_result(end)
        self._in.work.end()
        return True

    async def tick(
        self,
        name: str,
        *,
        dry_run: bool,
        cursor: Json = ...,
        deliveries: tuple[int, ...] | None = None,
        freed: frozenset[_Key] = frozenset(),
    ) -> TickReport:
        """Look now, fully, and wait for the end. `deliveries`: what a dry run finds instead of those that wait;
        `freed`: run keys that it takes to be free."""
        ticker = self.find(name)
        if cursor is not ... and not dry_run:
            raise Conflict(
                "a tick with another cursor would lose the remembered one", hint="use --dry-run, or cursor set"
            )
        if self._in.in_force.host is None or not self._loop.open:
            raise Conflict("no plugins are running now", hint="see freshet status")
        if dry_run:
            return await self._dry_run(ticker, ticker.row.cursor if cursor is ... else cursor, deliveries, freed)
        while ticker.in_flight is not None:
            await ticker.settled.wait()
        answer: asyncio.Future[TickReport] = asyncio.get_running_loop().create_future()
        self._loop.look(ticker, TickTally(ticker.row.cursor, answer))
        return await answer

    async def _dry_run(
        self, ticker: SensorTicker, cursor: Json, deliveries: tuple[int, ...] | None, freed: frozenset[_Key]
    ) -> TickReport:
        host = self._in.in_force.host
        assert host is not None
        order = TickOrder(
            tick_id=self._loop.take_id(),
            sensor=ticker.spec.name,
            cursor=cursor,
            ledger_revision=ticker.row.ledger_revision,
            hints=None,
            now=self._in.clock.now(),
            timeout=ticker.spec.timeout,
            dry_run=True,
        )
        self._dry[order.tick_id] = waiting = asyncio.get_running_loop().create_future()
        self._inbox.show(order.tick_id, deliveries)
        self._in.work.begin()
        host.tick(order)
        try:
            end = await waiting
        finally:
            self._inbox.shown(order.tick_id)
        if end.status == "abandoned":
            raise Conflict("the evaluator ended meanwhile", hint="try again")
        definitions, refused = self._in.in_force.definitions, None
        runs: tuple[Json, ...] = tuple(asdict(run) for run in end.runs)
        pending: tuple[Json, ...] = ()
        dropped: tuple[Json, ...] = ()
        try:
            end = prepared(definitions, ticker.spec.name, filled(definitions, ticker.spec, end), self._in.clock.now())
            runs, pending, dropped = await self._would_admit(ticker, end, freed)
        except FreshetError as wrong:
            refused = TickError(type(wrong).__name__, str(wrong))
        error = end.error or refused
        return TickReport(
            sensor=ticker.spec.name,
            status="failed" if refused else end.status,
            dry_run=True,
            cursor_before=cursor,
            cursor=end.cursor if end.cursor_changed else cursor,
            runs=runs,
            dropped=dropped,
            partitions=tuple(
                {"set": delta.set, "add": [key for key, _ in delta.add], "delete": list(delta.delete)}
                for delta in end.partitions
            ),
            reports=tuple({"asset": one.asset, "partition": one.key} for one in end.reports),
            ledger_added=len(end.ledger.put),
            ledger_removed=len(end.ledger.remove),
            skip=end.skip,
            error=None if error is None else asdict(error),
            deliveries=tuple(asdict(one) for one in end.handled),
            pending=pending,
        )

    async def _would_admit(
        self, ticker: SensorTicker, end: TickEnd, freed: frozenset[_Key]
    ) -> tuple[tuple[Json, ...], tuple[Json, ...], tuple[Json, ...]]:
        """The runs that would be admitted, the requests that would wait, and those that would be dropped: their run key
        is taken, also by one before them, or they give way to a run. Raises as a commit of them would."""
        asked, waits = asked_for(self._in.in_force.definitions, ticker.spec.name, end.runs, self._in.clock.now())
        settled = await self._in.store.read(partial(settle_runs, runs=asked))
        dropped: list[Json] = [
            {**_named(asked[at]), "held_by": by or None, "reason": "overlap"} for at, by in settled.lost
        ]
        chosen = [(asked[at], end.runs[at]) for at in settled.kept]
        chosen += [(one.run, request) for one, request in zip(waits, end.runs, strict=False)]
        keys = [(run.target, run.key, run.run_key) for run, _ in chosen if run.run_key is not None]
        holders: dict[_Key, int | None] = {}
        taken = await self._in.store.read(partial(run_key_holders, keys=keys))
        holders.update((key, by) for key, by in taken.items() if key not in freed)
        runs: list[Json] = []
        for run, request in chosen:
            key = (run.target, run.key, run.run_key or "")
            if run.run_key is not None and key in holders:
                dropped.append({**_named(run), "held_by": holders[key], "reason": "run_key"})
                continue
            if run.run_key is not None:
                holders[key] = None
            runs.append({**asdict(request), "target": run.target})
        return ((), tuple(runs), tuple(dropped)) if waits else (tuple(runs), (), tuple(dropped))

    # --- changes --------------------------------------------------------------------------------------------

    async def set_cursor(self, name: str, cursor: Json) -> SensorState:
        """Replace the cursor and look again."""
        ticker = self.find(name)
        tick_id, now = self._loop.take_id(), self._in.clock.now()

        def change(db: sqlite3.Connection) -> TickerRow:
            note_cursor(db, ticker.row.id, tick_id, cursor, now)
            return set_cursor(db, ticker.row.id, cursor)

        return await self._change(ticker, change)

    async def pause(self, name: str) -> SensorState:
        """Stop ticking."""
        ticker = self.find(name)
        paused = ticker.row.paused
        state = await self._change(ticker, partial(set_paused, ticker_id=ticker.row.id, paused=True))
        if not paused:
            _log.info("sensor paused", sensor=name)
        return state

    async def resume(self, name: str) -> SensorState:
        """Tick again, whatever held it back."""
        ticker = self.find(name)
        ticker.holds_off = False
        paused = ticker.row.paused
        state = await self._change(ticker, partial(resume, ticker_id=ticker.row.id))
        if paused:
            _log.info("sensor resumed", sensor=name)
            self._pending.resumed(name)
        return state

    async def pardon(self, ticker: SensorTicker) -> None:
        """End its quarantine; a pause stays."""
        ticker.holds_off = False
        await self._change(ticker, partial(pardon, ticker_id=ticker.row.id))

    async def _change(
        self, ticker: SensorTicker, transaction: Callable[[sqlite3.Connection], TickerRow]
    ) -> SensorState:
        """Shielded: a revision that is committed and not known here would refuse every tick from then on."""
        row = ticker.row
        with anyio.CancelScope(shield=True):
            row = await self._in.store.write(transaction)
        return self._changed(ticker, row)

    def _changed(self, ticker: SensorTicker, row: TickerRow) -> SensorState:
        ticker.row = row
        ticker.attention = FULL
        if ticker.in_flight is not None:
            for host in self._in.in_force.hosts:
                host.cancel_tick(ticker.in_flight.order.tick_id)
        self._loop.look(ticker)
        return self.state(ticker)


def _named(run: RunToAdmit) -> dict[str, Json]:
    return {"target": run.target, "partition": run.key, "run_key": run.run_key}
