"""What survives a restart, an edit, a deletion; and what `explain` says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap
from tests.automation.build import BATCHES, EAGER, ON_LAPSE, graph, node, orders
from tests.automation.plant import Plant

from freshet.definitions.condition import AutomationCondition
from freshet.engine.automation import Automation, Explanation
from freshet.engine.automation.memory import CHUNK, Memory, round_up
from freshet.store.records import ConditionChunk

bitmaps = st.builds(BitMap, st.sets(st.integers(0, 5 * CHUNK), max_size=20))


@given(steps=st.lists(st.tuples(st.sampled_from(["x", "y"]), bitmaps, bitmaps), max_size=10))
def test_chunks_rebuild_the_memory(steps: list[tuple[str, BitMap, BitMap]]) -> None:
    memory, stored = Memory(), dict[tuple[str, int], ConditionChunk]()
    for key, scope, value in steps:
        memory.assign(key, scope, value & scope)
        memory.stamps(key + "-at", deadline=True).put(float(len(scope)), value)
        for chunk in memory.flush("a"):
            stored[chunk.node, chunk.chunk] = chunk
    again = Memory()
    for chunk in stored.values():
        if chunk.bits:
            again.load(chunk.node, chunk.bits)
    for key in ("x", "y"):
        assert again.get(key) == memory.get(key)
        everything = BitMap(range(6 * CHUNK))
        assert again.stamps(key + "-at").items(everything) == memory.stamps(key + "-at").items(everything)


@given(when=st.floats(0, 2e9), grain=st.sampled_from([0.0, 1 / 64, 0.1, 0.9375, 1.0, 37.5]))
def test_deadlines_are_never_early_and_late_by_a_grain_at_most(when: float, grain: float) -> None:
    rounded = round_up(when, grain)
    assert when <= rounded <= when + grain + 1e-6
    assert round_up(rounded, grain) == rounded


def test_the_same_transactions_give_the_same_requests_with_and_without_restarts() -> None:
    def waves(restarts: bool) -> list[object]:
        plant = Plant(orders(AutomationCondition.eager("20s") | ON_LAPSE))
        for number in range(1, 8):
            plant.add("batches", number)
            run = plant.request("raw_orders", partition=number)
            plant.start(run, "raw_orders")
            if number % 3:
                plant.succeed(run, "raw_orders")
            else:
                plant.fail(run, "raw_orders")
            plant.run_all()
            if restarts:
                plant.restart()
            plant.wait(3)
        return list(plant.waves)

    assert waves(False) == waves(True)


def test_an_edit_keeps_what_it_leaves_as_it_was() -> None:
    plant = Plant(orders())
    plant.add("batches", 1)
    plant.report("clean_orders", 1)
    (run,) = plant.admit()
    plant.start(run, "sales")
    plant.report("clean_orders", 1)  # remembered while it runs
    plant.definitions = orders(EAGER | ON_LAPSE)
    plant.automation.redefine(plant.definitions)
    plant.tick()
    plant.succeed(run, "sales")
    plant.wait(1)  # that no further batch arrives
    assert plant.waves[-1] == (("sales",), None, 0)
    assert len([wave for wave in plant.waves if wave[0] == ("sales",)]) == 2


def test_a_removed_condition_leaves_no_rows() -> None:
    plant = Plant(orders())
    plant.add("batches", 1)
    assert plant.chunks
    plant.automation.redefine(graph(node("raw_orders", partitions=BATCHES)))
    plant.tick()
    assert not plant.chunks


def test_a_partition_that_comes_again_begins_anew() -> None:
    plant = Plant(orders())
    plant.add("batches", 1)
    plant.report("raw_orders", 1)
    plant.run_all()
    plant.delete("batches", 1)
    plant.add("batches", 1)
    plant.waves.clear()
    plant.wait(1e5)
    assert not plant.waves
    plant.report("raw_orders", 1)
    assert plant.waves == [(("clean_orders",), "batches", 1)]


def test_unknown_assets_and_sets_in_events_are_nobodys_business() -> None:
    plant = Plant(orders())
    plant.commit(
        plant.event("materialized", asset="gone", partition=0, run_id=1),
        plant.event("partition_added", set="gone", partition=1),
        plant.event("run_succeeded", run_id=1),
    )
    assert not plant.waves


def test_explain_shows_what_holds_back_and_until_when() -> None:
    plant = Plant(orders())
    plant.add("batches", 1, 2)
    plant.request("raw_orders", partition=2)
    plant.request("raw_orders", partition=1)
    plant.report("clean_orders", 1)
    tree = plant.automation.explain("sales", 0, plant.now)
    assert tree is not None and not tree.value and tree.label == "eager"
    found = list(walk(tree))
    assert [one.value for one in found if one.label == "updated"] == [True]
    (held,) = [one for one in found if one.until is not None]
    assert held.since is not None and held.until is not None
    assert abs(held.until - plant.now - 60) < 1 and held.until == plant.wake_at
    assert plant.automation.explain("raw_orders", 1, plant.now) is None


def test_explain_changes_nothing() -> None:
    plant = Plant(orders())
    plant.report("clean_orders")
    before = plant.automation.explain("sales", 0, plant.now)
    assert plant.automation.explain("sales", 0, plant.now) == before
    assert not plant.automation.timer(plant.now).chunks


def test_an_evaluation_that_was_dropped_is_made_again_after_a_load() -> None:
    definitions = graph(node("a", automation=EAGER))
    automation = Automation(definitions)
    automation.load({}, {}, [], [], 0)
    first = automation.timer(0.0)
    assert first.requests and not automation.timer(0.0).requests
    automation.load({}, {}, [], [], 0)
    assert automation.timer(0.0) == first


def walk(tree: Explanation) -> list[Explanation]:
    return [tree, *(one for child in tree.children for one in walk(child))]
