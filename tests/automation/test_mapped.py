"""What holds and what counts where a dependency names some partitions of another set: scenes, each also compared with
the reference."""

from __future__ import annotations

from tests.automation.build import EAGER, node
from tests.automation.random_graphs import DAYS, GRID, HOURS, LANDS, LETTERS, PLAN, THIRDS
from tests.automation.watched import Watched

from freshet.definitions.condition import AutomationCondition
from freshet.definitions.graph import Definitions
from freshet.definitions.mapping import ByDimension, Last, Static, TimeWindow

C = AutomationCondition
FIRST = DAYS.first


def test_a_window_waits_for_its_own_windows_alone() -> None:
    """Of two days that open at once, the one whose thirds are there; the other is held by one that was never tried."""
    days = node("days", "thirds", partitions=DAYS, automation=EAGER)
    plant = Watched(Definitions((node("thirds", partitions=THIRDS), days)), {})
    plant.open("thirds", 5)
    for third in sorted(plant.live["thirds"])[:4]:
        plant.report("thirds", third)
    plant.open("days", 2)
    assert plant.waves == [(("days",), "days", FIRST)]
    plant.fail(plant.request("thirds", partition=max(plant.live["thirds"]), begin=True), "thirds")
    assert plant.waves[1:] == [(("days",), "days", FIRST + 1)], "one that failed is left out"


def test_a_window_that_is_not_there_holds_what_names_it_alone() -> None:
    hours = node("hours", "days", partitions=HOURS, automation=EAGER)
    plant = Watched(Definitions((node("days", partitions=DAYS), hours)), {"days": [FIRST]})
    plant.report("days", FIRST)
    plant.open("hours", 4)  # two of the 28th, two of the 29th
    assert {wave[2] - HOURS.first for wave in plant.waves} == {0, 1}
    plant.open("days")
    plant.report("days", FIRST + 1)
    assert {wave[2] - HOURS.first for wave in plant.waves} == {0, 1, 2, 3}


def test_a_key_that_a_static_mapping_names_nothing_for_depends_on_nothing() -> None:
    below = node("letters", ("lands", Static({"p": "x"})), partitions=LETTERS, automation=C.on_missing())
    plant = Watched(Definitions((node("lands", partitions=LANDS), below)), {})
    keys = plant.sets.keys
    assert plant.waves == [(("letters",), "letters", keys["letters"]["y"])]
    plant.report("lands", keys["lands"]["q"])
    assert len(plant.waves) == 1
    plant.report("lands", keys["lands"]["p"])
    assert plant.waves[1:] == [(("letters",), "letters", keys["letters"]["x"])]


def test_a_window_that_opens_in_a_dimension_moves_the_last_of_it() -> None:
    """Nothing happened to the combinations themselves."""
    none_there = ~C.any_deps_match(~C.missing())
    below = node("plan", ("grid", ByDimension(day=Last())), partitions=PLAN, automation=none_there)
    plant = Watched(
        Definitions((node("grid", partitions=GRID), below)), {"a": [1], "days": [FIRST], "later": [FIRST + 1]}
    )
    plant.use("grid", (FIRST, 1))
    plant.report("grid", 1)
    plant.use("plan", (plant.sets.keys["lands"]["p"], FIRST + 1, 1))
    assert not plant.waves
    plant.open("days")
    assert plant.waves == [(("plan",), "plan", 1)]


def test_what_could_share_a_run_is_held_again_when_the_look_is_over() -> None:
    """So that its negation comes true then, and not when something else happens."""
    held = ~C.any_deps_match(C.missing()).when_deps_ready("64s", after_lapsed=True)
    above = node("above", partitions=LETTERS, automation=EAGER)
    plant = Watched(Definitions((above, node("below", "above", partitions=LETTERS, automation=held))), {})
    keys = plant.sets.keys["letters"]
    assert set(plant.waves) == {(("above", "below"), "letters", keys[key]) for key in ("x", "y")}
    plant.report("above", keys["x"])
    assert len(plant.waves) == 2


def test_what_nothing_depends_on_yet_begins_to_wait_all_the_same() -> None:
    """A day waits since its upstream moves, not since the day after it has opened, which alone depends on it."""
    ready = C.any_deps_match(C.missing().when_deps_ready("64s"))
    above = node("above", "raw", partitions=DAYS)
    plant = Watched(
        Definitions(
            (node("raw"), above, node("below", ("above", TimeWindow(-1, -1)), partitions=DAYS, automation=ready))
        ),
        {"days": [FIRST]},
    )
    plant.report("raw")
    plant.request("raw", begin=True)
    plant.wait(60.0)
    plant.open("days")
    assert plant.waves == []
    plant.wait(4.0)
    assert plant.waves == [(("below",), "days", FIRST + 1)]


def test_what_nothing_depends_on_yet_is_looked_at_when_its_deadline_comes() -> None:
    """A batch is over when it has waited long enough, and was so recently for as long again; not since it is asked."""
    batched = C.any_deps_match(C.newly_updated().batch(2, within="64s").recently("64s"))
    below = node("below", ("above", TimeWindow(-1, -1)), partitions=DAYS, automation=batched)
    plant = Watched(Definitions((node("above", partitions=DAYS), below)), {"days": [FIRST]})
    plant.report("above", FIRST)
    plant.wait(150.0)
    plant.open("days")
    assert plant.waves == []
