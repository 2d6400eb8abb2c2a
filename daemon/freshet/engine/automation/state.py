"""Facts: the state of every asset over its partitions, as bitmaps, and what one transaction did to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyroaring import BitMap

from freshet.engine.automation.topology import Edge, Topology
from freshet.store.records import AssetStateRow, Event, FreshnessRow

__all__ = ["EMPTY", "Levels", "World"]

EMPTY = BitMap()
"""Shared: nobody changes it."""
_ONE = BitMap([0])
_STEP_EVENTS = frozenset({"requested", "started", "materialized", "failed", "released"})


@dataclass(slots=True)
class Levels:
    """An asset's partitions by state. `queued`: in progress, and no step of it has begun. `asked`: requested by an
    evaluation whose commit has not come back as an event. `lapsed`, `warned`: 0 stands for the whole asset."""

    materialized: BitMap = field(default_factory=BitMap)
    failed: BitMap = field(default_factory=BitMap)
    in_progress: BitMap = field(default_factory=BitMap)
    queued: BitMap = field(default_factory=BitMap)
    asked: BitMap = field(default_factory=BitMap)
    lapsed: BitMap = field(default_factory=BitMap)
    warned: BitMap = field(default_factory=BitMap)

    def in_flight(self, scope: BitMap) -> BitMap:
        """Those of `scope` that are queued, running or asked for."""
        flying = scope & self.in_progress
        return flying | (scope & self.asked) if self.asked else flying

    def restore(self, partition: int) -> None:
        """Fresh again: something was materialized."""
        for bits in (self.lapsed, self.warned):
            bits.discard(0)
            bits.discard(partition)


_NO_LEVELS = Levels()


class World:
    """All facts. Assets that the definitions no longer name keep theirs, in case they come back."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._levels: dict[str, Levels] = {}
        self._live: dict[str, BitMap] = {}

    def load(
        self, states: Iterable[AssetStateRow], live: Mapping[str, Iterable[int]], freshness: Iterable[FreshnessRow]
    ) -> None:
        """Replace everything. Whatever is in progress counts as queued: no step survives a restart."""
        self._levels.clear()
        self._live = {name: BitMap(numbers) for name, numbers in live.items()}
        latest: dict[str, int] = {}
        for row in states:
            levels = self.change(row.asset)
            if row.in_progress:
                levels.in_progress.add(row.partition)
                levels.queued.add(row.partition)
            if not self.is_live(row.asset, row.partition):
                continue
            if row.materialized_seq is not None:
                levels.materialized.add(row.partition)
                latest[row.asset] = max(latest.get(row.asset, 0), row.materialized_seq)
            if row.failed_seq is not None and row.failed_seq > (row.materialized_seq or 0):
                levels.failed.add(row.partition)
        for policy in freshness:
            committed_for = policy.baseline_seq if policy.state_seq is None else policy.state_seq
            if policy.state != "fresh" and max(latest.get(policy.asset, 0), policy.baseline_seq) <= committed_for:
                levels = self.change(policy.asset)
                (levels.lapsed if policy.state == "lapsed" else levels.warned).add(policy.partition)

    def rewind(self, behind: Iterable[Event]) -> None:
        """What `behind` ends or begins next was in progress before it (a start may be of a run that was queued), and
        what it requests next was asked for before it (by an evaluation that is committed; another's request is
        joined, since its run begins after these events), so that nothing is asked for a second time while they are
        evaluated."""
        seen: set[tuple[str, int]] = set()
        for event in behind:
            place = (event.asset or "", event.partition or 0)
            if event.asset is None or event.type not in _STEP_EVENTS or place in seen:
                continue
            seen.add(place)
            levels = self.change(event.asset)
            for bits in (levels.in_progress, levels.queued):
                (bits.discard if event.type == "requested" else bits.add)(place[1])
            if event.type == "requested":
                levels.asked.add(place[1])

    def levels(self, asset: str) -> Levels:
        """To read."""
        return self._levels.get(asset, _NO_LEVELS)

    def change(self, asset: str) -> Levels:
        """To change."""
        found = self._levels.get(asset)
        if found is None:
            found = self._levels[asset] = Levels()
        return found

    def live(self, asset: str) -> BitMap:
        """The partitions there are: {0} for an asset without."""
        name = self.topology.set_of.get(asset)
        return _ONE if name is None else self._live.get(name, EMPTY)

    def is_live(self, asset: str, partition: int) -> bool:
        """Facts about deleted partitions are not kept."""
        name = self.topology.set_of.get(asset)
        return name is None or partition in self._live.get(name, EMPTY)

    def live_set(self, name: str) -> BitMap:
        """A set's live partitions, to change."""
        return self._live.setdefault(name, BitMap())

    def newest(self, asset: str) -> BitMap:
        """The partition that was added last (the highest number); {0} for an asset without; empty if none."""
        live = self.live(asset)
        return BitMap([live.max()]) if live else EMPTY

    def missing(self, asset: str) -> BitMap:
        """Live and never materialized."""
        return self.live(asset) - self.levels(asset).materialized

    def marked(self, asset: str, bits: BitMap) -> BitMap:
        """Freshness bits as partitions: the whole asset's (0) is that of its newest partition."""
        if not bits:
            return EMPTY
        own = bits & self.live(asset)
        return own | self.newest(asset) if 0 in bits else own

    def up(self, edge: Edge, partitions: BitMap) -> BitMap:
        """The upstream partitions that `partitions` depend on along an edge."""
        if edge.kind == "same":
            return partitions
        return self.newest(edge.asset) if edge.kind == "last" else self.live(edge.asset)

    def down(self, edge: Edge, below: str, partitions: BitMap) -> BitMap:
        """The downstream partitions that may depend on `partitions` along an edge."""
        if edge.kind == "same" or not partitions:
            return partitions
        return self.live(below)
