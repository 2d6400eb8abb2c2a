"""What is decided for each partition by itself, beside others that are looked at together with it."""

from __future__ import annotations

from tests.automation.build import BATCHES, EAGER, graph, node
from tests.automation.watched import Watched

from freshet.definitions.condition import AutomationCondition
from freshet.definitions.mapping import TimeWindow
from freshet.definitions.partitions import MultiPartitions, TimePartitions

C = AutomationCondition
DAYS = TimePartitions("daily", "2026-03-28", timezone="UTC", name="days")
GRID = MultiPartitions(name="grid", day=DAYS, batch=BATCHES)
DAY = DAYS.first


def on_keys(condition: AutomationCondition, within: float | None = None) -> Watched:
    """Nothing makes `raw`; `made` lies below it, key by key."""
    made = node("made", "raw", partitions=BATCHES, automation=condition, within=within)
    return Watched(graph(node("raw", partitions=BATCHES), made))


def asked(plant: Watched) -> list[int]:
    """The partitions asked for since last time, whose runs are canceled."""
    found = [number for _, _, number in plant.waves]
    plant.waves.clear()
    for run in plant.admit():
        plant.cancel(run)
    return found


def test_an_arrival_for_another_partition_does_not_prolong_the_wait_for_quiet() -> None:
    plant = Watched(
        graph(node("raw", partitions=GRID), node("made", "raw", partitions=DAYS, automation=C.eager("64s")))
    )
    plant.open("days", 2)
    plant.add("batches", 1)
    plant.use("grid", (DAY, 1), (DAY + 1, 1))
    plant.report("raw", 1)
    plant.report("raw", 2)
    assert plant.run_all() == [("made", DAY), ("made", DAY + 1)]
    plant.now += 10
    plant.waves.clear()
    plant.report("raw", 1)
    assert plant.wake_at is not None and not plant.waves
    plant.now = plant.wake_at
    plant.report("raw", 2)  # the moment at which the first day has been quiet for long enough
    assert plant.waves == [(("made",), "days", DAY)]


def test_what_is_there_above_one_missing_part_says_nothing_of_another() -> None:
    """All above the second day's part failed, so that nothing will make it; of the fourth's, half is there."""
    plant = Watched(
        graph(
            node("raw", partitions=GRID),
            node("part", "raw", partitions=DAYS),
            node("whole", ("part", TimeWindow(start=-1, end=0)), partitions=DAYS, automation=EAGER),
        )
    )
    plant.open("days", 4)
    plant.add("batches", 1, 2)
    plant.use("grid", (DAY + 1, 1), (DAY + 1, 2), (DAY + 3, 1), (DAY + 3, 2))
    for number in (1, 2, 3):
        plant.fail(plant.request("raw", partition=number, begin=True), "raw")
    plant.report("raw", 4)
    assert not plant.waves
    plant.report("part", DAY + 2)
    assert plant.waves == [(("whole",), "days", DAY + 2)]


def test_a_key_that_comes_back_is_asked_for_anew() -> None:
    plant = on_keys(C.missing())
    for _ in range(2):
        plant.add("batches", 1)
        assert asked(plant) == [1]
        plant.delete("batches", 1)


def test_a_key_that_comes_back_begins_anew_in_what_is_remembered_of_it_below() -> None:
    plant = on_keys(C.any_deps_match(C.missing().newly_true()))
    for _ in range(2):
        plant.add("batches", 1)
        assert asked(plant) == [1]
        plant.delete("batches", 1)


def test_a_lapse_is_no_longer_that_of_the_newest_before() -> None:
    """Nor is it remembered that it was."""
    plant = on_keys(C.freshness_lapsed(), within=60)
    plant.add("batches", 1)
    plant.freshness("made", "lapsed")
    assert asked(plant) == [1]
    plant.add("batches", 2)
    assert asked(plant) == [2]
    plant.delete("batches", 2)
    assert asked(plant) == [1]


def test_what_happened_two_floors_up_before_a_partition_came_is_remembered() -> None:
    updated = C.any_deps_match(C.any_deps_match(C.newly_updated().since(C.newly_missing())))
    plant = Watched(
        graph(
            node("raw", partitions=DAYS),
            node("part", "raw", partitions=GRID),
            node("whole", "part", partitions=GRID, automation=updated),
        )
    )
    plant.open("days")
    plant.add("batches", 1)
    plant.report("raw", DAY)
    plant.use("grid", (DAY, 1))
    assert plant.waves == [(("whole",), "grid", 1)]


def test_the_newest_is_looked_at_when_another_partition_ends_the_lapse() -> None:
    """A policy is about the latest activity of any partition, and marks the newest."""
    plant = Watched(graph(node("made", partitions=DAYS, automation=~C.freshness_lapsed(), within=60.0)))
    plant.freshness("made", "lapsed")
    plant.open("days", 2)
    assert asked(plant) == [DAY]
    plant.report("made", DAY)
    assert asked(plant) == [DAY + 1]


def test_what_was_true_for_a_moment_is_true_anew_the_next_time() -> None:
    """The first time the queued run answers it; the second time that run has begun, so that another follows it."""
    plant = Watched(graph(node("made", automation=C.newly_handled())))
    run = plant.request("made")
    plant.report("made")
    plant.start(run, "made")
    assert not plant.waves
    plant.succeed(run, "made")
    assert plant.waves == [(("made",), None, 0)]
