"""The backfill ticker: woken by the ends of its runs, it commits what is next together with how far it is.

Few runs of a backfill wait at a time, so that the queue and its limits stay in charge. What has ended is read from the
store by run: a turn after a restart is a turn as any other.

A partition that is in a run of somebody else is not asked for until that has ended. Which are is told by the facts that
conditions read; these trail the store, so the commit looks for itself, and nothing of it comes about where they were
behind: the turn is taken again when they have caught up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

import structlog
from pyroaring import BitMap

from freshet.engine.automator import Automator
from freshet.engine.backfill.active import Active, marks_of
from freshet.engine.backfill.boxes import held_by
from freshet.engine.backfill.marks import Progress
from freshet.engine.backfill.numbering import PIECE, numbered
from freshet.engine.backfill.plan import next_runs
from freshet.engine.backfill.runs import run_of_all, run_to_admit
from freshet.engine.backfill.select import BackfillRequest, spread
from freshet.engine.instruments import Instruments, persist, recall
from freshet.engine.launcher import Launcher
from freshet.engine.requests import input_needs
from freshet.errors import FreshetError
from freshet.store.backfills import (
    Overtaken,
    active_backfills,
    backfill_bits,
    backfill_runs,
    commit_backfill,
    made_since,
    steps_of_runs,
)
from freshet.store.records import BackfillCommit, BackfillRow, BackfillState, Event, RunToAdmit

__all__ = ["Backfills"]

_AT_LEAST = 8
_ENDS = ("run_succeeded", "run_failed", "run_canceled")

_log = structlog.get_logger("freshet.backfills")


class Backfills:
    """All backfills that have not ended."""

    def __init__(self, instruments: Instruments, launcher: Launcher) -> None:
        self._in = instruments
        self._launcher = launcher
        self._owner: dict[int, Active] = {}
        self.active: dict[int, Active] = {}
        self.open = False

    def silent_for(self) -> float | None:
        """Seconds since the oldest turn that is being taken began; None at rest."""
        oldest = min((one.turned_at for one in self.active.values() if one.busy), default=None)
        return None if oldest is None else self._in.clock.monotonic() - oldest

    def follow(self, facts: Automator) -> None:
        """Read from there what is in flight; before the start."""
        self._facts = facts
        facts.listen(self.heard)

    async def load(self) -> None:
        """Take up what an earlier daemon left, before anything of it goes on."""
        for row in await self._in.store.read(active_backfills):
            bits = await self._in.store.read(partial(backfill_bits, backfill_id=row.id))
            one = Active(row, Progress(marks_of(row, bits)), self._in.clock.now())
            moved = self._moved_assets(row)
            if moved:
                await self._fail(one, f"{moved[0]!r} is declared no more, or over other partitions")
                continue
            runs = await self._in.store.read(partial(backfill_runs, backfill_id=row.id, low_run=row.low_run))
            under_way = [run_id for run_id, ended in runs if not ended]
            one.ended = [run_id for run_id, ended in runs if ended]
            self.adopt(one, [run_id for run_id, _ in runs])
            for name, marks in one.marks.items():
                one.progress.drop(name, marks.wanted - self._in.in_force.partitions.live(name))
            await self.catch_up(one)
            await self._account(one)
            one.forget_lost(await self._in.store.read(partial(steps_of_runs, runs=under_way)))

    def start(self) -> None:
        """From now on runs are asked for."""
        self.open = True
        for one in list(self.active.values()):
            self.pump(one)

    def stop(self) -> None:
        """Ask for nothing more; what ends from now on is accounted for after the next start."""
        self.open = False

    async def pause(self) -> None:
        """Ask for nothing until `redefine`; returns when no turn is being taken."""
        self.open = False
        while busy := [one for one in self.active.values() if one.busy]:
            async with busy[0].lock:
                await asyncio.sleep(0)

    def redefine(self, renamed: Mapping[str, str]) -> None:
        """Other definitions are in force: a backfill goes on unless its assets are gone, or over other partitions.
        `renamed`: new names by the old ones."""
        self.open = True
        for one in list(self.active.values()):
            one.rename(renamed)
            moved = self._moved_assets(one.row)
            if moved:
                self._in.work.spawn(self._fail(one, f"{moved[0]!r} is declared no more, or over other partitions"))
                continue
            for name, marks in one.marks.items():
                one.progress.drop(name, marks.wanted - self._in.in_force.partitions.live(name))
            self.pump(one)

    def adopt(self, one: Active, runs: list[int]) -> None:
        """Carry on with a backfill and its runs."""
        self.active[one.row.id] = one
        self._own(one, runs)

    def drop(self, one: Active) -> None:
        """It has ended."""
        self.active.pop(one.row.id, None)
        for run_id in one.runs:
            self._owner.pop(run_id, None)

    def published(self, events: tuple[Event, ...]) -> None:
        """A transaction has committed."""
        for event in events:
            if event.run_id in self._owner and event.type in _ENDS:
                one = self._owner.pop(event.run_id)
                one.ended.append(event.run_id)
                self.pump(one)
            elif event.type == "partition_deleted" and self.active:
                self._deleted(event)

    def heard(self, events: tuple[Event, ...]) -> None:
        """The facts have moved on by a transaction."""
        for one in self.active.values():
            news = [event for event in events if event.asset is not None and one.heard(event)]
            if news or 0 < one.behind <= self._facts.seq:
                self.pump(one)

    async def catch_up(self, one: Active) -> None:
        """Take for done what others have made of it since it began, where that counts."""
        for name in one.lazy:
            read = partial(made_since, asset=name, seq=one.since)
            one.settle(name, "done", await recall(self._in, read, what=f"backfill {one.row.id}"))

    def pump(self, one: Active) -> None:
        """Take a turn with a backfill, or one more if one is being taken."""
        one.dirty = True
        if self.open and not one.busy:
            one.busy, one.turned_at = True, self._in.clock.monotonic()
            self._in.work.spawn(self._work_off(one))

    async def _work_off(self, one: Active) -> None:
        try:
            while self.open and one.dirty and one.row.id in self.active:
                one.dirty, one.turned_at = False, self._in.clock.monotonic()
                async with one.lock:
                    await self.turn(one)
        finally:
            one.busy = False

    # --- one turn -------------------------------------------------------------------------------------------

    async def turn(self, one: Active) -> None:
        """Account for what ended, ask for what is next, end what is through. The caller holds the lock."""
        await self._account(one)
        runs, asked = await self._next(one)
        state: BackfillState | None = None
        error: str | None = None
        going_on = runs or one.runs or one.ended or one.boxes or one.elsewhere or one.behind
        if one.state == "running" and one.row.id in self.active and not going_on:
            state, error = one.outcome()
        for name, numbers in asked.items():
            one.progress.set(name, "asked", numbers)
        try:
            overtaken = await self._commit(one, runs, state, error)
        except FreshetError as refused:
            one.progress.not_written()
            for name, numbers in asked.items():
                one.progress.clear(name, "asked", numbers)
            await self._fail(one, str(refused))
            return
        if overtaken is not None:
            one.progress.not_written()
            for name, numbers in asked.items():
                one.progress.clear(name, "asked", numbers)
            one.behind = overtaken.seq
            await self.catch_up(one)
            self.pump(one)
        elif state is not None:
            self.drop(one)
            _log.info("backfill ended", backfill=one.row.id, state=state, error=error)

    async def _next(self, one: Active) -> tuple[tuple[RunToAdmit, ...], dict[str, BitMap]]:
        """The runs that are next, and what they make."""
        if one.state != "running" or one.row.id not in self.active:
            return (), {}
        if one.behind > self._facts.seq:
            return (), {}
        one.behind = 0
        one.meet(self._facts.in_flight)
        graph = self._in.in_force.partitions
        if one.single_run:
            rest = {} if one.runs or one.elsewhere else one.rest()
            return ((run_of_all(graph, one.row, rest),) if rest else ()), rest
        room = max(_AT_LEAST, 2 * self._launcher.queue.capacity) - len(one.runs)
        while True:
            held = held_by(graph, {box.set for box in one.boxes}, one.marks) if one.boxes else frozenset[str]()
            found = next_runs(graph, one.marks, one.blocked, room, held, one.elsewhere) if room > 0 else ()
            if not one.boxes or len(found) >= room:
                break
            await self._number_more(one)
            one.meet(self._facts.in_flight)
        asked: dict[str, BitMap] = {}
        for run in found:
            for name in run.assets:
                asked.setdefault(name, BitMap()).add(run.partition)
        return tuple(run_to_admit(graph.definitions, one.row, run) for run in found), asked

    async def _number_more(self, one: Active) -> None:
        """Want the next combinations of a box, and what follows from them."""
        box, *others = one.boxes
        numbers = await numbered(self._in, box.set, box.piece(PIECE))
        fresh = BitMap([number for number in numbers if number > box.after])
        request, asset = BackfillRequest.of(one.row), self._in.in_force.definitions.asset
        start = {
            name: fresh.copy()
            for name in request.assets
            if name in one.marks and (over := asset[name].partitions) is not None and over.name == box.set
        }
        for name, more in spread(self._in.in_force.partitions, request, start).items():
            one.progress.set(name, "wanted", more)
        left = box.moved(PIECE)
        one.boxes = (*([left] if left is not None else []), *others)
        one.boxes_moved = True

    async def _account(self, one: Active) -> None:
        ended, one.ended = one.ended, []
        graph = self._in.in_force.partitions
        if ended:
            read = partial(steps_of_runs, runs=ended)
            steps = await recall(self._in, read, what=f"backfill {one.row.id}")
            one.account(graph, steps, self._in.clock.now())
            one.runs.difference_update(ended)
        one.look(graph)

    async def _commit(
        self, one: Active, runs: tuple[RunToAdmit, ...], state: BackfillState | None, error: str | None
    ) -> Overtaken | None:
        """Write the turn; where others were faster nothing is written."""
        definitions = self._in.in_force.definitions
        chunks = one.progress.changes()
        if not runs and not chunks and state is None and not one.boxes_moved:
            return None
        boxes = tuple(box.dump() for box in one.boxes) if one.boxes_moved else None
        one.boxes_moved = False
        booking = self._launcher.book(runs)
        commit = BackfillCommit(
            id=one.row.id,
            at=self._in.clock.now(),
            chunks=chunks,
            low_run=min(one.runs, default=None),
            state=state,
            error=error,
            runs=booking.runs,
            start=booking.start,
            needs=input_needs(definitions, (step.name for run in runs for step in run.steps) if booking.begins else ()),
            version=definitions.version,
            boxes=boxes,
        )
        try:
            admitted = await persist(self._in, partial(commit_backfill, commit=commit), what="a backfill")
        except BaseException:
            self._launcher.forgo(booking)
            raise
        if isinstance(admitted, Overtaken):
            self._launcher.forgo(booking)
            one.boxes_moved = boxes is not None
            return admitted
        one.state = state or one.state
        self._own(one, [admission.run_id for admission in admitted.runs])
        self._in.bus.publish(admitted.events)
        self._launcher.admitted(booking, booking.runs, admitted.runs)
        return None

    def _own(self, one: Active, runs: list[int]) -> None:
        one.runs.update(runs)
        for run_id in runs:
            self._owner[run_id] = one

    async def _fail(self, one: Active, why: str) -> None:
        commit = BackfillCommit(
            one.row.id, self._in.clock.now(), one.progress.changes(), min(one.runs, default=None), "failed", why
        )
        await persist(self._in, partial(commit_backfill, commit=commit), what="the end of a backfill")
        self.drop(one)
        _log.warning("a backfill cannot go on", backfill=one.row.id, reason=why)

    # --- what moves under it --------------------------------------------------------------------------------

    def _deleted(self, event: Event) -> None:
        asset = self._in.in_force.definitions.asset
        numbers: BitMap | None = None
        for one in self.active.values():
            for name in one.marks:
                partitions = asset[name].partitions if name in asset else None
                if partitions is not None and partitions.name == event.set:
                    numbers = numbers if numbers is not None else BitMap(event.numbers)
                    if one.progress.drop(name, numbers):
                        self.pump(one)

    def _moved_assets(self, row: BackfillRow) -> list[str]:
        """Of the assets that it is about, those whose numbers do not mean what they meant."""
        asset = self._in.in_force.definitions.asset
        return [
            name
            for name, set_name in row.request["sets"].items()
            if name not in asset or (p.name if (p := asset[name].partitions) is not None else None) != set_name
        ]
