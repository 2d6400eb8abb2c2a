"""Facts: the state of every asset over its partitions, as bitmaps, and what one transaction did to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pyroaring import BitMap

from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import MultiPartitions, StaticPartitions, TimePartitions
from freshet.engine.automation.topology import Edge, Topology
from freshet.engine.partitions.graph import PartitionGraph
from freshet.engine.partitions.sets import Sets
from freshet.store.records import AssetBits, CheckedBits, Event, FreshnessRow, SetState

__all__ = ["EMPTY", "ONE", "AssetCounts", "Levels", "World"]

EMPTY = BitMap()
"""Shared: nobody changes it."""
ONE = BitMap([0])
"""The single value of an asset without partitions; likewise."""


@dataclass(slots=True)
class Levels:
    """An asset's partitions by state. `queued`: in progress, and no step of it has begun. `asked`: requested by an
    evaluation whose commit has not come back as an event. `coming`: see `Coming`, which keeps it. `lapsed`, `warned`:
    0 stands for the whole asset. `held`, `results`: see `store.records.CheckedBits`."""

    materialized: BitMap = field(default_factory=BitMap)
    failed: BitMap = field(default_factory=BitMap)
    in_progress: BitMap = field(default_factory=BitMap)
    queued: BitMap = field(default_factory=BitMap)
    asked: BitMap = field(default_factory=BitMap)
    coming: BitMap = field(default_factory=BitMap)
    lapsed: BitMap = field(default_factory=BitMap)
    warned: BitMap = field(default_factory=BitMap)
    held: BitMap = field(default_factory=BitMap)
    results: dict[str, tuple[BitMap, BitMap]] = field(default_factory=dict[str, tuple[BitMap, BitMap]])

    @property
    def usable(self) -> BitMap:
        """Those that what is downstream may build on: materialized, and not held by blocking checks; to be read."""
        return self.materialized - self.held if self.held else self.materialized

    def in_flight(self, scope: BitMap) -> BitMap:
        """Those of `scope` that are queued, running or asked for."""
        flying = scope & self.in_progress
        return flying | (scope & self.asked) if self.asked else flying

    def restore(self, partition: int) -> None:
        """Fresh again: something was materialized."""
        for bits in (self.lapsed, self.warned):
            bits.discard(0)
            bits.discard(partition)

    def forget(self, gone: BitMap) -> None:
        """These are deleted; what is in progress ends by itself."""
        for bits in (self.materialized, self.failed, self.lapsed, self.warned, self.held):
            bits -= gone
        for passed, failed in self.results.values():
            passed -= gone
            failed -= gone

    def made(self, partition: int, *, held: bool) -> None:
        """Materialized: what checks said was of what there was before."""
        self.materialized.add(partition)
        self.failed.discard(partition)
        if held or self.held:
            (self.held.add if held else self.held.discard)(partition)
        for passed, failed in self.results.values():
            passed.discard(partition)
            failed.discard(partition)

    def checked(self, name: str, partition: int, *, passed: bool) -> None:
        """The result of a check."""
        both = self.results.setdefault(name, (BitMap(), BitMap()))
        both[0 if passed else 1].add(partition)
        both[1 if passed else 0].discard(partition)


@dataclass(frozen=True, slots=True)
class AssetCounts:
    """How many live partitions an asset has, and in which state; one without partitions counts as one. `failed`: the
    last try failed for good, whatever was made before. `in_progress`: queued or running. `exhausted`: lapsed, with no
    attempts left to refresh them."""

    partitions: int
    materialized: int
    failed: int
    in_progress: int
    exhausted: int = 0


_NO_LEVELS = Levels()


class World:
    """All facts. Assets that the definitions no longer name keep theirs, in case they come back."""

    def __init__(self, definitions: Definitions) -> None:
        self._levels: dict[str, Levels] = {}
        self.topology = Topology(definitions)
        self.sets = Sets(definitions, {})
        self.partitions = PartitionGraph(definitions, self.sets)
        self.relinked = False
        self._gone: Mapping[str, BitMap] = {}
        self._gone_until = 0
        self.latest_counts = False
        self.starts_count = True

    def redefine(
        self,
        definitions: Definitions,
        sets: Mapping[str, SetState],
        moved: Iterable[str] = (),
        renamed: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Other definitions; `sets` replace what is known of them, of what has `moved` nothing is, and of what is
        `renamed` all is by its new name."""
        for old in renamed.keys() & self._levels.keys():
            self._levels[renamed[old]] = self._levels.pop(old)
        for asset in moved:
            self._levels.pop(asset, None)
        self.topology = Topology(definitions)
        self.sets = self.sets.redefined(definitions, sets)
        self.partitions = PartitionGraph(definitions, self.sets)
        for asset, levels in self._levels.items():
            if levels.held and asset not in self.topology.gated:
                levels.held = BitMap()
            spec = definitions.asset.get(asset)
            if spec is not None and spec.freshness is None and (levels.lapsed or levels.warned):
                levels.lapsed, levels.warned = BitMap(), BitMap()

    def load(
        self, bits: Mapping[str, AssetBits], sets: Mapping[str, SetState], freshness: Iterable[FreshnessRow]
    ) -> None:
        """Replace everything. Whatever is in progress counts as queued: no step survives a restart."""
        self._levels.clear()
        self.sets = Sets(self.partitions.definitions, sets)
        self.relink()
        for asset, one in bits.items():
            flying = one.in_progress
            if not (one.materialized or one.failed or flying or one.checked.results):
                continue
            levels = Levels(one.materialized.copy(), one.failed.copy(), flying.copy(), flying.copy())
            self._levels[asset] = levels
            if asset in self.topology.set_of:
                levels.materialized &= self.live(asset)
                levels.failed &= self.live(asset)
                self._checked(asset, levels, one.checked)
        for policy in freshness:
            committed_for = policy.baseline_seq if policy.state_seq is None else policy.state_seq
            there = not policy.partition or self.is_live(policy.asset, policy.partition)
            if there and policy.state != "fresh" and policy.baseline_seq <= committed_for:
                levels = self.change(policy.asset)
                (levels.lapsed if policy.state == "lapsed" else levels.warned).add(policy.partition)

    def _checked(self, asset: str, levels: Levels, checked: CheckedBits) -> None:
        live = self.live(asset)
        if asset in self.topology.gated:
            levels.held |= checked.held & live
        for name, (passed, failed) in checked.results.items():
            levels.results[name] = (passed & live | passed & ONE, failed & live | failed & ONE)

    # --- assets -----------------------------------------------------------------------------------------------

    def levels(self, asset: str) -> Levels:
        """To read."""
        return self._levels.get(asset, _NO_LEVELS)

    def change(self, asset: str) -> Levels:
        """To change."""
        found = self._levels.get(asset)
        if found is None:
            found = self._levels[asset] = Levels()
        return found

    def eventful(self) -> list[str]:
        """The assets of which there is anything to know; of all others nothing ever happened."""
        return list(self._levels)

    @property
    def quiet(self) -> bool:
        """Whether nothing ever happened to any asset."""
        return not self._levels

    def untouched(self, asset: str) -> bool:
        """Whether nothing ever happened to it."""
        return asset not in self._levels

    def counts(self, asset: str) -> AssetCounts:
        """Counted over what is live."""
        live, levels = self.live(asset), self.levels(asset)
        states = (levels.materialized, levels.failed, levels.in_progress)
        made, failed, flying = (live.intersection_cardinality(bits) for bits in states)
        return AssetCounts(len(live), made, failed, flying)

    def in_state(self, asset: str, state: str) -> BitMap:
        """The live partitions in a state, as it is shown: what is under way goes before how it ended last. `warn` and
        `lapsed` under a policy for each, and `held` by blocking checks, are beside that."""
        levels = self.levels(asset)
        match state:
            case "in_progress":
                found = levels.in_progress
            case "failed":
                found = levels.failed - levels.in_progress
            case "materialized":
                found = levels.materialized - levels.failed - levels.in_progress
            case "warn":
                found = levels.warned
            case "lapsed":
                found = levels.lapsed
            case "held":
                found = levels.held
            case _:
                return self.live(asset) - levels.materialized - levels.failed - levels.in_progress
        return found & self.live(asset)

    def missing(self, asset: str) -> BitMap:
        """Live and never materialized."""
        return self.live(asset) - self.levels(asset).materialized

    def marked(self, asset: str, bits: BitMap) -> BitMap:
        """Freshness bits as partitions: the whole asset's (0) is that of its newest partition."""
        if not bits:
            return EMPTY
        own = bits & self.live(asset)
        return own | self.newest(asset) if 0 in bits else own

    # --- partitions -------------------------------------------------------------------------------------------

    def member(self, event: Event) -> BitMap:
        """Partitions come or go; returns their numbers."""
        numbers = self.sets.apply(event)
        if event.type == "partition_added" and event.seq <= self._gone_until:
            dead = numbers & self._gone.get(event.set or "", EMPTY)
            self.sets.drop(event.set or "", dead)
            numbers -= dead
        if isinstance(self.partitions.definitions.partition_set.get(event.set or ""), StaticPartitions):
            self.relink()
            self.relinked = True
        return numbers

    def hide(self, name: str, numbers: BitMap) -> None:
        """Partitions of a set are not there yet: they come by an event that is still to be looked at."""
        self.sets.hide(name, numbers)

    def bury(self, gone: Mapping[str, BitMap], until: int) -> None:
        """Partitions of these sets are gone, though events up to `until` still add them."""
        self._gone, self._gone_until = gone, until

    def relink(self) -> None:
        """Links of static keys hold the numbers that were known when they were made."""
        self.partitions = PartitionGraph(self.partitions.definitions, self.sets)

    def live(self, asset: str) -> BitMap:
        """The partitions there are, to be read only: {0} for an asset without."""
        name = self.topology.set_of.get(asset)
        return ONE if name is None else self.sets.named(name)

    def is_live(self, asset: str, partition: int) -> bool:
        """Facts about deleted partitions are not kept."""
        name = self.topology.set_of.get(asset)
        return name is None or partition in self.sets.named(name)

    def newest(self, asset: str) -> BitMap:
        """The last key of a static list, the dynamic key that was added last, otherwise the highest number; {0} for an
        asset without; empty if none."""
        spec = self.topology.spec_of.get(asset)
        return ONE if spec is None else self.sets.newest(spec)

    def latest(self, asset: str, among: BitMap, lookback: float | None) -> BitMap:
        """Those of `among` whose windows are the latest of the live ones, or ended less than `lookback` seconds before
        the end of that; all, of an asset without windows."""
        spec = self.topology.spec_of.get(asset)
        if isinstance(spec, TimePartitions):
            live = self.live(asset)
            return among & _latest(spec, live.max(), lookback) if live else EMPTY
        if not isinstance(spec, MultiPartitions):
            return among
        known, found = self.sets.combinations(spec), among
        for dimension in spec.dimensions:
            if isinstance(dimension.set, TimePartitions) and found:
                places = known.project(dimension.name, self.live(asset))
                latest = _latest(dimension.set, places.max(), lookback) & places
                found = found & known.within(dimension.name, latest)
        return found

    def up(self, edge: Edge, partitions: BitMap) -> BitMap:
        """The live upstream partitions that `partitions` depend on along an edge."""
        match edge.kind:
            case "same":
                return partitions
            case "some":
                return self.partitions.above(edge.below, edge.asset, partitions) if partitions else EMPTY
            case "last":
                return self.newest(edge.asset)
            case "one" | "all":
                return self.live(edge.asset)

    def down(self, edge: Edge, partitions: BitMap) -> BitMap:
        """The downstream partitions that may depend on `partitions` along an edge; those of an edge to the last one
        also where that is none of them, since another was it before."""
        if edge.kind == "same" or not partitions:
            return partitions
        return self._linked(edge, partitions) if edge.kind == "some" else self.live(edge.below)

    def depending(self, edge: Edge, partitions: BitMap, among: BitMap) -> BitMap:
        """Those of `among` that depend on at least one of these live upstream partitions."""
        match edge.kind:
            case "same":
                return among & partitions
            case "some":
                return among & self._linked(edge, partitions) if partitions and among else EMPTY
            case "last":
                return EMPTY if partitions.isdisjoint(self.newest(edge.asset)) else among
            case "one" | "all":
                return among if partitions else EMPTY

    def having(self, edge: Edge, partitions: BitMap) -> BitMap:
        """Those of `partitions` that have this dependency: all but the keys for which a `Static` names nothing."""
        return self.partitions.link(edge.below, edge.asset).named(partitions) if edge.kind == "some" else partitions

    def _linked(self, edge: Edge, partitions: BitMap) -> BitMap:
        return self.partitions.below(edge.below, edge.asset, partitions)


def _latest(spec: TimePartitions, last: int, lookback: float | None) -> BitMap:
    if lookback is None:
        return BitMap([last])
    since = spec.windows.window(last).end - lookback
    return BitMap(range(min(last, max(1, spec.windows.at(since))), last + 1))
