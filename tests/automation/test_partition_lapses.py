"""A policy that holds for each partition: what lies below a lapse is what the mappings give for the partition that
lapsed, once for each episode."""

from __future__ import annotations

import pytest
from tests.automation.build import BATCHES, graph, node
from tests.automation.plant import Plant
from tests.automation.plant_policies import Policies
from tests.automation.random_graphs import DAYS, GRID, THIRDS
from tests.automation.watched import Watched

from freshet.definitions.condition import AutomationCondition
from freshet.definitions.graph import Definitions
from freshet.definitions.mapping import Last, TimeWindow

C = AutomationCondition
ON_LAPSE = C.on_lapse()
FIRST = DAYS.first


def below_keys(condition: AutomationCondition = ON_LAPSE) -> Watched:
    """`raw` by batch lapses batch by batch; `made` lies below it, key by key; both hold 1, 2 and 3."""
    above = node("raw", partitions=BATCHES, each=60.0)
    plant = Watched(graph(above, node("made", "raw", partitions=BATCHES, automation=condition)))
    plant.add("batches", 1, 2, 3)
    for batch in (1, 2, 3):
        plant.report("raw", batch)
        plant.report("made", batch)
    plant.waves.clear()
    return plant


def test_the_partition_that_lapsed_and_no_other() -> None:
    plant = below_keys()
    plant.freshness("raw", "lapsed", 1)
    assert plant.run_all() == [("made", 1)]
    plant.freshness("raw", "lapsed", 2)
    assert plant.run_all() == [("made", 2)]


@pytest.mark.parametrize("crash", [False, True])
def test_once_for_each_episode_of_each_partition(crash: bool) -> None:
    plant = below_keys()
    plant.freshness("raw", "lapsed", 1)
    assert plant.run_all() == [("made", 1)]
    if crash:
        plant.crash()
    plant.freshness("raw", "lapsed", 3)
    assert plant.run_all() == [("made", 3)]
    plant.report("raw", 1)
    assert plant.run_all() == []
    plant.freshness("raw", "lapsed", 1)
    assert plant.run_all() == [("made", 1)]


def test_the_attempts_of_one_partition_are_not_those_of_another() -> None:
    plant = below_keys(C.on_lapse(1))
    for batch in (1, 2):
        plant.freshness("raw", "lapsed", batch)
        (run,) = plant.admit()
        assert run.partition == batch
        plant.start(run, "made")
        plant.fail(run, "made")
    assert list(plant.automation.exhausted("made")) == [1, 2]
    plant.report("raw", 2)
    plant.freshness("raw", "lapsed", 2)
    assert plant.run_all() == [("made", 2)]
    assert list(plant.automation.exhausted("made")) == [1]


def test_what_lapsed_above_is_refreshed_first_in_the_same_run() -> None:
    above = node("raw", partitions=BATCHES, each=60.0, automation=ON_LAPSE)
    plant = Watched(graph(above, node("made", "raw", partitions=BATCHES, automation=ON_LAPSE)))
    plant.add("batches", 1, 2)
    for batch in (1, 2):
        plant.report("raw", batch)
        plant.report("made", batch)
    plant.freshness("raw", "lapsed", 1)
    assert plant.waves == [(("raw", "made"), "batches", 1)]


def test_what_is_refreshed_above_holds_what_depends_on_it_alone() -> None:
    plant = below_keys()
    run = plant.request("raw", partition=1, begin=True)
    plant.freshness("raw", "lapsed", 1)
    assert plant.waves == []
    plant.freshness("raw", "lapsed", 2)
    assert plant.waves == [(("made",), "batches", 2)]
    plant.succeed(run, "raw")
    assert plant.run_all() == [("made", 2), ("made", 1)]


def test_windows_and_what_lies_between_without_a_policy() -> None:
    """A third of a day, by the day it lies in, to the two days that rest on that one; and to what takes all."""
    plant = Watched(
        Definitions(
            (
                node("thirds", partitions=THIRDS, each=60.0),
                node("days", "thirds", partitions=DAYS),
                node("pairs", ("days", TimeWindow(-1, 0)), partitions=DAYS, automation=C.upstream_lapsed()),
                node("whole", "days", automation=C.upstream_lapsed()),
                node("newest", ("days", Last()), automation=C.upstream_lapsed()),
            )
        ),
        {"days": range(FIRST, FIRST + 4), "thirds": range(THIRDS.first, THIRDS.first + 9)},
    )
    (day,) = {
        day
        for day in range(FIRST, FIRST + 4)
        if plant.reference.named("days", plant.reference.deps("days")[0], day) >= {THIRDS.first + 4}
    }
    plant.freshness("thirds", "lapsed", THIRDS.first + 4)
    assert set(plant.waves) == {(("pairs",), "days", day), (("pairs",), "days", day + 1), (("whole",), None, 0)}


def test_the_newest_between_is_another_when_a_partition_comes() -> None:
    """What rests on the newest day is free of a lapse as soon as another day is the newest."""
    plant = Watched(
        Definitions(
            (
                node("raw", partitions=DAYS, each=60.0),
                node("mid", "raw", partitions=DAYS),
                node("top", ("mid", Last()), automation=~C.upstream_lapsed()),
            )
        ),
        {"days": [FIRST]},
    )
    plant.admit()
    (run,) = plant.active()
    plant.cancel(run)
    plant.freshness("raw", "lapsed", FIRST)
    plant.waves.clear()
    plant.open("days")
    assert plant.waves == [(("top",), None, 0)]


def test_the_newest_between_is_another_though_nothing_happened_to_what_lapsed() -> None:
    plant = Watched(
        Definitions(
            (
                node("raw", partitions=DAYS, each=60.0),
                node("mid", "raw", partitions=GRID),
                node("top", ("mid", Last()), automation=~C.upstream_lapsed()),
            )
        ),
        {"days": [FIRST, FIRST + 1], "a": [1]},
    )
    plant.use("grid", (FIRST, 1))
    plant.freshness("raw", "lapsed", FIRST)
    for run in plant.admit():
        plant.cancel(run)
    plant.waves.clear()
    plant.use("grid", (FIRST + 1, 1))
    assert plant.waves == [(("top",), None, 0)]


@pytest.mark.parametrize("crash", [False, True])
def test_a_lapse_ends_with_its_partition(crash: bool) -> None:
    above = node("raw", partitions=BATCHES, each=60.0)
    plant = Watched(
        graph(above, node("mid", "raw", partitions=BATCHES), node("top", "mid", automation=~C.upstream_lapsed()))
    )
    plant.add("batches", 1, 2)
    plant.freshness("raw", "lapsed", 1)
    plant.run_all()
    plant.waves.clear()
    plant.fall_behind()
    plant.delete("batches", 1)
    if crash:
        plant.crash()
    plant.catch_up()
    assert plant.waves == [(("top",), None, 0)]


def test_a_policy_between_hides_the_lapse() -> None:
    plant = Watched(
        graph(
            node("raw", partitions=BATCHES, each=60.0),
            node("mid", "raw", partitions=BATCHES, each=60.0),
            node("top", "mid", partitions=BATCHES, automation=ON_LAPSE),
        )
    )
    plant.add("batches", 1, 2)
    for name in ("raw", "mid", "top"):
        for batch in (1, 2):
            plant.report(name, batch)
    plant.freshness("raw", "lapsed", 1)
    assert plant.waves == []
    plant.freshness("mid", "lapsed", 1)
    assert plant.waves == [(("top",), "batches", 1)]


def test_a_condition_that_comes_sees_the_lapses_there_are() -> None:
    """It is looked at for the first time."""

    def edited(condition: AutomationCondition | None) -> Definitions:
        each, whole = node("raw", partitions=BATCHES, each=60.0), node("other", within=60.0)
        made = node("made", "raw", partitions=BATCHES, automation=condition)
        return graph(each, whole, made, node("total", "other", automation=condition))

    plant = Plant(edited(None))
    plant.add("batches", 1, 2)
    for name, batch in (("raw", 1), ("raw", 2), ("made", 1), ("made", 2), ("other", 0), ("total", 0)):
        plant.report(name, batch)
    plant.freshness("raw", "lapsed", 1)
    plant.freshness("other", "lapsed")
    plant.definitions = edited(ON_LAPSE)
    plant.automation.redefine(plant.definitions)
    plant.tick()
    assert set(plant.waves) == {(("made",), "batches", 1), (("total",), None, 0)}


@pytest.mark.parametrize(("before", "after"), [({"within": 60.0}, {"each": 60.0}), ({"within": 60.0}, {})])
def test_a_lapse_that_nobody_looked_at_before_the_policy_was_another_is_none(
    before: dict[str, float], after: dict[str, float]
) -> None:
    def edited(policy: dict[str, float]) -> Definitions:
        return graph(
            node("raw", partitions=BATCHES, automation=C.freshness_lapsed(), **policy),
            node("top", "raw", automation=C.upstream_lapsed()),
        )

    plant = Plant(edited(before))
    plant.add("batches", 1)
    plant.fall_behind()
    plant.freshness("raw", "lapsed")
    plant.definitions = edited(after)
    plant.policies = Policies(plant.definitions)
    plant.restart()
    assert plant.waves == []
