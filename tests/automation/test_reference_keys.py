"""How partitions follow along dependencies: the algebra on bitmaps agrees with the comparison of keys, pair by pair."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyroaring import BitMap
from tests.automation.plant_sets import SPELLINGS, PlantSets
from tests.automation.random_graphs import graphs, sketch
from tests.automation.reference_facts import News, World

from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import DynamicPartitions, MultiPartitions, TimePartitions
from freshet.engine.partitions.graph import PartitionGraph
from freshet.engine.partitions.sets import Sets
from freshet.store.records import Event


def grow(definitions: Definitions, data: st.DataObject, sets: PlantSets, seq: int) -> list[Event]:
    """Something happens to each set; `seq`: of the first event."""
    sets.txn = seq
    parts: list[dict[str, Any]] = []
    for name, spec in definitions.partition_set.items():
        match spec:
            case TimePartitions():
                parts += sets.opened(name, data.draw(st.integers(1, 3)))
            case DynamicPartitions():
                numbers = data.draw(st.sets(st.integers(1, 5), min_size=1))
                parts += sets.added(name, numbers - sets.live[name], ranged=data.draw(st.sampled_from(SPELLINGS)))
                gone = data.draw(st.sets(st.integers(1, 5), max_size=1)) & sets.live[name]
                parts += sets.deleted(name, gone, ranged=data.draw(st.sampled_from(SPELLINGS)))[0]
            case _:
                pass
    for name, spec in definitions.partition_set.items():
        if isinstance(spec, MultiPartitions) and (free := sets.free_places(name)):
            parts += sets.used(name, data.draw(st.lists(st.sampled_from(free), max_size=6, unique=True)))
    return [Event(seq=number, txn=seq, at=0.0, **part) for number, part in enumerate(parts, seq)]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(definitions=graphs(), data=st.data())
def test_partitions_follow(definitions: Definitions, data: st.DataObject) -> None:
    sets = PlantSets(definitions, {})
    reference = World(definitions, sets.states())
    known = Sets(definitions, sets.states())
    partitions = PartitionGraph(definitions, known)
    for turn in range(3):
        for event in grow(definitions, data, sets, 1000 * turn):
            known.apply(event)
            reference.apply(event, News(0.0), set())
        for spec in definitions.assets:
            assert set(partitions.live(spec.name)) == reference.live(spec.name)
            for dep in reference.deps(spec.name):
                assert partitions.single(spec.name, dep.asset) == dep.single
                expected = {p: reference.named(spec.name, dep, p) for p in reference.live(spec.name)}
                for p, named in expected.items():
                    found = partitions.above(spec.name, dep.asset, BitMap([p]))
                    assert set(found) == named, f"{sketch(definitions)}\n{spec.name} {p} {sets.places}"
                    assert len(named) <= 1 or not dep.single
                for u in reference.live(dep.asset):
                    below = partitions.below(spec.name, dep.asset, BitMap([u]))
                    assert set(below) == {p for p, named in expected.items() if u in named}, sketch(definitions)
    assert {name: state.live for name, state in sets.states().items()} == {
        name: known.named(name) for name in definitions.partition_set
    }
