"""What a person does with backfills: ask for one, look, pause, resume, cancel, try again what failed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Literal

from pyroaring import BitMap

from freshet.definitions.partitions import MultiPartitions, PartitionsSpec
from freshet.engine.backfill.active import Active, BackfillView, ended_view, marks_of
from freshet.engine.backfill.boxes import OpenBox
from freshet.engine.backfill.loop import Backfills
from freshet.engine.backfill.marks import Marks, Progress, chunks_of
from freshet.engine.backfill.numbering import PIECE, numbered
from freshet.engine.backfill.ranges import Part, box_of, clipped, everything, numbers_of, parse, to_look_up
from freshet.engine.backfill.select import BackfillRequest, check_request, check_wanted, runs_in_all, wanted_by
from freshet.engine.instruments import Instruments
from freshet.engine.launcher import Launcher
from freshet.engine.partitions.combinations import Box, Combinations
from freshet.errors import Conflict
from freshet.store.backfills import (
    backfill,
    backfill_bits,
    backfills,
    begin_backfill,
    cancel_backfill,
    commit_backfill,
    known_numbers,
    numbers_of_asset,
    retries_of,
)
from freshet.store.events import last_seq
from freshet.store.records import BackfillCommit, BackfillRow, BackfillState, NewBackfill

__all__ = ["BackfillDesk"]

_CANCEL_GRACE = 5.0
_SINGLE_RUN_MAX = 1_000
_AT_ONCE = 1_000
"""So many combinations get their numbers before the backfill begins."""


class BackfillDesk:
    """Changes are durable when a method returns. Raises `UnknownName` for a backfill that never was, `Conflict` for a
    change that its state does not allow, `StoreUnavailable`."""

    def __init__(self, instruments: Instruments, launcher: Launcher, loop: Backfills) -> None:
        self._in = instruments
        self._launcher = launcher
        self._loop = loop

    # --- asking ---------------------------------------------------------------------------------------------

    async def begin(self, request: BackfillRequest) -> BackfillView:
        """Begin a backfill; its first runs are admitted right after."""
        definitions, graph = self._in.in_force.definitions, self._in.in_force.partitions
        check_request(definitions, request)
        request = replace(request, since=await self._in.store.read(last_seq))
        boxes = await self._boxes(request)
        open_boxes = await self._number(request, boxes)
        chosen = await self._chosen(request, boxes)
        facts: dict[str, BitMap] = {}
        if request.select in ("missing", "failed"):
            for name in request.assets:
                read = partial(numbers_of_asset, asset=name, failed=request.select == "failed")
                facts[name] = await self._in.store.read(read)
        wanted = wanted_by(graph, request, chosen, facts)
        notes = self._notes(request)
        totals = self._totals(request, wanted, boxes, open_boxes)
        if not open_boxes:
            check_wanted(request, wanted, notes)
            wanted = {name: numbers for name, numbers in wanted.items() if numbers}
        marks = {name: Marks.fresh(numbers) for name, numbers in wanted.items()}
        view = await self._begin(request, marks, [replace(box, totals=totals[box.set]) for box in open_boxes])
        return replace(view, notes=notes)

    async def retry(self, backfill_id: int) -> BackfillView:
        """Begin a backfill of what another, and whatever was begun to make it up since, left unmade, failed or not."""
        row = await self._in.store.read(partial(backfill, backfill_id=backfill_id))
        if row.ended_at is None:
            raise Conflict(
                f"backfill {backfill_id} has not ended ({row.state})", hint=f"freshet cancel backfill:{backfill_id}"
            )
        graph, asset = self._in.in_force.partitions, self._in.in_force.definitions.asset
        retries = await self._in.store.read(partial(retries_of, backfill_id=backfill_id))
        if retries and retries[-1].ended_at is None:
            raise Conflict(f"backfill {retries[-1].id} makes it now", hint=f"see freshet backfills {retries[-1].id}")
        boxes = [OpenBox.load(found) for found in (row, *retries)[-1].boxes]
        left: dict[str, Marks] = {}
        for name, marks in (await self._made_up(row, retries)).items():
            partitions = asset[name].partitions if name in asset else None
            if name not in asset or row.request["sets"][name] != _name(partitions):
                continue
            if boxes:  # what comes of them may be done already
                left[name] = Marks(marks.wanted & graph.live(name), marks.done.copy(), marks.done.copy(), BitMap())
            elif rest := (marks.wanted - marks.done) & graph.live(name):
                left[name] = Marks.fresh(rest)
        if not left:
            last = f"nothing is left: backfill {retries[-1].id} made it" if retries else ""
            said = last or f"backfill {backfill_id} left nothing to be made"
            raise Conflict(said, hint="freshet backfill makes it again")
        old = BackfillRequest.of(row)
        named = tuple(name for name in old.assets if name in left)
        if not named:  # what lies above or below: there may be something of it that is to be made again
            old, named = replace(old, select="all" if old.select == "missing" else old.select), tuple(left)
        order = sorted(left, key=graph.definitions.position.__getitem__)
        return await self._begin(
            replace(old, assets=named, retry_of=(row, *retries)[-1].id), {name: left[name] for name in order}, boxes
        )

    async def _made_up(self, row: BackfillRow, retries: tuple[BackfillRow, ...]) -> dict[str, Marks]:
        """What a backfill wanted, and what of it was done, by itself or by its retries."""
        found: dict[str, Marks] = {}
        for one in (row, *retries):
            bits = await self._in.store.read(partial(backfill_bits, backfill_id=one.id))
            for name, marks in marks_of(one, bits).items():
                mine = found.setdefault(name, marks)
                if mine is not marks:
                    mine.wanted |= marks.wanted
                    mine.done |= marks.done
        return found

    async def _chosen(self, request: BackfillRequest, boxes: dict[str, Box]) -> BitMap | None:
        """The numbers that `--partitions` means, of the first asset's set."""
        spec = self._in.in_force.definitions.asset[request.assets[0]].partitions
        if request.partitions is None or spec is None:
            return None
        sets = self._in.in_force.partitions.sets
        if isinstance(spec, MultiPartitions):
            return sets.combinations(spec).inside(boxes[spec.name])
        (part,) = parse(spec, request.partitions, repr(request.assets[0]))
        return numbers_of(part, sets, await self._looked_up((part,)), self._in.clock.now())

    def _notes(self, request: BackfillRequest) -> tuple[str, ...]:
        """What of the range is not there."""
        spec = self._in.in_force.definitions.asset[request.assets[0]].partitions
        parts = (
            ()
            if request.partitions is None or spec is None
            else parse(spec, request.partitions, repr(request.assets[0]))
        )
        sets = self._in.in_force.partitions.sets
        return tuple(said for part in parts for said in clipped(part, sets))

    async def _boxes(self, request: BackfillRequest) -> dict[str, Box]:
        """By set of several dimensions, the combinations that are selected, numbered or not."""
        asset, sets = self._in.in_force.definitions.asset, self._in.in_force.partitions.sets
        found: dict[str, Box] = {}
        if request.select == "failed":
            return found
        for name in request.assets if request.partitions is None else request.assets[:1]:
            spec = asset[name].partitions
            if not isinstance(spec, MultiPartitions):
                continue
            asked = request.partitions
            parts = parse(spec, asked, repr(name)) if asked is not None else everything(spec)
            looked_up = await self._looked_up(parts)
            sides = {part.dimension or "": numbers_of(part, sets, looked_up, self._in.clock.now()) for part in parts}
            found[spec.name] = box_of(spec, parts, sets, sides)
        return found

    async def _looked_up(self, parts: tuple[Part, ...]) -> dict[str, dict[str, int]]:
        read = self._in.store.read
        return {
            name: await read(partial(known_numbers, set=name, keys=keys)) for name, keys in to_look_up(parts).items()
        }

    async def _number(self, request: BackfillRequest, boxes: dict[str, Box]) -> list[OpenBox]:
        """Number what is small now; returns what is to be numbered on the way."""
        left: list[OpenBox] = []
        for name, box in boxes.items():
            known = self._combinations(name)
            if box.count == len(known.inside(box) & self._in.in_force.partitions.sets.named(name)):
                continue
            if request.single_run:
                _check_single(box.count)
            sides = tuple(box.sides[one] for one in known.dimensions)
            live = self._in.in_force.partitions.sets.named(name)
            after = live.max() if live and request.select == "missing" else 0
            part: OpenBox | None = OpenBox(name, sides, 0, after, {})
            while part is not None and box.count <= _AT_ONCE:
                await numbered(self._in, name, part.piece(PIECE))
                part = part.moved(PIECE)
            left += [part] if part is not None else []
        return left

    def _combinations(self, name: str) -> Combinations:
        spec = self._in.in_force.definitions.partition_set[name]
        assert isinstance(spec, MultiPartitions), "only these have boxes"
        return self._in.in_force.partitions.sets.combinations(spec)

    def _totals(
        self, request: BackfillRequest, wanted: dict[str, BitMap], boxes: dict[str, Box], left: list[OpenBox]
    ) -> dict[str, dict[str, int]]:
        """By set of an open box: of the named assets over it, what they will want when all of it has numbers."""
        asset, sets = self._in.in_force.definitions.asset, self._in.in_force.partitions.sets
        found: dict[str, dict[str, int]] = {}
        for name in (box.set for box in left):
            box = boxes[name]
            new = box.count - len(self._combinations(name).inside(box) & sets.named(name))
            over = [one for one in dict.fromkeys(request.assets) if _name(asset[one].partitions) == name]
            found[name] = {one: len(wanted[one]) + new for one in over}
        return found

    async def _begin(self, request: BackfillRequest, marks: dict[str, Marks], boxes: list[OpenBox]) -> BackfillView:
        definitions = self._in.in_force.definitions
        wanted = {name: one.to_come for name, one in marks.items()}
        if request.single_run:
            _check_single(sum(map(len, wanted.values())))
        sets = {name: _name(definitions.asset[name].partitions) for name in wanted}
        new = NewBackfill(
            request=request.shown(sets),
            priority=request.priority,
            tags=dict(request.tags),
            at=self._in.clock.now(),
            chunks=chunks_of(marks),
            boxes=tuple(box.dump() for box in boxes),
        )
        return await self._in.work.whole(self._adopt(request, new, marks, boxes))

    async def _adopt(
        self, request: BackfillRequest, new: NewBackfill, marks: dict[str, Marks], boxes: list[OpenBox]
    ) -> BackfillView:
        """Commit it and let it go on."""
        graph, now = self._in.in_force.partitions, new.at
        wanted = {name: one.to_come for name, one in marks.items()}
        found = await self._in.store.write(partial(begin_backfill, new=new))
        row = BackfillRow(found, "running", new.request, new.priority, new.tags, 0, now, None, None, new.boxes)
        one = Active(row, Progress(marks), now)
        self._loop.adopt(one, [])
        for name, mine in one.marks.items():  # what was deleted meanwhile
            one.progress.drop(name, mine.wanted - graph.live(name))
        await self._loop.catch_up(one)
        more = sum(max(box.totals.values(), default=0) - len(marks[next(iter(box.totals))].wanted) for box in boxes)
        planned = 1 if request.single_run else runs_in_all(graph, wanted) + more
        view = replace(one.view(now), planned_runs=planned)
        self._loop.pump(one)
        return view

    # --- looking --------------------------------------------------------------------------------------------

    async def view(self, backfill_id: int) -> BackfillView:
        """One backfill as it stands."""
        one = self._loop.active.get(backfill_id)
        if one is not None:
            return one.view(self._in.clock.now())
        view = await self._ended(await self._in.store.read(partial(backfill, backfill_id=backfill_id)))
        retries = await self._in.store.read(partial(retries_of, backfill_id=backfill_id))
        return replace(view, retried_by=retries[-1].id if retries else None)

    async def views(self, *, limit: int = 50, before: int | None = None) -> tuple[BackfillView, ...]:
        """Backfills, newest first; `before`: only those with a smaller id."""
        rows = await self._in.store.read(partial(backfills, limit=limit, before=before))
        now, active = self._in.clock.now(), self._loop.active
        return tuple([active[row.id].view(now) if row.id in active else await self._ended(row) for row in rows])

    async def _ended(self, row: BackfillRow) -> BackfillView:
        return ended_view(row, marks_of(row, await self._in.store.read(partial(backfill_bits, backfill_id=row.id))))

    # --- changing -------------------------------------------------------------------------------------------

    async def change(self, backfill_id: int, change: Literal["pause", "resume", "cancel", "retry"]) -> BackfillView:
        """What the word says."""
        match change:
            case "pause":
                return await self.pause(backfill_id)
            case "resume":
                return await self.resume(backfill_id)
            case "cancel":
                return await self.cancel(backfill_id)
            case "retry":
                return await self.retry(backfill_id)

    async def pause(self, backfill_id: int) -> BackfillView:
        """Ask for no more runs; those under way end."""
        return await self._move(backfill_id, "paused")

    async def resume(self, backfill_id: int) -> BackfillView:
        """Go on."""
        view = await self._move(backfill_id, "running")
        one = self._loop.active.get(backfill_id)
        if one is not None:
            self._loop.pump(one)
        return view

    async def cancel(self, backfill_id: int) -> BackfillView:
        """End it, and its runs that have not ended."""
        one = await self._find(backfill_id)
        async with one.lock:
            if one.row.id in self._loop.active:
                before, one.state = one.state, "paused"  # so that this turn asks for nothing
                await self._loop.turn(one)
                commit = BackfillCommit(backfill_id, self._in.clock.now())
                try:
                    runs, events = await self._in.store.write(partial(cancel_backfill, commit=commit))
                except BaseException:
                    one.state = before
                    raise
                self._loop.drop(one)
                for _, transaction in groupby(events, key=lambda event: event.txn):
                    self._in.bus.publish(tuple(transaction))
                for run_id in runs:
                    self._launcher.cancel(run_id, grace=_CANCEL_GRACE)
        return await self.view(backfill_id)

    async def _move(self, backfill_id: int, state: BackfillState) -> BackfillView:
        one = await self._find(backfill_id)
        async with one.lock:
            if one.row.id in self._loop.active and one.state != state:
                low = min(one.runs, default=None)
                commit = BackfillCommit(backfill_id, self._in.clock.now(), low_run=low, state=state)
                await self._in.store.write(partial(commit_backfill, commit=commit))
                one.state = state
        return await self.view(backfill_id)

    async def _find(self, backfill_id: int) -> Active:
        one = self._loop.active.get(backfill_id)
        if one is None:
            row = await self._in.store.read(partial(backfill, backfill_id=backfill_id))
            raise Conflict(
                f"backfill {backfill_id} has ended ({row.state})", hint="only one that goes on can be changed"
            )
        return one


def _check_single(steps: int) -> None:
    if steps > _SINGLE_RUN_MAX:
        raise Conflict(
            f"one run of {steps:,} steps; {_SINGLE_RUN_MAX:,} is the most",
            hint="leave out --single-run, or give a shorter range",
        )


def _name(partitions: PartitionsSpec | None) -> str | None:
    return None if partitions is None else partitions.name
