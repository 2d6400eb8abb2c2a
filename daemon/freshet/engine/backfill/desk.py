"""What a person does with backfills: ask for one, look, pause, resume, cancel, try again what failed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Literal

from pyroaring import BitMap

from freshet.definitions.partitions import MultiPartitions, PartitionsSpec
from freshet.engine.backfill.active import Active, BackfillView, ended_view, marks_of, moved
from freshet.engine.backfill.loop import Backfills
from freshet.engine.backfill.marks import Marks, Progress, wanted_chunks
from freshet.engine.backfill.ranges import box_of, numbers_of, parse, to_look_up
from freshet.engine.backfill.select import BackfillRequest, check_request, runs_in_all, wanted_by
from freshet.engine.instruments import Instruments
from freshet.engine.launcher import Launcher
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
)
from freshet.store.records import BackfillCommit, BackfillRow, BackfillState, NewBackfill

__all__ = ["BackfillDesk"]

_CANCEL_GRACE = 5.0
_SINGLE_RUN_MAX = 1_000


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
        chosen = await self._chosen(request)
        facts: dict[str, BitMap] = {}
        if request.select in ("missing", "failed"):
            for name in request.assets:
                read = partial(numbers_of_asset, asset=name, failed=request.select == "failed")
                facts[name] = await self._in.store.read(read)
        return await self._begin(request, wanted_by(graph, request, chosen, facts))

    async def retry(self, backfill_id: int) -> BackfillView:
        """Begin a backfill of what another left unmade, failed or not."""
        row = await self._in.store.read(partial(backfill, backfill_id=backfill_id))
        if row.ended_at is None:
            raise Conflict(
                f"backfill {backfill_id} has not ended ({row.state})", hint=f"freshet cancel backfill:{backfill_id}"
            )
        graph, asset = self._in.in_force.partitions, self._in.in_force.definitions.asset
        bits = await self._in.store.read(partial(backfill_bits, backfill_id=backfill_id))
        wanted: dict[str, BitMap] = {}
        for name, marks in marks_of(row, bits).items():
            partitions = asset[name].partitions if name in asset else None
            if name in asset and row.request["sets"][name] == (partitions.name if partitions else None):
                wanted[name] = (marks.wanted - marks.done) & graph.live(name)
        wanted = {name: numbers for name, numbers in wanted.items() if numbers}
        if not wanted:
            raise Conflict(f"backfill {backfill_id} left nothing to be made", hint="freshet backfill makes it again")
        old = row.request
        request = BackfillRequest(
            assets=tuple(name for name in old["assets"] if name in wanted) or tuple(wanted),
            select=old["select"],
            partitions=old["partitions"],
            upstream=old["upstream"],
            downstream=old["downstream"],
            single_run=old["single_run"],
            priority=row.priority,
            tags=row.tags,
            retry_of=backfill_id,
        )
        order = graph.definitions.position
        return await self._begin(request, {name: wanted[name] for name in sorted(wanted, key=order.__getitem__)})

    async def _chosen(self, request: BackfillRequest) -> BitMap | None:
        """The numbers that `--partitions` means, of the first asset's set."""
        spec = self._in.in_force.definitions.asset[request.assets[0]].partitions
        if request.partitions is None or spec is None:
            return None
        sets = self._in.in_force.partitions.sets
        parts = parse(spec, request.partitions)
        looked_up = {
            name: await self._in.store.read(partial(known_numbers, set=name, keys=keys))
            for name, keys in to_look_up(parts).items()
        }
        if not isinstance(spec, MultiPartitions):
            return numbers_of(parts[0], sets, looked_up)
        sides = {part.dimension or "": numbers_of(part, sets, looked_up) for part in parts}
        return sets.combinations(spec).inside(box_of(spec, parts, sets, sides))

    async def _begin(self, request: BackfillRequest, wanted: dict[str, BitMap]) -> BackfillView:
        definitions, graph = self._in.in_force.definitions, self._in.in_force.partitions
        if request.single_run:
            _check_single(sum(map(len, wanted.values())))
        sets = {name: _name(definitions.asset[name].partitions) for name in wanted}
        now = self._in.clock.now()
        new = NewBackfill(request.shown(sets), request.priority, dict(request.tags), now, wanted_chunks(wanted))
        found = await self._in.store.write(partial(begin_backfill, new=new))
        row = BackfillRow(found, "running", new.request, new.priority, new.tags, 0, now, None, None)
        one = Active(row, Progress({name: Marks.fresh(numbers) for name, numbers in wanted.items()}), now)
        self._loop.adopt(one, [])
        planned = 1 if request.single_run else runs_in_all(graph, wanted)
        view = replace(one.view(now), planned_runs=planned)
        self._loop.pump(one)
        return view

    # --- looking --------------------------------------------------------------------------------------------

    async def view(self, backfill_id: int) -> BackfillView:
        """One backfill as it stands."""
        one = self._loop.active.get(backfill_id)
        if one is not None:
            return one.view(self._in.clock.now())
        return await self._ended(await self._in.store.read(partial(backfill, backfill_id=backfill_id)))

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
                one.row, one.state = moved(one.row, state), state
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
