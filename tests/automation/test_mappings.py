"""Conditions over partitions of every kind, through every mapping."""

from __future__ import annotations

import pytest
from pyroaring import BitMap
from tests.automation.build import BATCHES, EAGER, ON_LAPSE, graph, node
from tests.automation.plant import Plant

from freshet.definitions.asset import AssetSpec
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.mapping import All, ByDimension, Last, Mapping, Static, TimeWindow
from freshet.definitions.partitions import MultiPartitions, PartitionsSpec, StaticPartitions, TimePartitions
from freshet.engine.automation import AssetCounts, Explanation
from freshet.errors import UnknownName

ON_MISSING = AutomationCondition.on_missing()
DAYS = TimePartitions("daily", "2026-03-28", timezone="UTC", name="days")
HOURS = TimePartitions("hourly", "2026-03-28T00:00", timezone="UTC", name="hours")
DAY, HOUR = DAYS.first, HOURS.first
REGIONS = StaticPartitions(["de", "fr", "us", "aq"], name="regions")
CONTINENTS = StaticPartitions(["europe", "america", "void"], name="continents")
NEAR = Static({"de": "europe", "fr": "europe", "us": "america"})
GRID = MultiPartitions(name="grid", day=DAYS, batch=BATCHES)
SHELF = MultiPartitions(name="shelf", batch=BATCHES, day=DAYS)


def pair(
    upstream: PartitionsSpec | None,
    downstream: PartitionsSpec | None,
    mapping: Mapping | None = None,
    automation: AutomationCondition = EAGER,
    **more: float,
) -> Plant:
    """Nothing makes `raw` by itself; `made` lies below it."""
    above: str | tuple[str, Mapping] = "raw" if mapping is None else ("raw", mapping)
    within = more.get("within")
    return Plant(
        graph(
            node("raw", partitions=upstream, within=within),
            node("made", above, partitions=downstream, automation=automation),
        )
    )


def asked(plant: Plant) -> list[int]:
    """The partitions of `made` asked for since last time; their runs are done and a while has passed."""
    found = sorted(number for assets, _, number in plant.waves if assets == ("made",))
    assert len(found) == len(plant.waves)
    plant.waves.clear()
    plant.run_all()
    plant.wait(1000)
    plant.run_all()
    assert not plant.waves
    return found


def report(plant: Plant, *numbers: int, but: int | None = None) -> None:
    for number in numbers:
        if number != but:
            plant.report("raw", number)


@pytest.mark.parametrize("automation", [EAGER, ON_MISSING])
def test_a_day_waits_for_each_of_its_hours(automation: AutomationCondition) -> None:
    plant = pair(HOURS, DAYS, automation=automation)
    plant.open("hours", 24)
    plant.open("days")
    report(plant, *range(HOUR, HOUR + 24), but=HOUR + 7)
    plant.wait(1e5)
    assert asked(plant) == []
    report(plant, HOUR + 7)
    assert asked(plant) == [DAY]
    plant.open("hours", 24)
    plant.open("days")
    report(plant, *range(HOUR + 24, HOUR + 48))
    assert asked(plant) == [DAY + 1]
    report(plant, HOUR + 47)
    assert asked(plant) == ([DAY + 1] if automation == EAGER else [])


def test_an_hour_that_failed_does_not_hold_back_its_day() -> None:
    plant = pair(HOURS, DAYS)
    plant.open("hours", 48)
    plant.open("days", 2)
    report(plant, *range(HOUR, HOUR + 48), but=HOUR + 30)
    assert asked(plant) == [DAY]
    bad = plant.request("raw", partition=HOUR + 30, begin=True)
    plant.wait(61)
    assert asked(plant) == [DAY + 1]  # on what is there
    plant.fail(bad, "raw")
    report(plant, HOUR + 40)
    assert asked(plant) == [DAY + 1]


def test_an_hour_comes_of_the_day_that_holds_it() -> None:
    plant = pair(DAYS, HOURS)
    plant.open("days", 2)
    plant.open("hours", 30)
    report(plant, DAY + 1)
    assert asked(plant) == list(range(HOUR + 24, HOUR + 30))
    report(plant, DAY)
    assert asked(plant) == list(range(HOUR, HOUR + 24))
    plant.open("hours", 24)
    assert asked(plant) == list(range(HOUR + 30, HOUR + 48))  # those of the third day, which is not there, wait
    plant.open("days")
    report(plant, DAY + 2)
    assert asked(plant) == list(range(HOUR + 48, HOUR + 54))


def test_a_rolling_week_runs_for_the_days_that_read_what_came() -> None:
    plant = pair(DAYS, DAYS, TimeWindow(start=-6, end=0))
    plant.open("days", 20)
    report(plant, *range(DAY, DAY + 20))
    assert asked(plant) == list(range(DAY, DAY + 20))
    report(plant, DAY + 4)
    assert asked(plant) == list(range(DAY + 4, DAY + 11))
    plant.open("days")
    plant.wait(1e5)
    assert asked(plant) == []  # the new day itself was never tried
    report(plant, DAY + 20)
    assert asked(plant) == [DAY + 20]


def test_a_stream_below_a_window_costs_some_runs_each_max_wait() -> None:
    """Each day is paced by itself."""
    plant = pair(DAYS, DAYS, TimeWindow(start=-6, end=0), AutomationCondition.eager("1m"))
    plant.open("days", 30)
    report(plant, *range(DAY, DAY + 30))
    asked(plant)
    for _ in range(1300):
        report(plant, DAY + 10)
        plant.run_all()
        plant.wait(0.1)
        plant.run_all()
    runs = [number for _, _, number in plant.waves]
    assert set(runs) == set(range(DAY + 10, DAY + 17))
    assert all(2 <= runs.count(number) <= 4 for number in set(runs))


def test_a_day_of_several_batches() -> None:
    plant = pair(GRID, DAYS)
    plant.open("days", 2)
    plant.add("batches", 1, 2)
    plant.use("grid", (DAY, 1), (DAY, 2), (DAY + 1, 1))
    assert asked(plant) == []
    report(plant, 1, 3)
    assert asked(plant) == [DAY + 1]
    report(plant, 2)
    assert asked(plant) == [DAY]
    plant.use("grid", (DAY + 1, 2))
    report(plant, 3)
    plant.wait(1e5)
    assert asked(plant) == []  # its second batch was never tried
    plant.delete("batches", 2)
    assert asked(plant) == [DAY + 1]


def test_combinations_of_a_day_come_of_that_day() -> None:
    plant = pair(DAYS, GRID)
    plant.open("days", 2)
    plant.add("batches", 1, 2)
    plant.use("grid", (DAY, 1), (DAY, 2), (DAY + 1, 1))
    report(plant, DAY)
    assert asked(plant) == [1, 2]
    plant.use("grid", (DAY + 1, 2))
    report(plant, DAY + 1)
    assert asked(plant) == [3, 4]


def test_a_window_in_one_dimension_of_several() -> None:
    plant = pair(GRID, SHELF, ByDimension(day=TimeWindow(start=-1, end=0)))
    plant.open("days", 3)
    plant.add("batches", 1, 2)
    plant.use("grid", *((DAY + day, batch) for day in range(3) for batch in (1, 2)))
    plant.use("shelf", *((batch, DAY + day) for day in range(3) for batch in (1, 2)))
    report(plant, 1, 3, 5)  # the first batch
    assert asked(plant) == [1, 3, 5]
    report(plant, 2, 4, 6)
    assert asked(plant) == [2, 4, 6]
    report(plant, 4)
    assert asked(plant) == [4, 6]
    report(plant, 5)
    assert asked(plant) == [5]


def test_batches_that_go_take_their_combinations_and_begin_anew_when_they_come_back() -> None:
    plant = pair(GRID, SHELF)
    plant.open("days", 2)
    plant.add("batches", 1, 2)
    plant.use("grid", (DAY, 1), (DAY, 2))
    plant.use("shelf", (1, DAY), (2, DAY))
    report(plant, 1, 2)
    assert asked(plant) == [1, 2]
    plant.delete("batches", 2)
    assert plant.automation.summary("made") == AssetCounts(1, 1, 0, 0)
    plant.add("batches", 2, ranged="ranges")
    plant.wait(1e5)
    assert asked(plant) == []  # `raw` is missing again too
    assert plant.automation.summary("made") == AssetCounts(2, 1, 0, 0)
    report(plant, 2)
    assert asked(plant) == [2]


@pytest.mark.parametrize("automation", [EAGER, ON_MISSING])
def test_keys_by_hand(automation: AutomationCondition) -> None:
    plant = pair(REGIONS, CONTINENTS, NEAR, automation)
    number = plant.sets.keys
    europe, america, void = (number["continents"][key] for key in CONTINENTS.keys)
    assert asked(plant) == [void]  # it depends on nothing
    report(plant, number["regions"]["de"], number["regions"]["aq"])
    plant.wait(1e5)
    assert asked(plant) == []
    report(plant, number["regions"]["fr"])
    assert asked(plant) == [europe]
    report(plant, number["regions"]["us"])
    assert asked(plant) == [america]


def test_the_last_of_a_list_is_its_last_key() -> None:
    plant = pair(REGIONS, None, Last())
    numbers = plant.sets.keys["regions"]
    report(plant, numbers["de"], numbers["fr"], numbers["us"])
    assert asked(plant) == []
    report(plant, numbers["aq"])
    assert asked(plant) == [0]
    report(plant, numbers["us"])
    assert asked(plant) == []


@pytest.mark.parametrize("mapping", [ByDimension(day=Last()), ByDimension(day=All())])
def test_dimensions_that_map_to_what_is_there_are_looked_at_when_that_changes(mapping: Mapping) -> None:
    plant = pair(GRID, SHELF, mapping)
    plant.add("batches", 1)
    plant.open("days")
    plant.use("grid", (DAY, 1))
    plant.use("shelf", (1, DAY))
    plant.open("days")  # with nothing of it in the grid yet
    report(plant, 1)
    assert asked(plant) == ([1] if mapping == ByDimension(day=All()) else [])
    plant.use("grid", (DAY + 1, 1))
    report(plant, 2)
    assert asked(plant) == [1]


def test_the_newest_that_goes_hands_over_to_the_one_before() -> None:
    plant = pair(GRID, BATCHES, ByDimension(batch=Last()))
    plant.open("days")
    plant.add("batches", 1, 2)
    plant.use("grid", (DAY, 1), (DAY, 2))
    report(plant, 1)
    assert asked(plant) == []
    plant.delete("batches", 2)
    assert asked(plant) == [1]


def test_a_lapse_above_is_answered_by_the_newest_day() -> None:
    plant = pair(HOURS, DAYS, automation=ON_LAPSE, within=60)
    plant.open("hours", 48)
    plant.open("days", 2)
    report(plant, *range(HOUR, HOUR + 48))
    assert asked(plant) == []
    plant.freshness("raw", "lapsed")
    assert asked(plant) == [DAY + 1]
    plant.freshness("raw", "fresh")
    plant.open("days")
    plant.freshness("raw", "lapsed")
    assert asked(plant) == []  # no hour of the third day is there


def test_a_restart_anywhere_changes_nothing() -> None:
    def waves(restarts: bool) -> list[object]:
        plant = pair(GRID, SHELF, ByDimension(day=TimeWindow(start=-1, end=0)), EAGER | ON_LAPSE)
        plant.add("batches", 1, 2)
        steps = 0
        for day in range(5):
            plant.open("days")
            plant.use("grid", (DAY + day, 1), (DAY + day, 2))
            plant.use("shelf", (1, DAY + day), (2, DAY + day))
            for number in sorted(plant.live["grid"])[-3:]:
                if restarts:
                    plant.restart()
                run = plant.request("raw", partition=number)
                plant.start(run, "raw")
                steps += 1
                (plant.fail if steps % 4 == 0 else plant.succeed)(run, "raw")
                plant.run_all()
                plant.wait(3)
            if day == 2:
                plant.delete("batches", 2)
                plant.add("batches", 2)
        return list(plant.waves)

    assert len(waves(False)) > 5 and waves(False) == waves(True)


def test_what_an_edit_says_of_sets_replaces_what_is_known_of_them() -> None:
    plant = pair(GRID, SHELF)
    plant.open("days")
    plant.add("batches", 1)
    plant.use("grid", (DAY, 1))
    plant.use("shelf", (1, DAY))
    report(plant, 1)
    assert asked(plant) == [1]
    raw, made = plant.definitions.assets
    plant.definitions = graph(raw, made, node("total", "raw", automation=EAGER))
    plant.automation.redefine(plant.definitions)
    plant.tick()
    assert plant.waves == [(("total",), None, 0)]
    plant.waves.clear()
    plant.run_all()
    plant.add("batches", 2)
    for parts in (plant.sets.used("grid", [(DAY, 2)]), plant.sets.used("shelf", [(2, DAY)])):
        assert parts
    plant.automation.redefine(plant.definitions, plant.sets.states())
    plant.report("raw", 2)
    assert (("made",), "shelf", 2) in plant.waves


def test_windows_that_go_leave_nothing_behind() -> None:
    plant = pair(DAYS, DAYS, TimeWindow(start=-1, end=0))
    plant.open("days", 10)
    report(plant, *range(DAY, DAY + 10))
    assert len(asked(plant)) == 10
    gone = BitMap(range(DAY, DAY + 5))
    plant.live["days"] -= set(gone)
    plant.commit(plant.event("partition_deleted", set="days", partition=DAY, data={"last": DAY + 4}))
    assert plant.automation.summary("made") == AssetCounts(5, 5, 0, 0)
    assert all(BitMap.deserialize(bits).isdisjoint(gone) for bits in plant.chunks.values())
    report(plant, DAY + 5)
    assert asked(plant) == [DAY + 5, DAY + 6]
    plant.commit(*plant.sets.added("days", gone, ranged="ranges"))
    assert asked(plant) == []
    report(plant, *gone)
    assert asked(plant) == [*gone, DAY + 5]


def test_explain_shows_which_of_its_hours_a_day_waits_for() -> None:
    plant = pair(HOURS, DAYS, automation=ON_MISSING)
    plant.open("hours", 48)
    plant.open("days", 2)
    report(plant, *range(HOUR, HOUR + 48), but=HOUR + 30)
    plant.admit()
    first, second = (plant.automation.explain("made", day, plant.now) for day in (DAY, DAY + 1))
    assert first is not None and second is not None
    assert not first.value  # its run is asked for already

    def missing(tree: Explanation) -> list[bool]:
        below = [value for child in tree.children for value in missing(child)]
        return [tree.value, *below] if tree.label == "any_deps_missing" else below

    assert (missing(first), missing(second)) == ([False], [True])


def test_counts_are_of_what_is_there() -> None:
    plant = pair(BATCHES, None)
    plant.add("batches", *range(1, 11), ranged="ranges")
    report(plant, 1, 2, 3)
    failed = plant.request("raw", partition=3, begin=True)
    plant.fail(failed, "raw")
    plant.request("raw", partition=4)
    assert plant.automation.summary("raw") == AssetCounts(partitions=10, materialized=3, failed=1, in_progress=1)
    plant.delete("batches", 2, 3, 4, ranged="ranges")
    assert plant.automation.summary("raw") == AssetCounts(partitions=7, materialized=1, failed=0, in_progress=0)
    assert plant.automation.summary("made").partitions == 1
    with pytest.raises(UnknownName):
        plant.automation.summary("nothing")


def test_sharing_a_run_ends_with_the_look_that_asks_for_it() -> None:
    """Both halves are asked for above; the one that is not made yet is held again once that look is over."""
    held = AutomationCondition.any_deps_match(AutomationCondition.missing()).when_deps_ready("64s", after_lapsed=True)
    halves = StaticPartitions(["x", "y"], name="halves")
    above: AssetSpec = node("above", partitions=halves, automation=EAGER)
    plant = Plant(graph(above, node("below", "above", partitions=halves, automation=~held)))
    both = {number for _, _, number in plant.waves}
    assert both == plant.live["halves"] and {assets for assets, _, _ in plant.waves} == {("above", "below")}
    plant.report("above", min(both))
    assert len(plant.waves) == 2


def test_bitmaps_that_are_given_are_left_alone() -> None:
    plant = pair(BATCHES, None)
    bits, sets = plant.bits(), plant.sets.states()
    plant.automation.load(bits, sets, [], [], plant.seq)
    plant.add("batches", 1)
    plant.report("raw", 1)
    assert bits["raw"].materialized == sets["batches"].live == BitMap()


@pytest.mark.parametrize("restart", [False, True])
def test_a_key_that_comes_back_is_the_newest(restart: bool) -> None:
    """It keeps its number, the lowest."""
    plant = pair(BATCHES, None, Last())
    for number in (1, 2, 3):
        plant.wait(10)
        plant.add("batches", number)
    plant.wait(10)
    plant.delete("batches", 1)
    plant.wait(10)
    plant.add("batches", 1)
    if restart:
        plant.restart()
    report(plant, 3)
    assert asked(plant) == []
    report(plant, 1)
    assert asked(plant) == [0]
    plant.wait(10)
    plant.delete("batches", 1)
    report(plant, 3)
    assert asked(plant) == [0], "the newest falls back to the one before"
    plant.add("batches", 4)
    report(plant, 3)
    assert asked(plant) == []
