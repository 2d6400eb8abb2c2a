"""What `on_cron` does, scene by scene; instants, latest windows, and conditions of those below."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.automation.build import EAGER, graph, node
from tests.automation.plant import Plant

from freshet.definitions.condition import AutomationCondition
from freshet.definitions.partitions import TimePartitions
from freshet.errors import DefinitionError

C = AutomationCondition
MINUTE = C.on_cron("* * * * *", "UTC")
DAYS = TimePartitions("daily", "2026-01-01", timezone="UTC")
FIRST = DAYS.first


def test_without_dependencies_each_instant_asks_once() -> None:
    plant = Plant(graph(node("a", automation=MINUTE)))
    assert plant.waves == []
    assert plant.wake_at == 60.0
    for count in (1, 2, 3):
        plant.wait(60.0)
        assert plant.run_all() == [("a", 0)]
        assert len(plant.waves) == count


def test_instants_that_passed_while_it_was_down_are_one() -> None:
    plant = Plant(graph(node("a", automation=MINUTE)))
    plant.now += 600.0
    plant.restart()
    plant.tick()
    assert plant.run_all() == [("a", 0)]
    plant.restart()
    plant.tick()
    assert len(plant.waves) == 1
    assert plant.wake_at == 660.0


def test_it_waits_until_each_dependency_was_updated_since() -> None:
    plant = Plant(graph(node("a"), node("b"), node("c", "a", "b", automation=MINUTE)))
    plant.report("a")
    plant.report("b")
    plant.wait(60.0)
    assert plant.waves == []
    plant.report("a")
    assert plant.waves == []
    plant.report("b")
    assert plant.run_all() == [("c", 0)]
    plant.report("a")
    plant.report("b")
    assert len(plant.waves) == 1
    plant.wait(60.0)
    assert len(plant.waves) == 1


def test_an_update_before_the_instant_is_one_before_it_however_late_it_is_looked_at() -> None:
    plant = Plant(graph(node("a"), node("b", "a", automation=MINUTE)))
    plant.now = 59.0
    plant.fall_behind()
    plant.report("a")
    plant.now = 61.0
    plant.catch_up()
    plant.tick()
    assert plant.waves == []
    plant.report("a")
    assert len(plant.waves) == 1


def test_an_update_after_the_instant_is_one_after_it_though_both_are_looked_at_together() -> None:
    plant = Plant(graph(node("a"), node("b", "a", automation=MINUTE)))
    plant.fall_behind()
    plant.now = 61.0
    plant.report("a")
    plant.catch_up()
    assert len(plant.waves) == 1


def test_a_chain_is_one_run_after_its_root() -> None:
    plant = Plant(graph(node("a", automation=MINUTE), node("b", "a", automation=MINUTE)))
    plant.wait(60.0)
    assert plant.waves == [(("a", "b"), None, 0)]


def test_the_latest_window_alone_is_made() -> None:
    plant = Plant(graph(node("a", partitions=DAYS, automation=MINUTE)), {DAYS.name: [FIRST, FIRST + 1]})
    plant.wait(60.0)
    assert [wave[2] for wave in plant.waves] == [FIRST + 1]
    plant.run_all()
    plant.live[DAYS.name].add(FIRST + 2)
    plant.commit(plant.event("partition_added", set=DAYS.name, partition=FIRST + 2))
    plant.wait(60.0)
    assert [wave[2] for wave in plant.waves] == [FIRST + 1, FIRST + 2]


def test_without_the_latest_window_all_are_made() -> None:
    all_of_them = MINUTE.without(C.in_latest_time_window())
    plant = Plant(graph(node("a", partitions=DAYS, automation=all_of_them)), {DAYS.name: [FIRST, FIRST + 1]})
    plant.wait(60.0)
    assert sorted(wave[2] for wave in plant.waves) == [FIRST, FIRST + 1]


def test_an_asset_is_made_when_a_condition_below_it_is_true() -> None:
    lazy = C.any_downstream_conditions() & ~C.in_progress()
    plant = Plant(graph(node("a", automation=lazy), node("b", "a", automation=lazy), node("c", "b", automation=MINUTE)))
    assert plant.waves == []
    plant.wait(60.0)
    assert plant.waves == [(("a", "b", "c"), None, 0)]


def test_what_is_ignored_neither_wakes_nor_holds() -> None:
    noisy = replace(node("noisy"), group="noise", tags={"team": "ops"})
    for ignored in ("noisy", "group:noise", "tag:team", "tag:team=ops"):
        plant = Plant(graph(noisy, node("a"), node("b", "noisy", "a", automation=EAGER.ignore(ignored))))
        plant.report("a")
        assert plant.run_all() == [("b", 0)], ignored
        plant.report("noisy")
        assert len(plant.waves) == 1
        plant.request("noisy", begin=True)
        plant.report("a")
        assert len(plant.waves) == 2


def test_what_is_not_allowed_neither_wakes_nor_holds() -> None:
    plant = Plant(graph(node("x"), node("a"), node("b", "x", "a", automation=EAGER.allow("a"))))
    plant.report("x")
    assert plant.waves == []
    plant.report("a")
    assert plant.waves == [(("b",), None, 0)]


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda: C.missing().ignore("a"), "looks at no dependencies"),
        (lambda: C.eager().ignore(), "names nothing"),
        (lambda: C.eager().ignore("owner:me"), "names no asset"),
        (lambda: C.eager().allow(5), "names no asset"),
        (lambda: C.eager().without(C.missing()), "has no such part"),
        (lambda: C.eager().replace("nothing", C.missing()), "has no such part"),
        (lambda: C.on_cron("61 * * * *"), "on_cron.*61"),
        (lambda: C.on_cron("@daily", "Europe/Berln"), "Berln"),
        (lambda: C.in_latest_time_window("soon"), "soon"),
    ],
)
def test_what_is_wrong_is_said_where_it_is_written(write: object, said: str) -> None:
    assert callable(write)
    with pytest.raises(DefinitionError, match=said):
        write()


def test_a_part_is_replaced_by_its_label_or_by_itself() -> None:
    by_label, by_part = C.eager().replace("updated", C.missing()), C.eager().replace(C.will_be_requested(), C.missing())
    assert "newly_updated" not in str(by_label)
    assert "any_deps_match(missing)" in str(by_part)
    assert C.on_cron("@daily").resolved("Asia/Tokyo") == C.on_cron("@daily", "Asia/Tokyo")
