"""Which runs of a backfill are next. Pure: bitmaps in, runs out.

A partition is ready when everything that it depends on and that is wanted in the same backfill is done, whatever the
mapping. It is blocked as long as any of that failed or is blocked; what is not wanted does not matter. Assets over one
set that depend on each other partition by partition go in one run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pyroaring import BitMap

from freshet.engine.backfill.marks import Marks
from freshet.engine.partitions.graph import PartitionGraph
from freshet.engine.partitions.links import Same

__all__ = ["NextRun", "blocked_below", "joined", "next_runs", "rides"]

_NONE = BitMap()
_BATCH = 64
_GROWTH = 8


@dataclass(frozen=True, slots=True)
class NextRun:
    """A run to ask for: assets in dependency order, and their partition (0 without)."""

    assets: tuple[str, ...]
    set: str | None
    partition: int


def blocked_below(graph: PartitionGraph, marks: Mapping[str, Marks]) -> dict[str, BitMap]:
    """By asset, what will not be asked for because of failures above it. `marks` in dependency order."""
    found: dict[str, BitMap] = {}
    for asset, own in marks.items():
        stuck = BitMap()
        for above in _above(graph, asset, marks):
            bad = marks[above].failed | found.get(above, _NONE)
            if bad:
                stuck |= graph.link(asset, above).below(bad) & (own.wanted - own.asked)
        if stuck:
            found[asset] = stuck
    return found


def next_runs(
    graph: PartitionGraph,
    marks: Mapping[str, Marks],
    blocked: Mapping[str, BitMap],
    room: int,
    held: Collection[str] = (),
    elsewhere: Mapping[str, BitMap] | None = None,
) -> tuple[NextRun, ...]:
    """Up to `room` runs that may begin now, in dependency order and within it by partition number.

    `marks` in dependency order; `blocked` as `blocked_below` says; `held`: assets that are to wait; `elsewhere`:
    partitions that are to wait, being in runs of others. The cost is that of `room`, of what is held by something above
    it, and the algebra's, not that of partitions.
    """
    ready = _Ready(graph, marks, blocked)
    begun: dict[str | None, BitMap] = {}
    left = room
    for asset, own in marks.items():
        rest = own.wanted - own.asked - blocked.get(asset, _NONE)
        if elsewhere and asset in elsewhere:
            rest -= elsewhere[asset]
        if not rest or asset in held:
            continue
        with_others = begun.setdefault(_set_of(graph, asset), BitMap())
        found = ready.among(asset, rest & with_others)
        fresh = ready.first(asset, rest - with_others, left) if left > 0 else _NONE
        left -= len(fresh)
        with_others |= fresh
        ready.chosen[asset] = found | fresh
    return tuple(_in_order(graph, ready.chosen))[:room]


def joined(graph: PartitionGraph, assets: Iterable[str]) -> list[tuple[str, ...]]:
    """Assets, given in dependency order, by those that go in one run for one partition."""
    group_of: dict[str, list[str]] = {}
    for asset in assets:
        own = group_of[asset] = [asset]
        for above in _above(graph, asset, group_of):
            other = group_of[above]
            if other is not own and rides(graph, asset, above):
                other.extend(own)
                group_of.update(dict.fromkeys(own, other))
                own = other
    position = graph.definitions.position
    groups = {id(group): group for group in group_of.values()}
    return [tuple(sorted(group, key=position.__getitem__)) for group in groups.values()]


class _Ready:
    """What may begin, given what was chosen to begin with it."""

    def __init__(self, graph: PartitionGraph, marks: Mapping[str, Marks], blocked: Mapping[str, BitMap]) -> None:
        self._graph = graph
        self._marks = marks
        self._coming = _Coming(marks, blocked)
        self.chosen: dict[str, BitMap] = {}

    def among(self, asset: str, candidates: BitMap) -> BitMap:
        """Those that nothing to come above them holds back, what goes in their own run aside."""
        for above in _above(self._graph, asset, self._marks):
            if not candidates:
                break
            coming = self._coming[above]
            if coming and rides(self._graph, asset, above):
                coming = coming - self.chosen.get(above, _NONE)
            link = self._graph.link(asset, above)
            hit = link.above(candidates) & coming if coming else _NONE
            if hit:
                candidates = candidates - link.below(hit)
        return candidates

    def first(self, asset: str, candidates: BitMap, limit: int) -> BitMap:
        """The first `limit` of them, found in growing batches: mostly the first will do."""
        found, size = BitMap(), max(_BATCH, limit)
        while candidates and len(found) < limit:
            batch = BitMap(candidates[:size])
            found |= _head(self.among(asset, batch), limit - len(found))
            candidates = candidates - batch
            size *= _GROWTH
        return found


class _Coming(dict[str, BitMap]):
    """By asset, what is still to come of it; made when first asked for."""

    def __init__(self, marks: Mapping[str, Marks], blocked: Mapping[str, BitMap]) -> None:
        super().__init__()
        self._marks = marks
        self._blocked = blocked

    def __missing__(self, asset: str) -> BitMap:
        found = self[asset] = self._marks[asset].to_come - self._blocked.get(asset, _NONE)
        return found


def _in_order(graph: PartitionGraph, chosen: Mapping[str, BitMap]) -> list[NextRun]:
    by_place: dict[tuple[str | None, int], list[str]] = {}
    for asset, numbers in chosen.items():
        for number in numbers:
            by_place.setdefault((_set_of(graph, asset), number), []).append(asset)
    groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    found: list[NextRun] = []
    for (name, number), assets in by_place.items():
        together = tuple(assets)
        if together not in groups:
            groups[together] = joined(graph, together)
        found += [NextRun(group, name, number) for group in groups[together]]
    position = graph.definitions.position
    return sorted(found, key=lambda run: (position[run.assets[0]], run.partition))


def rides(graph: PartitionGraph, asset: str, above: str) -> bool:
    """Whether a partition can be made in one run with the one above it."""
    return _set_of(graph, asset) == _set_of(graph, above) and isinstance(graph.link(asset, above), Same)


def _above(graph: PartitionGraph, asset: str, among: Mapping[str, object]) -> Iterator[str]:
    return (dep.asset for dep in graph.definitions.asset[asset].deps if dep.asset in among)


def _set_of(graph: PartitionGraph, asset: str) -> str | None:
    spec = graph.definitions.asset[asset].partitions
    return None if spec is None else spec.name


def _head(numbers: BitMap, limit: int) -> BitMap:
    return numbers if len(numbers) <= limit else BitMap(numbers[:limit])
