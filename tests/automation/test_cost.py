"""Cost follows change: counted in nodes visited, not in seconds."""

from __future__ import annotations

import itertools
import time

from pyroaring import BitMap
from tests.automation.build import BATCHES, EAGER, graph, node, orders
from tests.automation.plant import Plant

from freshet.definitions.mapping import TimeWindow
from freshet.definitions.partitions import TimePartitions
from freshet.engine.automation import AssetCounts, Automation
from freshet.store.records import AssetBits, Event, SetState

CADENCES = ("hourly", "daily", "weekly")


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


def test_an_event_above_1_000_missing_assets_visits_those_next_to_it() -> None:
    """That something above begins to move is passed on once; what follows concerns those next to it."""
    assets = [
        node(
            f"a{layer}_{number}",
            *(f"a{layer - 1}_{one % 10}" for one in (number, number + 1) if layer),
            automation=EAGER if layer else None,
        )
        for layer in range(100)
        for number in range(10)
    ]
    automation = Automation(graph(*assets))
    automation.load({}, {}, [], [], 0)
    automation.timer(0.0)
    seq = itertools.count(1)

    def visited(kind: str, asset: str) -> int:
        number = next(seq)
        event = Event(number, number, 1.0, kind, asset=asset, partition=0, run_id=1)
        return automation.evaluate([event], 1.0).visited

    assert sum(visited("requested", f"a0_{number}") for number in range(10)) < 3_000
    for number in range(10):
        assert visited("started", f"a0_{number}") < 130
        assert visited("materialized", f"a0_{number}") < 300


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


def test_one_hour_among_100_000_visits_only_the_days_and_weeks_that_hold_it() -> None:
    """Every second hour is there, so that going through all runs of them would show."""
    hours, days, weeks = (TimePartitions(cadence, "2015-01-01", timezone="UTC") for cadence in CADENCES)
    definitions = graph(
        node("raw", partitions=hours),
        node("clean", "raw", partitions=hours, automation=EAGER),
        node("day", "clean", partitions=days, automation=EAGER),
        node("rolling", ("day", TimeWindow(start=-6)), partitions=days, automation=EAGER),
        node("week", "day", partitions=weeks, automation=EAGER),
    )
    sets = {one.name: BitMap(range(one.first, one.first + count)) for one, count in _counted(hours, days, weeks)}
    odd = BitMap(range(hours.first, hours.first + 100_000, 2))
    bits = {
        spec.name: AssetBits(odd if spec.partitions == hours else sets[spec.partitions.name], BitMap(), BitMap(), 1)
        for spec in definitions.assets
        if spec.partitions is not None
    }
    automation = Automation(definitions)
    automation.load(bits, {name: SetState(name, "time", live) for name, live in sets.items()}, [], [], 1)
    automation.timer(1.0)
    hour, began = hours.first + 50_000, time.process_time()
    for seq in range(2, 102):
        made = Event(seq, seq, 2.0, "materialized", asset="raw", partition=hour + 2 * seq, run_id=1)
        assert automation.evaluate([made], 2.0).visited < 120
    made = Event(102, 102, 2.0, "materialized", asset="clean", partition=hour, run_id=1)
    assert automation.evaluate([made], 2.0).visited < 120
    assert time.process_time() - began < 5, "50 ms for one"


def test_a_million_partitions_over_ten_assets_load_as_bitmaps() -> None:
    assets = [node(f"a{index}", *([f"a{index - 1}"] if index else []), partitions=BATCHES) for index in range(10)]
    live = BitMap(range(1, 1_000_001))
    bits = {spec.name: AssetBits(live, BitMap(range(1, 1_000_001, 7)), BitMap([5]), 1) for spec in assets}
    automation, began = Automation(graph(*assets)), time.process_time()
    automation.load(bits, {"batches": SetState("batches", "dynamic", live)}, [], [], 1)
    assert automation.summary("a9") == AssetCounts(1_000_000, 1_000_000, 142_858, 1)
    gone = Event(2, 2, 1.0, "partition_deleted", set="batches", partition=1, data={"last": 400_000})
    automation.evaluate([gone], 1.0)
    assert automation.summary("a0").materialized == 600_000
    assert time.process_time() - began < 2.0


def _counted(*sets: TimePartitions) -> list[tuple[TimePartitions, int]]:
    return list(zip(sets, (100_000, 4_160, 594), strict=True))


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
