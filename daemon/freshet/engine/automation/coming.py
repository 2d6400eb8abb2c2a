"""Which partitions are on their way: going to be made without anyone asking, since something above them is.

Kept up to date as a bitmap of each asset (`Levels.coming`), so that what is below a long graph costs what changes.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from pyroaring import BitMap

from freshet.definitions.condition import Selection
from freshet.engine.automation.program import Program
from freshet.engine.automation.state import EMPTY, ONE, World
from freshet.engine.automation.topology import Edge

__all__ = ["Coming"]


class Coming:
    """A partition is coming if its asset is automated, the partition is missing or its condition reacts to updates,
    and a partition that it depends on is queued, running, asked for or coming itself. Dependencies that its condition
    never looks at do not count; those that it names do, dependencies or not.

    It may stay away in the end: another upstream may hold it, or the run above may fail. Who waits for it does so for
    a limited time.
    """

    def __init__(self, world: World, programs: Mapping[str, Program]) -> None:
        self._world = world
        self._reactions = {name: program.reaction for name, program in programs.items()}
        self._edges = {
            name: _followed(world, name, program.follows)
            for name, program in programs.items()
            if program.follows is not None or name in world.topology.named
        }
        self._plain = {name: above for name in programs if (above := self._plain_of(name)) is not None}

    def _plain_of(self, asset: str) -> tuple[str, ...] | None:
        """What an asset without partitions follows; None where there are partitions on either side."""
        topology = self._world.topology
        edges = self._edges.get(asset, topology.edges[asset])
        if topology.set_of[asset] is not None or any(edge.kind != "same" for edge in edges):
            return None
        return tuple(edge.asset for edge in edges)

    def rebuild(self) -> dict[str, BitMap]:
        """Find all out from the start; returns the partitions that changed, by asset."""
        world, changed = self._world, dict[str, BitMap]()
        for asset in world.eventful():
            levels = world.levels(asset)
            if bits := levels.in_progress | levels.asked | levels.coming:
                changed[asset] = bits
        return self.refresh(changed)

    def refresh(self, changed: Mapping[str, BitMap]) -> dict[str, BitMap]:
        """Look again at these partitions, whose facts changed, and at what depends on them; returns the partitions
        that are coming now and were not, or the other way round."""
        topology, found = self._world.topology, dict[str, BitMap]()
        due: dict[str, BitMap] = {}
        heap: list[tuple[int, str]] = []

        def add(asset: str, partitions: BitMap) -> None:
            known = due.get(asset)
            if known is None:
                heapq.heappush(heap, (topology.position[asset], asset))
                due[asset] = partitions
            elif known is not partitions:
                due[asset] = known | partitions

        def below(asset: str, partitions: BitMap) -> None:
            for edge in topology.followers(asset):
                if edge.below in self._reactions and edge.below != asset:
                    add(edge.below, self._world.down(edge, partitions))

        for asset, partitions in changed.items():
            if asset in topology.set_of:
                if asset in self._reactions:
                    add(asset, partitions)
                below(asset, partitions)
        while heap:
            asset = heapq.heappop(heap)[1]
            partitions = due.pop(asset)
            if asset in self._plain:
                toggled = self._single(asset, self._plain[asset]) if 0 in partitions else EMPTY
            else:
                toggled = (self._world.levels(asset).coming & partitions) ^ self._among(asset, partitions)
            if toggled:
                self._world.change(asset).coming ^= toggled
                found[asset] = toggled
                below(asset, toggled)
        return found

    def _single(self, asset: str, above: tuple[str, ...]) -> BitMap:
        """What toggles of an asset without partitions, as `_among` says, in a bit."""
        world = self._world
        levels, comes = world.levels(asset), False
        if not (self._reactions[asset] == "missing" and 0 in levels.materialized):
            for name in above:
                one = world.levels(name)
                if 0 in one.in_progress or 0 in one.asked or 0 in one.coming:
                    comes = True
                    break
        return ONE if comes is not (0 in levels.coming) else EMPTY

    def _among(self, asset: str, partitions: BitMap) -> BitMap:
        world = self._world
        rest = partitions & world.live(asset)
        if self._reactions[asset] == "missing":
            rest -= world.levels(asset).materialized
        found = EMPTY
        for edge in self._edges.get(asset, world.topology.edges[asset]):
            if not rest:
                break
            levels, above = world.levels(edge.asset), world.up(edge, rest)
            moving = levels.in_flight(above)
            if levels.coming:
                moving = moving | (levels.coming & above)
            if moving:
                follow = world.depending(edge, moving, rest)
                found = found | follow
                rest = rest - follow
        return found


def _followed(world: World, asset: str, follows: tuple[Selection, ...] | None) -> tuple[Edge, ...]:
    looking: tuple[Selection | None, ...] = (None,) if follows is None else follows
    edges = {edge: None for deps in looking for edge in world.topology.chosen(asset, deps)}
    edges |= {edge: None for name, edge in world.topology.named.get(asset, {}).items() if name != asset}
    return tuple(edges)
