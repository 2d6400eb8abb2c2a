"""What `on_lapse` does."""

from __future__ import annotations

import pytest
from tests.automation.build import BATCHES, EAGER, ON_LAPSE, graph, node
from tests.automation.plant import Plant

from freshet.definitions.condition import AutomationCondition
from freshet.errors import DefinitionError

C = AutomationCondition


def made(plant: Plant, *assets: str) -> Plant:
    for asset in assets:
        plant.report(asset)
    plant.asked.clear()
    plant.restart()
    plant.waves.clear()
    plant.asked.clear()
    return plant


def test_one_request_an_episode() -> None:
    plant = made(Plant(graph(node("a", automation=ON_LAPSE, within=60))), "a")
    plant.freshness("a", "lapsed")
    assert plant.waves == [(("a",), None, 0)]
    plant.run_all()
    plant.freshness("a", "fresh")
    plant.wait(1e5)
    assert len(plant.waves) == 1
    plant.freshness("a", "lapsed")
    assert len(plant.waves) == 2


def test_an_upstream_lapse_is_answered_once_also_while_it_lasts() -> None:
    plant = made(Plant(graph(node("a", within=60), node("m", "a"), node("b", "m", automation=ON_LAPSE))), "a", "m")
    plant.freshness("a", "lapsed")
    assert plant.waves == [(("b",), None, 0)]  # past m, which has no policy
    plant.run_all()
    plant.wait(1e5)
    assert len(plant.waves) == 1


def test_the_nearest_policy_hides_those_above_it() -> None:
    definitions = graph(node("a", within=60), node("m", "a", within=60), node("b", "m", automation=ON_LAPSE))
    plant = made(Plant(definitions), "a", "m")
    plant.freshness("a", "lapsed")
    assert not plant.waves
    plant.freshness("m", "lapsed")
    assert plant.waves == [(("b",), None, 0)]


def test_the_upstream_is_refreshed_first_in_the_same_run() -> None:
    definitions = graph(node("a", within=60, automation=ON_LAPSE), node("b", "a", automation=ON_LAPSE))
    plant = made(Plant(definitions), "a", "b")
    plant.freshness("a", "lapsed")
    assert plant.waves == [(("a", "b"), None, 0)]
    assert plant.run_all() == [("a", 0), ("b", 0)]
    assert len(plant.waves) == 1


def test_across_partitionings_the_downstream_comes_after() -> None:
    plant = Plant(
        graph(
            node("a", partitions=BATCHES, within=60, automation=ON_LAPSE),
            node("m", "a", automation=EAGER),
            node("b", "m", automation=ON_LAPSE),
        )
    )
    plant.add("batches", 1, 2)
    for number in (1, 2):
        plant.request("a", partition=number)
    plant.run_all()
    plant.wait(300)
    plant = made(plant, "b")
    plant.freshness("a", "lapsed")
    assert plant.waves == [(("a",), "batches", 2)]  # the newest partition
    assert plant.run_all() == [("a", 2), ("m", 0), ("b", 0)]
    assert len(plant.waves) == 2


def test_failures_back_off_and_are_counted() -> None:
    plant = made(Plant(graph(node("a", automation=ON_LAPSE, within=60))), "a")
    plant.freshness("a", "lapsed")
    waits: list[float] = []
    failed_at = plant.now
    while plant.asked:
        waits.append(plant.now - failed_at)
        (run,) = plant.admit()
        plant.start(run, "a")
        plant.fail(run, "a")
        plant.restart()
        failed_at = plant.now
        if plant.wake_at is not None:
            plant.now = plant.wake_at
            plant.tick()
    assert waits == [0, pytest.approx(30, abs=0.5), pytest.approx(60, abs=1)]
    plant.wait(1e5)
    assert len(plant.waves) == 3  # exhausted
    plant.freshness("a", "lapsed")
    assert len(plant.waves) == 4


def test_a_success_ends_the_count() -> None:
    plant = made(Plant(graph(node("a", automation=AutomationCondition.on_lapse(attempts=2), within=60))), "a")
    for _ in range(3):
        plant.freshness("a", "lapsed")
        run = plant.admit()[-1]
        plant.start(run, "a")
        plant.fail(run, "a")
        plant.report("a")
        plant.freshness("a", "fresh")
    assert len(plant.waves) == 3


def test_a_canceled_run_is_not_asked_for_again_in_this_episode() -> None:
    plant = made(Plant(graph(node("a", automation=ON_LAPSE, within=60))), "a")
    plant.freshness("a", "lapsed")
    plant.cancel(plant.admit()[0])
    plant.wait(1e5)
    assert len(plant.waves) == 1


def test_a_run_that_began_before_the_upstream_lapsed_is_followed_by_one() -> None:
    plant = made(Plant(graph(node("a", within=60), node("b", "a", automation=ON_LAPSE))), "a", "b")
    run = plant.request("b", begin=True)
    plant.freshness("a", "lapsed")
    assert not plant.waves
    plant.succeed(run, "b")
    assert plant.waves == [(("b",), None, 0)]
    plant.run_all()
    assert len(plant.waves) == 1


def test_the_failed_refresh_of_an_upstream_does_not_drop_the_downstream() -> None:
    definitions = graph(node("a", within=60, automation=ON_LAPSE), node("b", "a", automation=ON_LAPSE))
    plant = made(Plant(definitions), "a", "b")
    plant.freshness("a", "lapsed")
    (run,) = plant.admit()
    plant.start(run, "a")
    plant.fail(run, "a")
    assert plant.waves == [(("a", "b"), None, 0), (("b",), None, 0)]


def test_no_attempts_are_refused() -> None:
    with pytest.raises(DefinitionError, match="allows no run"):
        AutomationCondition.on_lapse(attempts=0)


def test_the_mark_of_a_lapse_moves_with_the_newest_partition() -> None:
    lapsed = AutomationCondition.freshness_lapsed()
    plant = Plant(graph(node("a", partitions=BATCHES, automation=lapsed, within=60)))
    plant.add("batches", 1)
    plant.freshness("a", "lapsed")
    for run in plant.admit():
        plant.cancel(run)
    plant.add("batches", 2)
    for run in plant.admit():
        plant.cancel(run)
    plant.delete("batches", 2)
    assert [number for _, _, number in plant.waves] == [1, 2, 1]


@pytest.mark.parametrize("other", [C.missing(), C.freshness_warned(), C.missing() | C.freshness_warned()])
def test_what_is_true_beside_it_does_not_hide_a_lapse(other: AutomationCondition) -> None:
    plant = Plant(graph(node("a", automation=(other | ON_LAPSE).with_label("mine"), within=60)))
    plant.restart()
    plant.freshness("a", "warn")
    for run in plant.admit():
        plant.start(run, "a")
        plant.fail(run, "a")
    plant.waves.clear()
    plant.freshness("a", "lapsed")
    assert plant.waves == [(("a",), None, 0)]
