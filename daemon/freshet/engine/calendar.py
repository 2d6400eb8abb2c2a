"""The calendar of partition sets: windows open as they close, and sets of several dimensions grow with them.

A heap entry a set in time waits for its next change. What is due together opens in one transaction, however many
windows have passed meanwhile; a clock that is set back opens nothing again.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import product

import structlog
from pyroaring import BitMap

from freshet.definitions.full import MAX_IN_FULL, known_size, numbered_in_full
from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import MultiPartitions, TimePartitions, said_set
from freshet.engine.instruments import Instruments, persist
from freshet.executors.base import LoadProblem
from freshet.store.interning import number_places, open_sets
from freshet.store.records import Event

__all__ = ["Calendar", "too_many_combinations"]

_PIECE = 500
"""Combinations a transaction: what the writer is held for stays under 20 ms."""
_LOOKED_AT = 5_000
"""Combinations looked at in one turn of the event loop."""
_FEW = "only those that were used are known: conditions do not find the others missing"

_log = structlog.get_logger("freshet.partitions")

Place = tuple[int, ...]


class Calendar:
    """Opens windows at their instants, and numbers the combinations that conditions and dependencies need."""

    def __init__(self, instruments: Instruments) -> None:
        self._in = instruments
        self._sets: dict[str, TimePartitions] = {}
        self._due: set[str] = set()
        self._opening = False
        self._full: dict[str, MultiPartitions] = {}
        self._over: dict[str, list[tuple[MultiPartitions, int]]] = {}
        self._growing: deque[tuple[MultiPartitions, Iterator[Place]]] = deque()
        self._numbering = False
        self._told: set[str] = set()
        self.open = False

    def start(self) -> None:
        """Open what closed while the daemon was down, then wait."""
        definitions = self._in.in_force.definitions
        sets = definitions.partition_set.values()
        self._sets = {one.name: one for one in sets if isinstance(one, TimePartitions)}
        self._full = {one.name: one for one in numbered_in_full(definitions)}
        for spec in self._full.values():
            for position, one in enumerate(spec.dimensions):
                self._over.setdefault(one.set.name, []).append((spec, position))
        self.open = True
        for name in self._sets:
            self._come(name)
        for spec in self._full.values():
            self._grow(spec, None, BitMap())

    def stop(self) -> None:
        """Open nothing more."""
        self.open = False
        for name in self._sets:
            self._in.heap.cancel(("calendar", name))

    def rezoned(self) -> None:
        """The rules of a zone have changed: wait for other instants. What is open stays open."""
        for name in self._sets:
            self._come(name)

    # --- windows --------------------------------------------------------------------------------------------

    def _come(self, name: str) -> None:
        """All that come in one turn of the heap open together."""
        self._due.add(name)
        if not self._opening and self.open:
            self._opening = True
            self._in.work.spawn(self._open())

    async def _open(self) -> None:
        await asyncio.sleep(0)
        try:
            while self._due and self.open:
                due, now = sorted(self._due), self._in.clock.now()
                self._due.clear()
                wanted = {name: self._sets[name].live(now)[-1] for name in due if self._grown(name, now)}
                if wanted:
                    events = await persist(
                        self._in, partial(open_sets, wanted=wanted, now=now), what="windows that have closed"
                    )
                    self._in.bus.publish(events)
                for name in due:
                    self._wait(name, now)
        finally:
            self._opening = False

    def _grown(self, name: str, now: float) -> bool:
        """Whether windows have closed that are not open yet."""
        closed, known = self._sets[name].live(now), self._in.in_force.partitions.sets.named(name)
        return bool(closed) and (not known or closed[-1] > known.max())

    def _wait(self, name: str, now: float) -> None:
        following = self._sets[name].next_change(now)
        if following is not None and self.open:
            self._in.heap.at(("calendar", name), following, partial(self._come, name))

    # --- combinations ---------------------------------------------------------------------------------------

    def published(self, events: tuple[Event, ...]) -> None:
        """A dimension that grows brings combinations with it."""
        if not self._over or not self.open:
            return
        for event in events:
            if event.type == "partition_added" and event.set in self._over:
                for spec, position in self._over[event.set]:
                    self._grow(spec, position, BitMap(event.numbers))

    def _grow(self, spec: MultiPartitions, position: int | None, numbers: BitMap) -> None:
        """Number all combinations of a set, or (`position`) those with these numbers in one dimension."""
        sets = self._in.in_force.partitions.sets
        sides = [sets.live(one.set) for one in spec.dimensions]
        if math.prod(len(side) for side in sides) > MAX_IN_FULL:
            if spec.name not in self._told:
                self._told.add(spec.name)
                _log.warning("too many combinations", set=spec.name, most=MAX_IN_FULL, hint=_FEW)
            return
        meant = (numbers if index == position else side for index, side in enumerate(sides))
        self._growing.append((spec, product(*(list(side) for side in meant))))
        if not self._numbering:
            self._numbering = True
            self._in.work.spawn(self._number())

    async def _number(self) -> None:
        try:
            while self._growing and self.open:
                spec, places = self._growing[0]
                looked, new = self._unnumbered(spec, places)
                if new:
                    numbering = partial(number_places, spec=spec, places=new, now=self._in.clock.now())
                    self._in.bus.publish(await persist(self._in, numbering, what=f"the combinations of {spec.name}"))
                elif not looked:
                    self._growing.popleft()
                await asyncio.sleep(0)
        finally:
            self._numbering = False

    def _unnumbered(self, spec: MultiPartitions, places: Iterator[Place]) -> tuple[int, list[Place]]:
        """The next few that have no number; how many were looked at for them."""
        known, names = self._in.in_force.partitions.sets.combinations(spec), spec.names
        looked, new = 0, list[Place]()
        for place in places:
            looked += 1
            if known.number(dict(zip(names, place, strict=True))) is None:
                new.append(place)
            if len(new) == _PIECE or looked == _LOOKED_AT:
                break
        return looked, new


def _said(definitions: Definitions, spec: MultiPartitions) -> str:
    over = [repr(one.name) for one in definitions.assets if one.partitions is not None and one.partitions == spec]
    return said_set(spec, ", ".join(over[:3]))


def too_many_combinations(definitions: Definitions, now: float) -> Iterable[LoadProblem]:
    """A warning for each set that would have to be numbered in full, and is too large for it. `definitions` are
    resolved: their zones are known."""
    for spec in numbered_in_full(definitions):
        count = known_size(spec, now)
        if count > MAX_IN_FULL:
            yield LoadProblem(
                message=f"{_said(definitions, spec)} has {count} combinations, more than {MAX_IN_FULL}: {_FEW}",
                hint="let a dimension begin later, or be coarser; or take conditions and mappings off its assets",
                file=spec.source.file if spec.source else None,
                line=spec.source.line if spec.source else None,
                traceback="",
            )
