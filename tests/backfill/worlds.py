"""Random graphs of assets over small sets, and what follows from what, partition by partition."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from pyroaring import BitMap

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.mapping import All, Identity, Last, Mapping, TimeWindow
from freshet.definitions.partitions import DynamicPartitions, PartitionsSpec, StaticPartitions, TimePartitions
from freshet.engine.partitions.graph import PartitionGraph
from freshet.engine.partitions.sets import Sets
from freshet.store.records import SetState

Place = tuple[str, int]

BATCHES = DynamicPartitions("batches")
REGIONS = StaticPartitions(["north", "east", "south"], name="regions")
HOURS = TimePartitions("hourly", start="2026-01-01T20:00", timezone="UTC", name="hours")
DAYS = TimePartitions("daily", start="2026-01-01", timezone="UTC", name="days")
_H, _D = HOURS.first, DAYS.first
SETS: tuple[PartitionsSpec | None, ...] = (None, BATCHES, REGIONS, HOURS, DAYS)
STATES = {
    "batches": SetState("batches", "dynamic", BitMap([1, 2, 4, 7, 70_000])),
    "regions": SetState("regions", "static", BitMap([1, 2, 3]), {"south": 1, "north": 2, "east": 3}),
    "hours": SetState("hours", "time", BitMap(range(_H, _H + 8))),
    "days": SetState("days", "time", BitMap(range(_D, _D + 2))),
}


@st.composite
def graphs(draw: st.DrawFn) -> PartitionGraph:
    """Up to six assets, each over one of the sets, with any dependencies that go down."""
    assets: list[AssetSpec] = []
    for index in range(draw(st.integers(1, 6))):
        over = draw(st.sampled_from(SETS))
        above = draw(st.lists(st.sampled_from(assets), unique_by=lambda spec: spec.name)) if assets else []
        deps = tuple(DepSpec(spec.name, None, draw(_mappings(spec.partitions, over))) for spec in above)
        assets.append(AssetSpec(f"a{index}", deps=deps, partitions=over))
    definitions = Definitions(assets=tuple(assets))
    return PartitionGraph(definitions, Sets(definitions, STATES))


def _mappings(above: PartitionsSpec | None, below: PartitionsSpec | None) -> st.SearchStrategy[Mapping | None]:
    if above is None:
        return st.none()
    fitting: list[Mapping] = [All(), Last()]
    if above == below:
        fitting = [Identity(), Identity(), *fitting]
    if isinstance(above, TimePartitions) and isinstance(below, TimePartitions):
        fitting += [TimeWindow(0, 0), TimeWindow(-1, 0), TimeWindow(0, 1)]
    return st.sampled_from(fitting)


@dataclass
class Plain:
    """The same in sets of places: what each depends on."""

    graph: PartitionGraph

    def above(self, place: Place, name: str) -> set[Place]:
        """The upstream's live partitions that one depends on."""
        return {(name, number) for number in self.graph.above(place[0], name, BitMap([place[1]]))}

    def deps(self, asset: str) -> list[str]:
        """Upstreams."""
        return [dep.asset for dep in self.graph.definitions.asset[asset].deps]

    def unmade(self, wanted: set[Place], failed: set[Place]) -> set[Place]:
        """What failures keep from being made: what depends, by whatever way, on one of them within `wanted`."""
        bad = set(failed)
        for asset in self.graph.definitions.order:
            for place in sorted(place for place in wanted - failed if place[0] == asset):
                if any(self.above(place, name) & bad for name in self.deps(asset)):
                    bad.add(place)
        return bad - failed
