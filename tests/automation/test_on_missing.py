"""What `on_missing` does."""

from __future__ import annotations

from tests.automation.build import BATCHES, graph, node
from tests.automation.plant import Plant

from freshet.definitions.condition import AutomationCondition

ON_MISSING = AutomationCondition.on_missing()


def test_it_asks_once_when_all_dependencies_are_there() -> None:
    plant = Plant(graph(node("a"), node("x"), node("b", "a", "x", automation=ON_MISSING)))
    plant.report("a")
    assert not plant.waves
    plant.report("x")
    assert plant.waves == [(("b",), None, 0)]
    plant.run_all()
    plant.report("a")
    assert len(plant.waves) == 1


def test_a_failed_run_is_not_repeated() -> None:
    plant = Plant(graph(node("a"), node("b", "a", automation=ON_MISSING)))
    plant.report("a")
    (run,) = plant.admit()
    plant.start(run, "b")
    plant.fail(run, "b")
    plant.report("a")
    assert len(plant.waves) == 1


def test_a_chain_is_one_run() -> None:
    plant = Plant(graph(node("a", automation=ON_MISSING), node("b", "a", automation=ON_MISSING)))
    assert plant.waves == [(("a", "b"), None, 0)]


def test_it_waits_for_every_partition_and_does_not_run_on_none() -> None:
    plant = Plant(graph(node("raw", partitions=BATCHES), node("total", "raw", automation=ON_MISSING)))
    assert not plant.waves
    plant.add("batches", 1, 2)
    plant.report("raw", 1)
    assert not plant.waves
    plant.report("raw", 2)
    assert plant.waves == [(("total",), None, 0)]


def test_what_is_there_already_is_not_asked_for() -> None:
    plant = Plant(graph(node("a"), node("b", "a", automation=ON_MISSING)))
    plant.report("b")
    plant.report("a")
    assert not plant.waves
