"""What `eager` does, scene by scene."""

from __future__ import annotations

import itertools

from tests.automation.build import BATCHES, EAGER, graph, node, orders
from tests.automation.plant import Plant

from freshet.definitions.condition import AutomationCondition
from freshet.definitions.mapping import Last


def test_what_is_missing_at_the_first_look_is_made_in_one_run_where_it_can_be() -> None:
    plant = Plant(graph(node("a", automation=EAGER), node("b", "a", automation=EAGER), node("c", automation=EAGER)))
    assert plant.waves == [(("a", "b"), None, 0), (("c",), None, 0)]


def test_a_diamond_runs_its_tip_once() -> None:
    plant = Plant(
        graph(
            node("root"),
            node("left", "root", automation=EAGER),
            node("right", "root", automation=EAGER),
            node("tip", "left", "right", automation=EAGER),
        )
    )
    plant.request("root")
    order = plant.run_all()
    assert next(name for name, _ in order) == "root"
    assert sorted(name for name, _ in order) == ["left", "right", "root", "tip"]
    assert order[-1] == ("tip", 0)
    assert plant.waves == [(("left", "right", "tip"), None, 0)]


def test_an_update_between_request_and_start_is_read_by_the_queued_run() -> None:
    plant = Plant(graph(node("a"), node("b", "a", automation=EAGER)))
    plant.report("a")
    (run,) = plant.admit()
    plant.report("a")
    plant.start(run, "b")
    plant.succeed(run, "b")
    assert plant.waves == [(("b",), None, 0)]


def test_updates_while_it_runs_give_exactly_one_more_run() -> None:
    plant = Plant(graph(node("a"), node("b", "a", automation=EAGER)))
    plant.report("a")
    (run,) = plant.admit()
    plant.start(run, "b")
    for _ in range(5):
        plant.report("a")
    assert len(plant.waves) == 1
    plant.succeed(run, "b")
    assert len(plant.waves) == 2
    assert plant.run_all() == [("b", 0)]
    assert len(plant.waves) == 2


def test_a_failure_for_good_is_not_tried_again_until_an_update() -> None:
    plant = Plant(graph(node("a"), node("b", "a", automation=EAGER)))
    plant.report("a")
    (run,) = plant.admit()
    plant.start(run, "b")
    plant.fail(run, "b")
    plant.wait(1e6)
    assert len(plant.waves) == 1
    plant.report("a")
    assert len(plant.waves) == 2


def test_a_canceled_queued_run_is_not_asked_for_again_until_an_update() -> None:
    plant = Plant(graph(node("a"), node("b", "a", automation=EAGER)))
    plant.report("a")
    (run,) = plant.admit()
    plant.cancel(run)
    assert len(plant.waves) == 1
    plant.report("a")
    assert len(plant.waves) == 2


def test_what_is_skipped_because_of_a_failure_above_is_not_asked_for_alone() -> None:
    plant = Plant(graph(node("a", automation=EAGER), node("b", "a", automation=EAGER)))
    (run,) = plant.admit()
    plant.start(run, "a")
    plant.fail(run, "a")
    assert plant.waves == [(("a", "b"), None, 0)]


def test_a_failed_batch_does_not_hold_back_the_total() -> None:
    plant = Plant(orders())
    plant.add("batches", 1, 2)
    good, bad = (plant.request("raw_orders", partition=number) for number in (1, 2))
    for run in (good, bad):
        plant.start(run, "raw_orders")
    plant.succeed(good, "raw_orders")
    plant.run_all()
    assert ("sales",) not in [wave[0] for wave in plant.waves]  # batch 2 may still come
    plant.fail(bad, "raw_orders")
    assert plant.waves[-1] == (("sales",), None, 0)


def test_a_batch_that_nobody_tried_holds_back_the_total() -> None:
    plant = Plant(orders())
    plant.add("batches", 1, 2)
    plant.request("raw_orders", partition=1)
    plant.run_all()
    plant.wait(1e6)
    assert ("sales",) not in [wave[0] for wave in plant.waves]
    plant.delete("batches", 2)
    assert plant.waves[-1] == (("sales",), None, 0)


def test_what_nobody_will_make_is_not_on_its_way() -> None:
    definitions = graph(
        node("raw", partitions=BATCHES),
        node("by_hand", "raw", partitions=BATCHES),
        node("total", "by_hand", automation=EAGER),
    )
    plant = Plant(definitions)
    plant.add("batches", 1, 2)
    plant.request("raw", partition=2, begin=True)
    plant.report("by_hand", 1)
    plant.wait(1e6)
    assert not plant.waves  # nothing makes the second by_hand, though what lies above it runs
    plant.report("by_hand", 2)
    assert plant.waves == [(("total",), None, 0)]


def test_what_is_in_progress_holds_back_for_max_wait_at_most() -> None:
    plant = Plant(orders(AutomationCondition.eager(max_wait="10s")))
    plant.add("batches", 1, 2)
    slow = plant.request("raw_orders", partition=2)
    plant.start(slow, "raw_orders")
    plant.request("raw_orders", partition=1)
    plant.run_all()
    plant.wait(9.9)
    assert ("sales",) not in [wave[0] for wave in plant.waves]
    plant.wait(0.3)
    assert plant.waves[-1] == (("sales",), None, 0)


def test_the_last_partition_must_be_there() -> None:
    plant = Plant(graph(node("raw", partitions=BATCHES), node("latest", ("raw", Last()), automation=EAGER)))
    plant.add("batches", 1)
    plant.request("raw", partition=1)
    plant.run_all()
    assert plant.waves == [(("latest",), None, 0)]
    plant.add("batches", 2)
    bad = plant.request("raw", partition=2)
    plant.start(bad, "raw")
    plant.fail(bad, "raw")
    plant.report("raw", 1)
    plant.wait(1e6)
    assert len(plant.waves) == 1
    plant.report("raw", 2)
    assert len(plant.waves) == 2


def test_a_failed_upstream_that_has_an_older_value_does_not_hold_back() -> None:
    plant = Plant(graph(node("a"), node("x"), node("b", "a", "x", automation=EAGER)))
    plant.report("x")
    plant.report("a")
    plant.run_all()
    run = plant.request("a", begin=True)
    plant.fail(run, "a")
    plant.report("x")
    assert len(plant.waves) == 2


def test_other_partitionings_come_after_the_materialization() -> None:
    plant = Plant(orders())
    plant.add("batches", 1)
    plant.request("raw_orders", partition=1)
    assert plant.run_all() == [("raw_orders", 1), ("clean_orders", 1), ("sales", 0)]
    assert plant.waves == [(("clean_orders",), "batches", 1), (("sales",), None, 0)]


def test_a_thousand_assets_below_one_root_are_made_once_each() -> None:
    layers = [[f"n{layer}_{index}" for index in range(10)] for layer in range(20)]
    assets = [node("root"), *(node(name, "root", automation=EAGER) for name in layers[0])]
    for above, below in itertools.pairwise(layers):
        for index, name in enumerate(below):
            assets.append(node(name, above[index], above[(index + 1) % 10], automation=EAGER))
    plant = Plant(graph(*assets))
    for spec in assets:
        plant.report(spec.name)
    plant.asked.clear()
    plant = _restarted(plant)
    plant.request("root")
    order = plant.run_all()
    assert len(order) == len(set(order)) == len(assets)
    assert len(plant.waves) == 1


def _restarted(plant: Plant) -> Plant:
    plant.restart()
    plant.waves.clear()
    plant.asked.clear()
    return plant
