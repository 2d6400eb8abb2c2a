"""Which assets to look at, in dependency order: what lies below what happened, and nothing else."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping

from pyroaring import BitMap

from freshet.engine.automation.moment import Moment
from freshet.engine.automation.program import Program
from freshet.engine.automation.state import EMPTY, World
from freshet.engine.automation.topology import Edge

__all__ = ["Agenda", "Watchers"]


class Watchers:
    """Assets that depend on a policy above them, by the asset that has the policy."""

    def __init__(self, world: World, programs: dict[str, Program]) -> None:
        self._by_source: dict[str, set[str]] = {}
        self._all: set[str] = set()
        self._topology = topology = world.topology
        for asset, program in programs.items():
            if not program.freshness:
                continue
            reach = {asset}
            for step in range(program.depth + 1):
                self._all |= reach
                for name in reach:
                    for source in topology.sources(name):
                        self._by_source.setdefault(source, set()).add(name)
                named = () if step else topology.named.get(asset, ())
                reach = {*named, *(edge.asset for name in reach for edge in topology.edges[name])}

    def of(self, source: str) -> frozenset[str] | set[str]:
        """Those to look at when the source's freshness changes, or when it moves while lapsed."""
        return self._by_source.get(source, frozenset())

    def below(self, asset: str) -> set[str]:
        """Those that see a policy above `asset` through it."""
        topology, seen, stack = self._topology, set[str](), [asset]
        while stack:
            name = stack.pop()
            if name not in topology.policies:
                fresh = {edge.below for edge in topology.below[name]} - seen
                seen |= fresh
                stack.extend(fresh)
        return seen & self._all


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
        self._position = world.topology.position
        self._whole: list[str] = []
        self._heap: list[int] = []
        self._names: dict[int, str] = {}
        self._candidates: dict[str, BitMap] = {}

    def add_whole(self, assets: Iterable[str]) -> None:
        """Look at all there is of these automated assets. Once, and first of all."""
        self._whole = self._world.topology.ordered(assets)
        self._whole.reverse()

    def add(self, asset: str, partitions: BitMap) -> None:
        """Look at an automated asset."""
        known = self._candidates.get(asset)
        if known is None:
            position = self._position[asset]
            self._names[position] = asset
            heapq.heappush(self._heap, position)
            self._candidates[asset] = partitions
        elif known is not partitions:
            self._candidates[asset] = known | partitions

    def pop(self) -> tuple[str, BitMap] | None:
        """The next asset and its candidates."""
        whole, heap = self._whole, self._heap
        if whole and not (heap and heap[0] < self._position[whole[-1]]):
            asset = whole.pop()
            if asset in self._candidates:
                del self._candidates[asset]
                heapq.heappop(heap)
            return asset, self._world.live(asset).copy()
        if not heap:
            return None
        asset = self._names[heapq.heappop(heap)]
        return asset, self._candidates.pop(asset) & self._world.live(asset)

    def happened(
        self,
        asset: str,
        partitions: BitMap,
        begun: BitMap = EMPTY,
        *,
        unsettled: bool = False,
        remapped: bool = False,
    ) -> None:
        """Something happened to `asset`: look at it, and below it. `begun`: see `Pulses`; `unsettled`: also to its
        freshness; `remapped`: other partitions of it are there, or depend on others than before."""
        if asset not in self._world.topology.set_of:
            return
        if self._program_of(asset) is not None:
            self.add(asset, partitions | begun if begun else partitions)
        if begun and not (partitions or unsettled or remapped):
            return
        self.spread(asset, partitions, unsettled=unsettled, remapped=remapped)

    def spread(self, asset: str, partitions: BitMap, *, unsettled: bool = False, remapped: bool = False) -> None:
        """Look below `asset`, as far down as conditions look up."""
        moment, world = self._moment, self._world
        moment.touch(asset, partitions)
        if unsettled or world.levels(asset).lapsed:
            self._watch(self._reached(asset, partitions, remapped))
        elif remapped and self._below_lapses(asset):
            self._watch({name: world.live(name) for name in self._watchers.below(asset)})
        self._descend(asset, partitions)

    def _watch(self, reached: Mapping[str, BitMap]) -> None:
        for name, partitions in reached.items():
            self._moment.touch(name, partitions)
            if self._program_of(name) is not None:
                self.add(name, partitions)
            self._descend(name, partitions)

    def _reached(self, source: str, partitions: BitMap, remapped: bool) -> dict[str, BitMap]:
        """What those that watch a policy may see of these partitions."""
        world, names = self._world, self._watchers.of(source)
        topology = world.topology
        if remapped or source not in topology.by_partition or not names:
            return {name: world.live(name) for name in names}
        found, heap = {source: partitions}, [(topology.position[source], source)]
        while heap:
            _, name = heapq.heappop(heap)
            for edge in topology.below[name] if name == source or name not in topology.policies else ():
                if edge.below not in found:
                    heapq.heappush(heap, (topology.position[edge.below], edge.below))
                found[edge.below] = found.get(edge.below, EMPTY) | world.down(edge, found[name])
        return {name: found[name] for name in names if name in found}

    def _below_lapses(self, asset: str) -> bool:
        topology, world = self._world.topology, self._world
        return asset not in topology.policies and any(
            world.levels(source).lapsed for source in topology.sources(asset) if source in topology.by_partition
        )

    def rewired(self, assets: Iterable[str]) -> None:
        """An edit has changed what these depend on: look at all of them and of what lies below."""
        topology, stack = self._world.topology, [name for name in assets if name in self._world.topology.set_of]
        seen = set(stack)
        while stack:
            name = stack.pop()
            live = self._world.live(name)
            self._moment.touch(name, live)
            if self._program_of(name) is not None:
                self.add(name, live)
            below = {edge.below for edge in topology.followers(name)} - seen
            seen |= below
            stack.extend(below)

    def came(self, changed: Mapping[str, BitMap]) -> None:
        """Partitions that are coming, or are no longer. That they are holds back what depends on them alone: that is
        looked at only if its condition may remember having been true."""
        for asset, partitions in changed.items():
            coming = partitions & self._world.levels(asset).coming
            if gone := partitions - coming:
                self._descend(asset, gone)
            if coming:
                self._descend(asset, coming, unmoved=True)

    def _descend(self, asset: str, partitions: BitMap, *, unmoved: bool = False) -> None:
        """As far down as conditions look up; and, where what depends on several partitions asks whether a missing one
        lies below a failure, to there: through partitions that are missing and not in progress, along ways that lead to
        such assets alone."""
        topology, world = self._world.topology, self._world
        above_fan_ins = topology.above_fan_ins
        front: dict[str, tuple[BitMap, int]] = {asset: (partitions, self._max_depth)}
        seen: dict[tuple[str, int], BitMap] = {}
        while front:
            following: dict[str, tuple[BitMap, int]] = {}
            for name, (bits, left) in front.items():
                for edge in topology.followers(name):
                    near = self._max_depth if edge.several and edge.dep else left
                    if not near and not (edge.dep and edge.below in above_fan_ins):
                        continue
                    if edge.below == name:
                        continue
                    self._moment.visited += 1
                    below, reached = edge.below, world.down(edge, bits)
                    if near:
                        self._add_below(edge, reached, unmoved=unmoved)
                    near = max(0, near - 1)
                    if not near and not (edge.dep and below in above_fan_ins):
                        continue
                    if near:
                        self._moment.touch(below, reached)
                    else:
                        missing = reached - world.levels(below).materialized
                        reached = missing - world.levels(below).in_flight(missing) if missing else missing
                    reached = reached - seen.get((below, near), EMPTY)
                    if reached or near:  # what nothing depends on yet is remembered too
                        seen[below, near] = seen.get((below, near), EMPTY) | reached
                        known = following.get(below, (EMPTY, 0))
                        following[below] = (known[0] | reached, max(known[1], near))
            front = following

    def _add_below(self, edge: Edge, reached: BitMap, *, unmoved: bool) -> None:
        program = self._program_of(edge.below)
        if program is None or not program.depth:
            return
        if not (unmoved and program.calm and not edge.several):
            self.add(edge.below, reached)
