"""Outcomes too large for one transaction: written down in pieces, decided by one small commit, then carried out.

Each piece is a transaction of its own that gives way to others. Until the decision nothing of the outcome holds, and
what fails drops it; from then on all of it does: it is carried out to its end, at the next start at the latest.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from itertools import groupby

import structlog

from freshet.definitions.graph import Definitions
from freshet.engine.instruments import Instruments, persist
from freshet.engine.launcher import CANCEL_GRACE, Launcher
from freshet.engine.outcomes import tally, tick_commit
from freshet.engine.pieces import COMBINATIONS, GivenKeys, halves, key_pieces, ledger_pieces, lighter, slices
from freshet.engine.queue import count_first
from freshet.engine.requests import input_needs
from freshet.engine.sensors import InFlight
from freshet.errors import FreshetError
from freshet.executors.base import TickEnd
from freshet.store import stages
from freshet.store.combinations import hanging, strands
from freshet.store.partitions import change_partitions
from freshet.store.pieces import encode
from freshet.store.records import LedgerDelta, PartitionDelta, TickCommit, TickerRow, TickResult, names_of
from freshet.store.records.pending import WaitingRequest
from freshet.store.records.stages import Carried, StagePiece, Strand
from freshet.store.store import Store
from freshet.store.ticks import commit_tick

__all__ = ["Staging", "finish_stages"]

_GROUP = 16
_BYTES = 512 << 10
"""A piece is halved until its text is shorter; so much text, or so many pieces, are written down at once."""
_SECONDS = 0.006
"""Pieces without runs are carried out together for so long."""
_NO_CHANGE = LedgerDelta()

_log = structlog.get_logger("freshet.engine")


async def finish_stages(store: Store) -> None:
    """At start-up: drop what was not decided, carry out the rest. Its runs are left queued."""
    for stage in await store.read(stages.unfinished_stages):
        if stage.decided:
            while not (await store.write(partial(stages.carry_out, stage_id=stage.id))).last:
                pass
        else:
            while not await store.write(partial(stages.drop_stage, stage_id=stage.id)):
                pass
        _log.info("an outcome in pieces was left behind", stage=stage.id, carried_out=stage.decided)


class _Stage:
    """One outcome on its way to the decision."""

    def __init__(self, instruments: Instruments, stage_id: int) -> None:
        self._in = instruments
        self.id = stage_id
        self._written = 0
        self._waiting: list[str] = []
        self.runs: dict[int, tuple[int, frozenset[str]]] = {}
        """By position, of the pieces with runs: how many steps could start at once, and the names of all."""

    async def add(self, piece: StagePiece, check: StagePiece | None = None) -> None:
        """Write a piece down. `check`: as in `stages.stage_pieces`; raises what that does."""
        body = encode(piece)
        if len(body) > _BYTES and (two := halves(piece)) is not None:
            for at, half in enumerate(two):
                await self.add(half, check if at == 0 else None)
            return
        if piece.runs:
            names = frozenset(step.name for run in piece.runs for step in run.steps)
            self.runs[self._written + len(self._waiting)] = count_first(piece.runs), names
        self._waiting.append(body)
        if check is not None or len(self._waiting) >= _GROUP or sum(map(len, self._waiting)) >= _BYTES:
            await self.flush(check)

    async def flush(self, check: StagePiece | None = None) -> None:
        """Write down what waits."""
        bodies, self._waiting = self._waiting, []
        if bodies:
            first, self._written = self._written, self._written + len(bodies)
            write = partial(
                stages.stage_pieces,
                stage_id=self.id,
                first=first,
                bodies=bodies,
                check=check,
                now=self._in.clock.now(),
            )
            await self._in.store.write(write)


class Staging:
    """Commits large outcomes."""

    def __init__(self, instruments: Instruments, launcher: Launcher) -> None:
        self._in = instruments
        self._launcher = launcher

    # --- of a tick ------------------------------------------------------------------------------------------

    async def commit(
        self, row: TickerRow, flight: InFlight, end: TickEnd, decided: Callable[[TickCommit, TickResult], None]
    ) -> TickResult:
        """Commit a sensor's outcome. `decided` is called with the commit that decides, once that is durable; who waits
        for the outcome is answered when this returns.

        Raises as `tick_commit` and the store's `commit_tick`: then nothing of it holds.
        """
        definitions, now = self._in.in_force.definitions, self._in.clock.now()
        bare = replace(end, ledger=_NO_CHANGE, partitions=(), reports=(), runs=())
        head = replace(tick_commit(definitions, row, flight, bare, now=now), release=())
        stage = await self._begin(row.id, end.tick_id)
        try:
            await self._write_down(stage, definitions, row, flight, end, bare)
            head = replace(head, stage=stage.id)
            result = await self._in.store.write(partial(commit_tick, commit=head))
        except BaseException:
            self._in.work.spawn(self._drop(stage))
            raise
        decided(head, result)
        added, revision, pending = 0, result.ledger_revision, list[WaitingRequest]()

        def carried(piece: Carried) -> None:
            nonlocal added, revision
            added += piece.result.partitions_added
            revision = piece.result.ledger_revision or revision
            pending.extend(piece.result.pending)
            if flight.report is not None:
                tally(flight.report, piece.commit, piece.result)

        await self._carry_out(stage, carried)
        return TickResult((), (), (), revision, added, pending=tuple(pending))

    async def _write_down(
        self, stage: _Stage, definitions: Definitions, row: TickerRow, flight: InFlight, end: TickEnd, bare: TickEnd
    ) -> None:
        """Check and write down piece by piece: keys, ledger, reports, runs."""
        given, apart, now = GivenKeys(), set[str](), self._in.clock.now()
        for deltas in key_pieces(end.partitions):
            checked = tick_commit(definitions, row, flight, replace(bare, partitions=deltas), now=now)
            if end.runs or end.reports:
                given.note(checked.partitions)
            light = [piece for delta in checked.partitions for piece in await self._lighter(delta, apart)]
            whole = [StagePiece(partitions=checked.partitions)]
            for piece in whole if len(light) == len(checked.partitions) else light:
                await stage.add(piece)
        async for ledger, last in ledger_pieces(end.ledger):
            await stage.add(StagePiece(ledger=ledger, ends_ledger=last))
        for reports in slices(end.reports, "reports"):
            told = tick_commit(definitions, row, flight, replace(bare, reports=reports), now=now).reports
            await stage.add(StagePiece(reports=told), given.check(definitions, StagePiece(reports=told)))
        for runs in slices(end.runs, "runs"):
            asked = tick_commit(definitions, row, flight, replace(bare, runs=runs), now=now)
            wanted = (*asked.runs, *(one.run for one in asked.pending))
            check = given.check(definitions, StagePiece(runs=wanted))
            await stage.add(StagePiece(runs=asked.runs, pending=asked.pending), check)
        for keys in slices(flight.release, "runs"):
            await stage.add(StagePiece(release=keys))
        await stage.flush()

    # --- by hand --------------------------------------------------------------------------------------------

    async def change(self, deltas: AsyncIterator[PartitionDelta]) -> int:
        """Change partitions as `deltas` come (checked, each of one piece at the most), all or, where `deltas` raises,
        none. Returns how many keys were new or were there to delete."""
        stage: _Stage | None = None
        held: StagePiece | None = None
        apart = set[str]()
        try:
            async for whole in deltas:
                for piece in await self._lighter(whole, apart):
                    if held is not None:
                        stage = stage or await self._begin()
                        await stage.add(held)
                    held = piece
            if held is None:
                return 0
            if stage is None:
                return await self._in.work.whole(self._at_once(held.partitions[0]))
            await stage.add(held)
            await stage.flush()
        except BaseException:
            if stage is not None:
                self._in.work.spawn(self._drop(stage))
            raise
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._in.work.spawn(self._decide(stage, answer))
        return await asyncio.shield(answer)

    async def _lighter(self, delta: PartitionDelta, apart: set[str]) -> list[StagePiece]:
        """`apart`: the sets that are a dimension of none, filled here: one question an outcome for each."""
        if delta.set in apart:
            return [StagePiece(partitions=(delta,))]
        keys = [*names_of(delta.add), *delta.delete]
        found = await self._in.store.read(partial(hanging, set=delta.set, keys=keys))
        if keys and not found:
            apart.add(delta.set)
        heavy = {key for key, count in zip(keys, found, strict=False) if count > COMBINATIONS}
        pieces: list[StagePiece] = []
        for light in lighter(delta, found):
            hanging_on = await self._strands(light) if heavy.intersection((*names_of(light.add), *light.delete)) else []
            pieces.append(StagePiece(partitions=(replace(light, alone=bool(hanging_on)),)))
            pieces += (StagePiece(strands=(strand,)) for strand in hanging_on)
        return pieces

    async def _strands(self, delta: PartitionDelta) -> list[Strand]:
        """What comes or goes with a key on which too much hangs for one transaction."""
        ((key,), live) = (delta.delete, True) if delta.delete else (names_of(delta.add), False)
        return await self._in.store.read(partial(strands, set=delta.set, key=key, most=COMBINATIONS, live=live))

    async def _at_once(self, delta: PartitionDelta) -> int:
        now = self._in.clock.now()
        count, events = await self._in.store.write(partial(change_partitions, delta=delta, now=now))
        self._in.bus.publish(events)
        return count

    async def _decide(self, stage: _Stage, answer: asyncio.Future[int]) -> None:
        """A task of its own: who asked may go away, what is decided is carried out."""
        count = 0

        def carried(piece: Carried) -> None:
            nonlocal count
            count += piece.result.partitions_added + piece.deleted

        try:
            await self._in.store.write(partial(stages.decide, stage_id=stage.id, now=self._in.clock.now()))
        except FreshetError as error:
            if not answer.cancelled():
                answer.set_exception(error)
            await self._drop(stage)
            return
        await self._carry_out(stage, carried)
        if not answer.cancelled():
            answer.set_result(count)

    # --- both -----------------------------------------------------------------------------------------------

    async def _begin(self, ticker_id: int | None = None, tick_id: int | None = None) -> _Stage:
        begin = partial(stages.begin_stage, ticker_id=ticker_id, tick_id=tick_id, now=self._in.clock.now())
        return _Stage(self._in, await self._in.store.write(begin))

    async def _carry_out(self, stage: _Stage, carried: Callable[[Carried], None]) -> None:
        position, last = 0, False
        while not last:
            could_start, names = stage.runs.pop(position, (0, frozenset[str]()))
            booking, definitions = self._launcher.book_some(could_start), self._in.in_force.definitions
            transaction: Callable[[sqlite3.Connection], Carried] = partial(
                stages.carry_out,
                stage_id=stage.id,
                start=booking.start,
                needs=input_needs(definitions, names if booking.begins else ()),
                version=definitions.version,
                seconds=_SECONDS,
            )
            piece = await persist(self._in, transaction, what="an outcome that was decided")
            for _, events in groupby(piece.result.events, key=lambda event: event.txn):
                self._in.bus.publish(tuple(events))
            self._launcher.admitted(booking, piece.commit.runs, piece.result.admitted)
            for run_id in piece.result.canceled:
                self._launcher.cancel(run_id, grace=CANCEL_GRACE)
            carried(piece)
            position, last = position + piece.pieces, piece.last

    async def _drop(self, stage: _Stage) -> None:
        """Nothing of it holds; unless its decision was committed although the store could not say so."""
        while True:
            gone = await persist(self._in, partial(stages.drop_stage, stage_id=stage.id), what="what was not decided")
            if gone is None:
                await self._carry_out(stage, lambda piece: None)
                return
            if gone:
                return
