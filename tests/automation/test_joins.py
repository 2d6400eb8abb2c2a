"""Conditions that name other assets, and joins of several, scene by scene."""

from __future__ import annotations

import pytest
from tests.automation.build import BATCHES, EAGER, graph, node
from tests.automation.plant import Plant
from tests.automation.watched import Watched

from freshet.definitions.condition import AutomationCondition
from freshet.definitions.graph import Definitions, validate
from freshet.definitions.partitions import DynamicPartitions
from freshet.errors import DefinitionError

C = AutomationCondition
BOTH = C.all_of("a", "b")
CLOSE = C.all_of("a", "b", within="64s")


def joined(condition: AutomationCondition, *above: str) -> Plant:
    """c below `above`, with a and b beside."""
    return Plant(graph(node("a"), node("b"), node("c", *above, automation=condition)))


@pytest.mark.parametrize("above", [(), ("a",), ("a", "b")])
def test_both_are_waited_for_whether_dependencies_or_not(above: tuple[str, ...]) -> None:
    plant = joined(BOTH, *above)
    for _ in range(2):
        plant.report("a")
        plant.report("a")
        assert plant.run_all() == []
        plant.report("b")
        assert plant.run_all() == [("c", 0)]
    assert len(plant.waves) == 2


def test_what_comes_while_it_is_queued_is_read_and_what_comes_while_it_runs_counts_for_the_next_time() -> None:
    plant = joined(BOTH)
    plant.report("a")
    plant.report("b")
    (run,) = plant.admit()
    plant.report("a")
    plant.start(run, "c")
    plant.report("b")
    plant.succeed(run, "c")
    assert len(plant.waves) == 1
    plant.report("a")
    assert len(plant.waves) == 2


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_after_a_failure_all_have_to_come_again(end: str) -> None:
    plant = joined(BOTH)
    plant.report("a")
    plant.report("b")
    (run,) = plant.admit()
    if end == "fail":
        plant.start(run, "c")
        plant.fail(run, "c")
    else:
        plant.cancel(run)
    plant.report("a")
    plant.wait(1e5)
    assert len(plant.waves) == 1
    plant.report("b")
    assert len(plant.waves) == 2


def test_within_a_window_the_last_update_of_each_counts() -> None:
    plant = joined(CLOSE)
    plant.report("a")
    plant.wait(60)
    plant.report("a")
    plant.wait(60)
    plant.report("b")
    assert plant.run_all() == [("c", 0)]


def test_what_lies_too_far_back_has_to_come_again() -> None:
    plant = joined(CLOSE)
    plant.report("a")
    plant.wait(66)
    plant.report("b")
    assert plant.waves == []
    plant.wait(60)
    plant.report("a")
    assert plant.waves == [(("c",), None, 0)]


def test_the_window_goes_by_when_it_was_committed_however_late_that_is_looked_at() -> None:
    for pause, waves in ((60.0, 1), (70.0, 0)):
        plant = joined(CLOSE)
        plant.fall_behind()
        plant.report("a")
        plant.now += pause
        plant.report("b")
        plant.now += 1e4
        plant.catch_up()
        assert len(plant.waves) == waves


def test_a_window_is_kept_through_a_restart() -> None:
    plant = joined(CLOSE)
    plant.report("a")
    plant.restart()
    plant.now += 60
    plant.report("b")
    assert len(plant.waves) == 1
    plant.run_all()
    plant.report("a")
    plant.now += 100
    plant.restart()
    plant.report("b")
    assert len(plant.waves) == 1


def test_once_together_it_stays_though_the_window_ends() -> None:
    plant = joined(CLOSE & ~C.in_progress())
    run = plant.request("c", begin=True)
    plant.report("a")
    plant.report("b")
    plant.wait(1e4)
    assert plant.waves == []
    plant.succeed(run, "c")
    assert plant.waves == [(("c",), None, 0)]


def test_another_reset() -> None:
    plant = joined(C.all_of("a", "b", reset=C.cron_tick_passed("* * * * *", "UTC")))
    plant.report("a")
    plant.wait(60)
    plant.report("b")
    assert plant.waves == []
    plant.report("a")
    assert plant.waves == [(("c",), None, 0)]


def test_an_asset_and_an_instant() -> None:
    plant = joined(C.all_of("a", C.cron_tick_passed("* * * * *", "UTC")))
    plant.wait(60)
    assert plant.waves == []
    plant.report("a")
    assert plant.waves == [(("c",), None, 0)]


def test_any_of_them() -> None:
    plant = joined(C.any_of("a", "b"))
    for name in ("a", "b"):
        plant.report(name)
        assert plant.run_all() == [("c", 0)]
    plant.report("a")
    plant.report("b")
    assert plant.run_all() == [("c", 0)]
    assert len(plant.waves) == 3


def test_of_the_same_set_the_same_partition_and_of_another_all_of_them() -> None:
    others = DynamicPartitions("others")
    plant = Plant(
        graph(
            node("a", partitions=BATCHES),
            node("b", partitions=others),
            node("one"),
            node("c", partitions=BATCHES, automation=C.all_of("a", "b", "one")),
        )
    )
    plant.add("batches", 1, 2)
    plant.add("others", 1, 2)
    plant.report("a", 2)
    plant.report("b", 1)
    assert plant.waves == []
    plant.report("one")
    assert plant.waves == [(("c",), "batches", 2)]
    plant.report("a", 1)
    assert plant.waves[1:] == [(("c",), "batches", 1)]


def test_a_state_of_another_asset() -> None:
    plant = joined(C.asset_matches("a", ~C.missing()) & C.missing() & ~C.in_progress())
    assert plant.waves == []
    plant.report("a")
    assert plant.run_all() == [("c", 0)]


def test_it_is_looked_at_after_what_it_names_and_asked_for_beside_it() -> None:
    asked = C.asset_matches("a", C.in_progress()).newly_true()
    plant = Plant(graph(node("c", automation=asked), node("x"), node("a", "x", automation=EAGER)))
    plant.report("x")
    assert plant.waves == [(("a",), None, 0), (("c",), None, 0)]


def test_what_is_below_a_join_waits_for_it() -> None:
    plant = Plant(
        graph(
            node("root"),
            node("a", "root", automation=EAGER),
            node("c", automation=C.any_of("a") & ~C.in_progress()),
            node("tip", "root", "c", automation=EAGER),
        )
    )
    for name in ("root", "a", "c", "tip"):
        plant.report(name)
    plant.asked.clear()
    plant.restart()
    plant.asked.clear()
    plant.request("root")
    assert plant.run_all() == [("root", 0), ("a", 0), ("c", 0), ("tip", 0)]


def test_the_condition_of_one_below_may_name_assets() -> None:
    lazy = C.any_downstream_conditions() & ~C.in_progress()
    plant = Plant(
        graph(
            node("x"),
            node("a", automation=lazy),
            node("b", "a", automation=lazy),
            node("c", "b", automation=C.all_of("x", "a")),
        )
    )
    plant.report("x")
    assert plant.waves == []
    plant.report("a")
    assert plant.waves == [(("b", "c"), None, 0)]  # the report has handled a


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (C.all_of("a", "nobody"), "'nobody', which is no asset"),
        (C.all_of("a", "c"), "names the asset itself"),
        (C.any_deps_match(C.all_of("a")), "within any_deps_match"),
        (C.asset_matches("a", C.all_of("b")), "within asset_matches"),
        (C.all_of("below"), "cycle"),
    ],
)
def test_what_cannot_be_named(condition: AutomationCondition, said: str) -> None:
    assets = node("a"), node("b"), node("c", "a", automation=condition), node("below", "c")
    (problem,) = validate(Definitions(assets=assets))
    assert said in str(problem) and problem.hint


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda: C.all_of(), "names nothing"),
        (lambda: C.any_of(5), "names no asset"),
        (lambda: C.asset_matches("", C.missing()), "names no asset"),
        (lambda: C.asset_matches("a", "missing"), "takes AutomationCondition"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (lambda: C.all_of("a", within="0s"), "no time at all"),
        (lambda: C.missing().debounce("soon"), "soon"),
        (lambda: C.missing().batch(), "waits for nothing"),
        (lambda: C.missing().batch(0), "never full"),
    ],
)
def test_what_is_wrong_is_said_where_it_is_written(write: object, said: str) -> None:
    assert callable(write)
    with pytest.raises(DefinitionError, match=said):
        write()


def test_what_all_of_no_dependencies_match_asks_again_once_a_run_is_canceled() -> None:
    plant = Watched(graph(node("a", automation=C.all_deps_match(C.newly_updated()).since_last_handled())))
    plant.tick()
    (first,) = plant.admit_first()
    plant.cancel(first)
    assert plant.waves == [(("a",), None, 0)] * 2
