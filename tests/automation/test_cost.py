"""Cost follows change: counted in nodes visited, not in seconds."""

from __future__ import annotations

from pyroaring import BitMap
from tests.automation.build import BATCHES, EAGER, graph, node, orders
from tests.automation.plant import Plant

from freshet.engine.automation import Automation
from freshet.store.records import AssetBits, Event, SetState


def test_one_event_among_10_000_idle_assets_visits_only_those_below_it() -> None:
    chains = 2_000
    assets = [
        spec
        for chain in range(chains)
        for spec in (
            node(f"root_{chain}", within=3600),
            node(f"a_{chain}", f"root_{chain}", automation=EAGER),
            node(f"b_{chain}", f"a_{chain}", automation=EAGER),
            node(f"c_{chain}", f"b_{chain}", automation=EAGER),
            node(f"d_{chain}", f"root_{chain}", automation=EAGER),
        )
    ]
    automation = Automation(graph(*assets))
    made = AssetBits(BitMap([0]), BitMap(), BitMap(), 1)
    automation.load({spec.name: made for spec in assets}, {}, [], [], 1)
    automation.timer(1.0)
    leaf = automation.evaluate([Event(2, 2, 2.0, "materialized", asset="d_7", partition=0, run_id=1)], 2.0)
    assert not leaf.requests
    assert 0 < leaf.visited <= 20
    root = automation.evaluate([Event(3, 3, 3.0, "materialized", asset="root_7", partition=0, run_id=2)], 3.0)
    assert [request.assets for request in root.requests] == [("a_7", "b_7", "c_7", "d_7")] or {
        request.assets for request in root.requests
    } == {("a_7", "b_7", "c_7"), ("d_7",)}
    assert root.visited <= 100
    assert automation.timer(4.0).visited == 0


def test_20_000_arrivals_cost_a_few_nodes_each_and_small_memory() -> None:
    plant = Plant(orders())
    visits = 0
    for batch in range(20):
        numbers = range(batch * 1000 + 1, (batch + 1) * 1000 + 1)
        plant.live["batches"].update(numbers)
        plant.commit(*(plant.event("partition_added", set="batches", partition=number) for number in numbers))
        visits += plant.visited
        plant.commit(*(plant.event("started", asset="raw_orders", partition=number) for number in numbers))
        visits += plant.visited
        for number in numbers:
            plant.commit(plant.event("materialized", asset="raw_orders", partition=number, run_id=1))
            visits += plant.visited
    assert visits / 20_000 < 50
    assert sum(len(bits) for bits in plant.chunks.values()) < 50_000


def test_a_million_partitions_are_asked_for_as_one_bitmap() -> None:
    automation = Automation(graph(node("a", partitions=BATCHES, automation=EAGER)))
    automation.load({}, {"batches": SetState("batches", "dynamic", BitMap(range(1, 1_000_001)))}, [], [], 0)
    first = automation.timer(0.0)
    assert [request.assets for request in first.requests] == [("a",)]
    assert isinstance(first.requests[0].partition, BitMap)
    assert len(first.requests[0].partition) == 1_000_000
    later = automation.evaluate([Event(1, 1, 1.0, "started", asset="a", partition=5, run_id=1)], 1.0)
    assert sum(len(chunk.bits) for chunk in later.chunks) < 9_000
    assert len(later.chunks) == 1
