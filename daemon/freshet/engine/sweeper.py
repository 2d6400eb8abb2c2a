"""History that is no longer kept goes: once at the start, then every hour, in small pieces that give way to others.

What is to go is found off the writer. Between two pieces it rests for as long as the last one took, so that at least
half of the writer's time is everybody else's. Files of runs are removed after the commit that forgets them: a crash
leaves files behind that nothing names, which the look at all files finds, at the start and once a day.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from freshet.definitions.limits import Limits
from freshet.definitions.retention import Cuts, Retention, cuts
from freshet.engine.instruments import Instruments, persist, recall
from freshet.engine.leftovers import Leftovers, rest
from freshet.store.retention import (
    consumed,
    forget_events,
    forget_ledger,
    forget_ticks,
    last_number,
    old_events,
    old_ledger,
    old_ticks,
    ticker_kinds,
)
from freshet.store.retention_rows import (
    OldRows,
    forget_inbox,
    forget_instants,
    forget_pending,
    old_inbox,
    old_instants,
    old_pending,
)
from freshet.store.retention_runs import OldRun, forget_runs, forget_steps, old_runs
from freshet.store.shrinking import give_back, spare_pages

__all__ = ["Sweeper"]

T = TypeVar("T")

_EVERY = 3600.0
_ROWS = 500
"""Rows that a transaction deletes: what the writer is held for stays under 20 ms."""
_LOOKED_AT = 500
_INBOX_ROWS = 50
"""A delivery's body may be a megabyte, each page of which is to be freed."""
_PAGES = 100
"""Pages of 4 KiB that the file is shortened by at once."""
_NAME = "retention"

_log = structlog.get_logger("freshet.retention")


class Sweeper:
    """Deletes what `[retention]` does not keep, of what is not needed. `state_dir`: where runs/ and values/ are."""

    def __init__(
        self, instruments: Instruments, keep: Retention | None, *, limits: Limits, state_dir: Path | None
    ) -> None:
        self._in = instruments
        self._keep = keep or Retention()
        self._keeps_all = keep is None or state_dir is None
        self._span = max((one.rate.seconds for one in limits.pools.values() if one.rate is not None), default=0.0)
        self._files = Leftovers(instruments, self._keep, state_dir or Path())
        self._consumed = 0
        self._swept: dict[str, int] = {}
        self.open = False

    def start(self) -> None:
        """Sweep now, and every hour."""
        if not self._keeps_all:
            self.open = self._files.open = True
            self._in.work.spawn(self._sweep())

    def stop(self) -> None:
        """Delete nothing more; what is half done is found at the next start."""
        self.open = self._files.open = False
        self._in.heap.cancel(_NAME)

    def _wait(self) -> None:
        if self.open:
            self._in.heap.after(_NAME, _EVERY, self._again)

    def _again(self) -> None:
        self._in.work.spawn(self._sweep())

    async def _sweep(self) -> None:
        self._swept = {}
        cut = await self._cuts()
        await self._ticks(cut)
        await self._events(cut)
        await self._runs(cut)
        await self._rows("inbox", partial(old_inbox, older=cut.inbox), forget_inbox, _INBOX_ROWS)
        await self._rows("pending", partial(old_pending, older=cut.ticks), forget_pending, _ROWS)
        await self._files.sweep(cut)
        await self._shrink()
        if self._swept:
            _log.info("no longer kept", **self._swept)
        self._wait()

    async def _cuts(self) -> Cuts:
        listeners = [one.name for one in self._in.in_force.definitions.sensors if one.listens is not None]
        read = await self._ask(partial(consumed, sensors=listeners))
        self._consumed = read.seq

        def numbers(db: sqlite3.Connection) -> tuple[int, int, int]:
            return last_number(db, "events"), last_number(db, "runs"), last_number(db, "inbox")

        return cuts(self._keep, self._in.clock.now(), await self._ask(numbers), unread=read.at, span=self._span)

    # --- rows -----------------------------------------------------------------------------------------------

    async def _ticks(self, cut: Cuts) -> None:
        most = self._keep.max_ticks
        for ticker_id, kind in await self._ask(ticker_kinds):
            if kind == "schedule":
                look = partial(old_instants, ticker_id=ticker_id, older=cut.ticks, most=most, limit=_LOOKED_AT)
                while self.open and (instants := await self._ask(look)):
                    await self._delete("instants", len(instants), partial(_instants, ticker_id, instants))
                continue
            find = partial(old_ticks, ticker_id=ticker_id, older=cut.ticks, most=most, limit=_LOOKED_AT)
            while self.open and (ids := await self._ask(find)):
                await self._delete("ticks", len(ids), partial(forget_ticks, ids=ids))
            while self.open and await self._ask(partial(old_ledger, ticker_id=ticker_id)):
                await self._delete("ledger_past", _ROWS, partial(forget_ledger, ticker_id=ticker_id, limit=_ROWS))

    async def _events(self, cut: Cuts) -> None:
        more = True
        while self.open and more:
            query = partial(old_events, older=cut.events, consumed=self._consumed, limit=_LOOKED_AT)
            found = await self._ask(query)
            if found.looked:
                forget = partial(forget_events, seqs=found.gone, upto=found.seq)
                await self._delete("events", len(found.gone), forget)
            more = found.more

    async def _runs(self, cut: Cuts) -> None:
        after: int | None = 0
        while self.open and after is not None:
            found = await self._ask(partial(old_runs, older=cut.runs, after=after, limit=_LOOKED_AT))
            for runs in pieces(found.runs, _ROWS):
                await self._forget_runs(runs)
            after = found.last

    async def _forget_runs(self, runs: Sequence[OldRun]) -> None:
        for steps in range(runs[0].steps, _ROWS, -_ROWS):
            if self.open:
                await self._delete("", steps, partial(forget_steps, run_id=runs[0].id, limit=_ROWS))
        if self.open:
            ids = [run.id for run in runs]
            await self._delete("runs", len(ids), partial(forget_runs, ids=ids))
            await self._files.forget_runs(ids)

    async def _rows(self, what: str, find: Callable[..., OldRows], forget: Callable[..., None], most: int) -> None:
        after: int | None = 0
        while self.open and after is not None:
            found = await self._ask(partial(find, after=after, limit=_LOOKED_AT))
            for start in range(0, len(found.ids), most):
                if self.open:
                    ids = found.ids[start : start + most]
                    await self._delete(what, len(ids), partial(forget, ids=ids))
            after = found.last

    async def _shrink(self) -> None:
        for _ in range(-(-await self._ask(spare_pages) // _PAGES)):
            if self.open:
                await self._delete("", 0, partial(give_back, pages=_PAGES))

    # --- how ------------------------------------------------------------------------------------------------

    async def _ask(self, query: Callable[[sqlite3.Connection], T]) -> T:
        return await recall(self._in, query, what="what is no longer kept")

    async def _delete(self, what: str, many: int, transaction: Callable[[sqlite3.Connection], Any]) -> None:
        begun = self._in.clock.monotonic()
        await persist(self._in, transaction, what="what is no longer kept")
        if what and many:
            self._swept[what] = self._swept.get(what, 0) + many
        await rest(self._in, begun)


def pieces(runs: Sequence[OldRun], room: int) -> Iterator[list[OldRun]]:
    """Runs of so many rows a piece, themselves and their steps; one of more rows alone."""
    piece: list[OldRun] = []
    left = room
    for run in runs:
        if piece and 1 + run.steps > left:
            yield piece
            piece, left = [], room
        piece.append(run)
        left -= 1 + run.steps
    if piece:
        yield piece


def _instants(ticker_id: int, instants: Sequence[tuple[str, float]], db: sqlite3.Connection) -> None:
    forget_instants(db, ticker_id, instants)
