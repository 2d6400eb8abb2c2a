"""The truth tables of the policies: each row as it stands in the docstring, driven."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
from tests.automation.build import BATCHES, graph, node
from tests.automation.plant import Plant

from freshet.definitions.condition import AutomationCondition

C = AutomationCondition
EAGER, ON_MISSING, MINUTE, ON_LAPSE = C.eager(), C.on_missing(), C.on_cron("* * * * *", "UTC"), C.on_lapse()
POLICIES = ("eager", "on_missing", "on_cron", "on_lapse")
SCENES: dict[tuple[str, str], Callable[[], None]] = {}
B = [(("b",), None, 0)]


def row(policy: str, what: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """A scene of the row that begins with `what`."""

    def keep(scene: Callable[[], None]) -> Callable[[], None]:
        SCENES[policy, what] = scene
        return scene

    return keep


def rows(policy: str) -> list[str]:
    """The first column of the policy's table; a line with one column goes on with the row above."""
    lines = (inspect.getdoc(getattr(C, policy)) or "").split("\n")
    edges = [number for number, line in enumerate(lines) if line.startswith("===")]
    split, found = lines[edges[0]].index("  "), list[str]()
    for line in lines[edges[1] + 1 : edges[2]]:
        what, follows = line[:split].strip(), line[split:].strip()
        if what and follows:
            found.append(what)
        elif what:
            found[-1] += f" {what}"
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_every_row_has_a_scene(policy: str) -> None:
    assert sorted(rows(policy)) == sorted(what for name, what in SCENES if name == policy)


def pair(condition: AutomationCondition, *, above: AutomationCondition | None = None, made: bool = True) -> Plant:
    """b below a, both made (once, quietly) unless said otherwise."""
    within = 60 if condition is ON_LAPSE else None
    plant = Plant(graph(node("a", automation=above, within=within), node("b", "a", automation=condition)))
    if made:
        plant.report("a")
        plant.report("b")
        quiet(plant)
    return plant


def quiet(plant: Plant) -> None:
    """What was asked for so far is forgotten, as if it had been made."""
    plant.asked.clear()
    plant.restart()
    plant.asked.clear()
    plant.waves.clear()


def ended(plant: Plant, how: str) -> None:
    """The run that was asked for ends so."""
    plant.admit()
    (run,) = plant.active()
    if how == "cancel":
        plant.cancel(run)
        return
    plant.start(run, run.assets[0])
    (plant.fail if how == "fail" else plant.succeed)(run, run.assets[0])


# --- eager ------------------------------------------------------------------------------------------------------------


@row("eager", "a dependency is materialized")
def _() -> None:
    plant = pair(EAGER)
    plant.report("a")
    assert plant.waves == B


@row("eager", "missing at the first look, or partition added")
def _() -> None:
    assert Plant(graph(node("b", automation=EAGER))).waves == B
    plant = Plant(graph(node("b", partitions=BATCHES, automation=EAGER)))
    plant.add("batches", 1)
    assert plant.waves == [(("b",), "batches", 1)]


@row("eager", "a dependency is requested in this look and can share its run (same set, same key)")
def _() -> None:
    plant = Plant(graph(node("root"), node("a", "root", automation=EAGER), node("b", "a", automation=EAGER)))
    plant.report("root")
    assert plant.waves == [(("a", "b"), None, 0)]


@row("eager", "updated while the run is queued")
def _() -> None:
    plant = pair(EAGER)
    plant.report("a")
    (run,) = plant.admit()
    plant.report("a")
    plant.start(run, "b")
    plant.succeed(run, "b")
    assert plant.waves == B


@row("eager", "updated while the run is running")
def _() -> None:
    plant = pair(EAGER)
    run = plant.request("b", begin=True)
    plant.report("a")
    plant.report("a")
    assert plant.waves == []
    plant.succeed(run, "b")
    assert plant.run_all() == [("b", 0)]
    assert plant.waves == B


@row("eager", "the run fails for good, is canceled or skipped")
def _() -> None:
    for how in ("fail", "cancel"):
        plant = pair(EAGER)
        plant.report("a")
        ended(plant, how)
        plant.wait(1e5)
        assert plant.waves == B
        plant.report("a")
        assert plant.waves == B * 2
    plant = Plant(graph(node("a", automation=EAGER), node("b", "a", automation=EAGER)))
    ended(plant, "fail")
    plant.wait(1e5)
    assert plant.waves == [(("a", "b"), None, 0)]
    plant.report("a")
    assert plant.waves[1:] == B


@row("eager", "upstream held back (see `WhenDepsReady`)")
def _() -> None:
    definitions = graph(node("a"), node("x"), node("b", "a", "x", automation=EAGER))
    plant = Plant(definitions)
    plant.report("a")
    plant.wait(1e5)
    assert plant.waves == []  # hard: x is missing
    plant.report("x")
    assert plant.run_all() == [("b", 0)]
    plant.request("x", begin=True)
    plant.report("a")
    plant.wait(59)
    assert plant.waves == B  # softly: x is being made
    plant.wait(2)
    assert plant.waves == B * 2


# --- on_missing -------------------------------------------------------------------------------------------------------


@row("on_missing", "missing at the first look, or partition added")
def _() -> None:
    plant = pair(ON_MISSING, made=False)
    assert plant.waves == []
    plant.report("a")
    assert plant.waves == B
    plant = Plant(graph(node("a", partitions=BATCHES), node("b", "a", partitions=BATCHES, automation=ON_MISSING)))
    plant.add("batches", 1)
    assert plant.waves == []
    plant.report("a", 1)
    assert plant.waves == [(("b",), "batches", 1)]
    plant = Plant(graph(node("a", partitions=BATCHES), node("b", "a", automation=ON_MISSING)))
    assert plant.waves == []  # of none there are, none is there
    plant.add("batches", 1, 2)
    plant.report("a", 1)
    assert plant.waves == []
    plant.report("a", 2)
    assert plant.waves == B


@row("on_missing", "a dependency will be made in the same run")
def _() -> None:
    assert pair(ON_MISSING, above=ON_MISSING, made=False).waves == [(("a", "b"), None, 0)]


@row("on_missing", "a dependency is updated later")
def _() -> None:
    plant = pair(ON_MISSING)
    plant.report("a")
    plant.wait(1e5)
    assert plant.waves == []


@row("on_missing", "the run fails for good, is canceled or skipped")
def _() -> None:
    for how in ("fail", "cancel"):
        plant = pair(ON_MISSING, made=False)
        plant.report("a")
        ended(plant, how)
        plant.report("a")
        plant.wait(1e5)
        assert plant.waves == B
    plant = pair(ON_MISSING, above=ON_MISSING, made=False)
    ended(plant, "fail")
    plant.report("a")
    assert plant.waves == [(("a", "b"), None, 0)]


# --- on_cron ----------------------------------------------------------------------------------------------------------


@row("on_cron", "an instant passes, nothing lies above")
def _() -> None:
    plant = Plant(graph(node("b", automation=MINUTE)))
    assert plant.waves == []
    plant.wait(60)
    assert plant.waves == B


@row("on_cron", "an instant passes, something lies above")
def _() -> None:
    plant = pair(MINUTE)
    plant.report("a")
    plant.wait(60)
    assert plant.waves == []
    plant.report("a")
    assert plant.waves == B


@row("on_cron", "a dependency is requested in this look and can share its run")
def _() -> None:
    plant = pair(MINUTE, above=MINUTE)
    plant.wait(60)
    assert plant.waves == [(("a", "b"), None, 0)]


@row("on_cron", "a dependency is updated again later")
def _() -> None:
    plant = pair(MINUTE)
    plant.wait(60)
    plant.report("a")
    plant.run_all()
    plant.report("a")
    plant.wait(59)
    assert plant.waves == B


@row("on_cron", "the next instant passes first")
def _() -> None:
    plant = Plant(graph(node("a"), node("x"), node("b", "a", "x", automation=MINUTE)))
    plant.wait(60)
    plant.report("a")
    plant.wait(60)
    plant.report("x")
    assert plant.waves == []
    plant.report("a")
    assert plant.waves == B


@row("on_cron", "the run fails for good, is canceled or skipped")
def _() -> None:
    for how in ("fail", "cancel"):
        plant = pair(MINUTE)
        plant.wait(60)
        plant.report("a")
        ended(plant, how)
        plant.report("a")
        plant.wait(59)
        assert plant.waves == B
        plant.wait(1)
        plant.report("a")
        assert plant.waves == B * 2
    plant = pair(MINUTE, above=MINUTE)
    plant.wait(60)
    ended(plant, "fail")
    plant.wait(59)
    assert plant.waves == [(("a", "b"), None, 0)]


# --- on_lapse ---------------------------------------------------------------------------------------------------------


@row("on_lapse", "a policy lapses")
def _() -> None:
    plant = pair(ON_LAPSE)
    plant.freshness("a", "lapsed")
    assert plant.waves == B
    plant.run_all()
    plant.wait(1e5)
    assert plant.waves == B


@row("on_lapse", "it lapses while a run is queued or running")
def _() -> None:
    for begin, waves in ((False, []), (True, B)):
        plant = pair(ON_LAPSE)
        run = plant.request("b", begin=begin)
        plant.freshness("a", "lapsed")
        assert plant.waves == []
        if not begin:
            plant.start(run, "b")
        plant.succeed(run, "b")
        plant.run_all()
        assert plant.waves == waves


@row("on_lapse", "the run fails for good")
def _() -> None:
    plant, waits = pair(ON_LAPSE), list[float]()
    plant.freshness("a", "lapsed")
    while plant.asked:
        ended(plant, "fail")
        failed_at = plant.now
        if plant.wake_at is not None:
            plant.now = plant.wake_at
            plant.tick()
            waits.append(plant.now - failed_at)
    assert waits[:2] == [pytest.approx(30, abs=0.5), pytest.approx(60, abs=1)]
    assert plant.waves == B * 3


@row("on_lapse", "exhausted")
def _() -> None:
    plant = Plant(graph(node("a", within=60), node("b", "a", automation=C.on_lapse(1))))
    plant.report("a")
    plant.report("b")
    quiet(plant)
    plant.freshness("a", "lapsed")
    ended(plant, "fail")
    plant.wait(1e5)
    assert plant.waves == B
    plant.freshness("a", "lapsed")
    assert plant.waves == B * 2
    ended(plant, "fail")
    plant.succeed(plant.request("b", begin=True), "b")
    plant.report("a")
    assert plant.waves == B * 2
    plant.freshness("a", "lapsed")
    assert plant.waves == B * 3


@row("on_lapse", "the run is canceled")
def _() -> None:
    plant = pair(ON_LAPSE)
    plant.freshness("a", "lapsed")
    ended(plant, "cancel")
    plant.wait(1e5)
    assert plant.waves == B
    plant.freshness("a", "lapsed")
    assert plant.waves == B * 2


@row("on_lapse", "the run is skipped as one above it failed")
def _() -> None:
    plant = pair(ON_LAPSE, above=ON_LAPSE)
    plant.freshness("a", "lapsed")
    ended(plant, "fail")
    assert plant.waves == [(("a", "b"), None, 0), *B]


@row("on_lapse", "the lapsed upstream is being refreshed")
def _() -> None:
    plant = pair(ON_LAPSE, above=ON_LAPSE)
    plant.freshness("a", "lapsed")
    assert plant.waves == [(("a", "b"), None, 0)]
    plant = pair(ON_LAPSE)
    run = plant.request("a", begin=True)
    plant.freshness("a", "lapsed")
    assert plant.waves == []
    plant.succeed(run, "a")
    assert plant.waves == B


@pytest.mark.parametrize(("policy", "what"), SCENES, ids=lambda one: str(one))
def test_it_is_so(policy: str, what: str) -> None:
    SCENES[policy, what]()
