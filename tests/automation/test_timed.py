"""Conditions that wait for a pause or for several, scene by scene."""

from __future__ import annotations

import pytest
from tests.automation.build import EAGER, graph, node
from tests.automation.plant import Plant
from tests.automation.watched import Watched

from freshet.definitions.condition import AnyDepsMatch, AutomationCondition
from freshet.engine.automation.needs import needs

C = AutomationCondition
UPDATED = C.any_deps_updated().since_last_handled()


def below(condition: AutomationCondition) -> Plant:
    """b below a, made already."""
    plant = Plant(graph(node("a"), node("b", "a", automation=condition)))
    for name in ("a", "b"):
        plant.report(name)
    plant.run_all()
    plant.wait(1000)
    plant.run_all()
    plant.waves.clear()
    return plant


def test_it_waits_for_a_pause() -> None:
    plant = below(EAGER.debounce("8s"))
    for _ in range(100):
        plant.report("a")
        plant.wait(7.5)
    assert plant.waves == []
    plant.wait(1)
    assert plant.run_all() == [("b", 0)]
    assert len(plant.waves) == 1


def test_it_does_not_wait_for_ever() -> None:
    plant = below(EAGER.debounce("8s", max_wait="64s"))
    for _ in range(8):
        plant.report("a")
        plant.wait(7.5)
    assert plant.waves == []
    plant.report("a")
    plant.wait(5)
    assert plant.run_all() == [("b", 0)]


def test_a_restart_does_not_begin_anew() -> None:
    plant = below(EAGER.debounce("8s"))
    plant.report("a")
    plant.wait(6)
    plant.restart()
    plant.wait(1)
    assert plant.waves == []
    plant.wait(1)
    assert plant.run_all() == [("b", 0)]


def test_what_is_made_by_hand_meanwhile_is_not_made_again() -> None:
    plant = below(EAGER.debounce("8s"))
    plant.report("a")
    plant.succeed(plant.request("b", begin=True), "b")
    plant.wait(100)
    assert plant.waves == []


def test_what_comes_while_it_runs_is_debounced_after() -> None:
    plant = below(EAGER.debounce("8s"))
    run = plant.request("b", begin=True)
    plant.report("a")
    plant.wait(100)
    plant.succeed(run, "b")
    assert plant.waves == []
    plant.wait(8)
    assert plant.run_all() == [("b", 0)]


def test_what_is_true_for_a_moment_is_remembered() -> None:
    plant = below(C.any_deps_updated().debounce("8s"))
    plant.report("a")
    plant.wait(4)
    plant.report("a")
    plant.wait(7)
    assert plant.waves == []
    plant.wait(1)
    assert plant.run_all() == [("b", 0)]
    plant.wait(100)
    assert len(plant.waves) == 1


def test_pauses_go_by_when_it_was_committed() -> None:
    for pause, waves in ((9.0, 1), (7.0, 0)):
        plant = below(UPDATED.debounce("8s"))
        plant.fall_behind()
        plant.report("a")
        plant.now += pause
        plant.report("a")
        plant.now += 1
        plant.catch_up()
        assert len(plant.waves) == waves


def test_a_batch_is_full() -> None:
    plant = below(UPDATED.batch(3))
    for _ in range(2):
        for _ in range(2):
            plant.report("a")
        plant.wait(1e5)
        assert plant.run_all() == []
        plant.report("a")
        assert plant.run_all() == [("b", 0)]
    assert len(plant.waves) == 2


def test_a_batch_waits_for_so_long() -> None:
    plant = below(UPDATED.batch(3, within="64s"))
    plant.report("a")
    plant.wait(40)
    plant.report("a")
    plant.restart()
    plant.wait(23)
    assert plant.waves == []
    plant.wait(2)
    assert plant.run_all() == [("b", 0)]
    plant.wait(1e5)
    assert len(plant.waves) == 1


def test_a_batch_by_time_alone() -> None:
    plant = below(C.any_deps_updated().batch(within="64s"))
    for _ in range(100):
        plant.report("a")
        plant.wait(0.5)
    assert plant.waves == []
    plant.wait(15)
    assert plant.run_all() == [("b", 0)]


def test_what_is_asked_for_is_in_progress_from_its_commit_on_whatever_is_looked_at_before() -> None:
    for between in (False, True):
        plant = Watched(graph(node("a", automation=~C.in_progress().newly_true().batch(2, within="64s"))))
        if between:
            plant.recode("a")
        assert plant.wake_at is None
        plant.admit_first()
        assert plant.wake_at == 64.0


EVERY = C.all_deps_match(C.newly_updated())


@pytest.mark.parametrize("condition", [EVERY, EVERY.since(C.execution_failed()), C.any_deps_match(EVERY)], ids=str)
def test_all_of_no_dependencies_comes_true_once_and_stays_so(condition: AutomationCondition) -> None:
    batch = condition.batch(2, within="64s") & ~C.in_progress()
    above = ("a",) if isinstance(condition, AnyDepsMatch) else ()
    plant = Watched(graph(node("a"), node("b", *above, automation=batch)))
    for name in "abab":
        plant.recode(name)
    assert plant.waves == []
    plant.wait(64)
    for _ in range(3):
        (run,) = plant.active()
        plant.cancel(run)
        plant.admit()
    assert plant.waves == [(("b",), None, 0)] * 4


def test_what_was_true_lately() -> None:
    plant = below(C.any_deps_updated().recently("64s") & C.code_version_changed())
    plant.report("a")
    plant.wait(60)
    plant.recode("b")
    assert plant.run_all() == [("b", 0)]
    plant.wait(6)
    plant.recode("b")
    assert len(plant.waves) == 1


def test_it_says_until_when_it_waits() -> None:
    plant = below(EAGER.debounce("8s"))
    plant.report("a")
    tree = plant.automation.explain("b", 0, plant.now)
    assert tree is not None and not tree.value and tree.children[0].value
    assert tree.until == plant.wake_at
    assert needs(tree) == ("no more comes of b for a while, or its time is up",)


def test_it_says_what_is_waited_for_of_others() -> None:
    plant = Plant(graph(node("a"), node("b"), node("c", automation=C.all_of("a", "b", within="8s"))))
    plant.report("a")
    tree = plant.automation.explain("c", 0, plant.now)
    assert tree is not None and not tree.value
    assert needs(tree) == ("b is materialized",)
