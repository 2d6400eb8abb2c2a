"""Which assets to look at, in dependency order: what lies below what happened, and nothing else."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from pyroaring import BitMap

from freshet.engine.automation.moment import Moment
from freshet.engine.automation.program import Program
from freshet.engine.automation.state import EMPTY, World

__all__ = ["Agenda", "Watchers"]


class Watchers:
    """Assets that depend on a policy above them, by the asset that has the policy."""

    def __init__(self, world: World, programs: dict[str, Program]) -> None:
        self._by_source: dict[str, set[str]] = {}
        topology = world.topology
        for asset, program in programs.items():
            if not program.freshness:
                continue
            reach = {asset}
            for _ in range(program.depth + 1):
                for name in reach:
                    for source in topology.sources(name):
                        self._by_source.setdefault(source, set()).add(name)
                reach = {edge.asset for name in reach for edge in topology.edges[name]}

    def of(self, source: str) -> frozenset[str] | set[str]:
        """Those to look at when the source's freshness changes, or when it moves while lapsed."""
        return self._by_source.get(source, frozenset())


class Agenda:
    """A heap over positions; `pop` gives each asset once, with all its candidates, after everything above it."""

    def __init__(
        self,
        world: World,
        moment: Moment,
        program_of: Callable[[str], Program | None],
        watchers: Watchers,
        max_depth: int,
    ) -> None:
        self._world = world
        self._moment = moment
        self._program_of = program_of
        self._watchers = watchers
        self._max_depth = max_depth
        self._heap: list[int] = []
        self._names: dict[int, str] = {}
        self._candidates: dict[str, BitMap] = {}

    def add(self, asset: str, partitions: BitMap) -> None:
        """Look at an automated asset."""
        known = self._candidates.get(asset)
        if known is None:
            position = self._world.topology.position[asset]
            self._names[position] = asset
            heapq.heappush(self._heap, position)
            self._candidates[asset] = partitions.copy()
        else:
            known |= partitions

    def pop(self) -> tuple[str, BitMap] | None:
        """The next asset and its candidates."""
        if not self._heap:
            return None
        asset = self._names[heapq.heappop(self._heap)]
        return asset, self._candidates.pop(asset) & self._world.live(asset)

    def happened(self, asset: str, partitions: BitMap, *, unsettled: bool = False) -> None:
        """Something happened to `asset`: look at it, and below it."""
        if asset not in self._world.topology.set_of:
            return
        if self._program_of(asset) is not None:
            self.add(asset, partitions)
        self.spread(asset, partitions, unsettled=unsettled)

    def spread(self, asset: str, partitions: BitMap, *, unsettled: bool = False) -> None:
        """Look below `asset`: as far down as conditions look up, and further through partitions that are missing and
        not in progress, whose being on the way or not may have changed."""
        moment, world = self._moment, self._world
        touched = moment.touched.get(asset)
        moment.touched[asset] = partitions if touched is None else touched | partitions
        if unsettled or world.levels(asset).lapsed:
            for name in self._watchers.of(asset):
                moment.touched[name] = world.live(name)
                if self._program_of(name) is not None:
                    self.add(name, world.live(name))
                self._descend(name, world.live(name))
        self._descend(asset, partitions)

    def _descend(self, asset: str, partitions: BitMap) -> None:
        topology, world = self._world.topology, self._world
        front: dict[str, BitMap] = {asset: partitions}
        distance = 0
        seen: dict[str, BitMap] = {}
        while front:
            distance += 1
            following: dict[str, BitMap] = {}
            for name, bits in front.items():
                for edge in topology.below.get(name, ()):
                    self._moment.visited += 1
                    below, reached = edge.below, world.down(edge, bits)
                    program = self._program_of(below)
                    if program is not None and program.depth:
                        self.add(below, reached)
                    if distance >= self._max_depth:
                        missing = reached - world.levels(below).materialized
                        reached = missing - world.levels(below).in_flight(missing) if missing else missing
                    reached = reached - seen.get(below, EMPTY)
                    if reached or distance < self._max_depth:  # what nothing depends on yet is remembered too
                        seen[below] = seen.get(below, EMPTY) | reached
                        following[below] = following.get(below, EMPTY) | reached
            front = following
