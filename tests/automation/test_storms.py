"""Many arrivals: no storm of runs below them, no starvation, and the last run has seen everything."""

from __future__ import annotations

import itertools
import random

import pytest
from tests.automation.build import orders
from tests.automation.plant import Plant

from freshet.definitions.condition import AutomationCondition


def arrive(plant: Plant, number: int, *, run_to_the_end: bool) -> None:
    """A file lands: its partition, its run, and (if workers keep up) everything below it."""
    plant.add("batches", number)
    plant.request("raw_orders", partition=number)
    if run_to_the_end:
        plant.run_all()


@pytest.mark.parametrize("gap", [0.1, 2.0, 9.0])
def test_a_stream_that_leaves_pauses_costs_some_runs_each_max_wait(gap: float) -> None:
    """10 a second for two minutes, each done before the next comes: nothing is ever in progress for long."""
    plant = Plant(orders(AutomationCondition.eager(max_wait="1m")))
    count = int(120 / gap)
    for number in range(1, count + 1):
        arrive(plant, number, run_to_the_end=True)
        plant.wait(gap)
        plant.run_all()
    totals = [wave for wave in plant.waves if wave[0] == ("sales",)]
    assert 2 <= len(totals) <= 12
    plant.wait(61)
    plant.run_all()
    assert len([wave for wave in plant.waves if wave[0] == ("sales",)]) <= 13
    assert last_total_saw_everything(plant)


def test_a_stream_without_a_pause_is_not_starved() -> None:
    plant = Plant(orders(AutomationCondition.eager(max_wait="1m")))
    rng = random.Random(4)
    in_hand: list[int] = []
    starts: list[float] = []
    for number in range(1, 601):
        arrive(plant, number, run_to_the_end=False)
        in_hand.append(number)
        plant.admit()
        for run in list(plant.active()):
            for name in run.assets:
                if plant.ready(run, name) and (name == "sales" or rng.random() < 0.3):
                    plant.start(run, name)
                    plant.succeed(run, name)
                    if name == "sales":
                        starts.append(plant.now)
        plant.wait(0.5)
    assert starts
    assert all(later - earlier <= 64 for earlier, later in itertools.pairwise(starts))
    assert len(starts) <= 8
    plant.run_all(5000)
    plant.wait(120)
    plant.run_all()
    assert last_total_saw_everything(plant)


def test_a_single_arrival_after_a_rest_is_answered_at_once() -> None:
    plant = Plant(orders())
    for number in range(1, 6):
        arrive(plant, number, run_to_the_end=True)
        assert len([wave for wave in plant.waves if wave[0] == ("sales",)]) == number
        plant.wait(200)


def last_total_saw_everything(plant: Plant) -> bool:
    made = [made.materialized_seq or 0 for (name, _), made in plant.made.items() if name == "clean_orders"]
    total = plant.made["sales", 0].materialized_seq
    return total is not None and total > max(made)
