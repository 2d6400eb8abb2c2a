"""What single facts and operators mean, a scene each."""

from __future__ import annotations

import pytest
from tests.automation.build import BATCHES, EAGER, ON_LAPSE, graph, node
from tests.automation.watched import Watched

from freshet.definitions.condition import AutomationCondition
from freshet.definitions.partitions import DynamicPartitions

C = AutomationCondition
MADE = (("made",), None, 0)


def below(condition: AutomationCondition) -> Watched:
    """`made` lies below `raw`, which nothing makes."""
    return Watched(graph(node("raw"), node("made", "raw", automation=condition)))


def test_what_was_made_of_a_key_before_it_went_is_forgotten() -> None:
    plant = Watched(graph(node("made", partitions=BATCHES, automation=C.missing())))
    for _ in range(2):
        plant.waves.clear()
        plant.add("batches", 1)
        plant.report("made", 1)
        assert plant.waves == [(("made",), "batches", 1)]
        for run in plant.admit():
            plant.cancel(run)
        plant.delete("batches", 1)


def test_what_happened_before_a_key_came_back_in_the_same_transaction_did_not_happen_to_it() -> None:
    plant = Watched(graph(node("raw", partitions=BATCHES), node("made", "raw", automation=C.any_deps_updated())))
    plant.add("batches", 1)
    plant.together(lambda: plant.report("raw", 1), lambda: plant.delete("batches", 1), lambda: plant.add("batches", 1))
    assert plant.waves == []


def test_a_run_that_begins_at_once_was_requested_too() -> None:
    plant = below(C.any_deps_match(C.newly_requested()))
    plant.request("raw", begin=True)
    assert plant.waves == [MADE]


def test_who_waits_for_other_data_follows_what_is_made_above() -> None:
    """So that what lies below it waits for it."""
    other_data = C.any_deps_match(C.data_version_changed()) & ~C.in_progress()
    plant = Watched(
        graph(
            node("raw"),
            node("other"),
            node("mid", "raw", automation=other_data),
            node("made", "other", "mid", automation=EAGER),
        )
    )
    for name in ("raw", "other", "mid", "made"):
        plant.report(name)
    for run in plant.admit():
        plant.cancel(run)
    plant.waves.clear()
    plant.request("raw", begin=True)
    plant.report("other")
    assert plant.waves == []


def test_data_that_is_the_same_wakes_nobody_who_waits_for_other() -> None:
    plant = below(C.any_deps_match(C.data_version_changed()))
    plant.report("raw", same=True)
    assert plant.waves == []
    plant.report("raw")
    assert plant.waves == [MADE]


def test_a_success_ends_a_failure() -> None:
    plant = below(~C.any_deps_match(C.execution_failed()))
    plant.run_all()
    plant.fail(plant.request("raw", begin=True), "raw")
    plant.waves.clear()
    plant.succeed(plant.request("raw", begin=True), "raw")
    assert plant.waves == [MADE]


def test_what_comes_while_a_run_is_queued_is_that_runs() -> None:
    plant = below(C.any_deps_updated())
    run = plant.request("made")
    plant.report("raw")
    plant.start(run, "made")
    plant.succeed(run, "made")
    assert plant.waves == []


def test_what_came_while_a_run_was_under_way_is_the_next_ones() -> None:
    """Which began before the first ended."""
    plant = below(C.any_deps_updated())
    first = plant.request("made", begin=True)
    plant.report("raw")
    second = plant.request("made", begin=True)
    plant.succeed(first, "made")
    plant.succeed(second, "made")
    assert plant.waves == []


def test_what_stays_true_is_newly_so_but_once() -> None:
    plant = below(C.any_deps_match(C.missing()).newly_true() & ~C.in_progress())
    assert plant.run_all() == [("made", 0)]
    plant.fail(plant.request("raw", begin=True), "raw")
    assert plant.waves == [MADE]


def test_a_reset_wins_over_its_trigger() -> None:
    plant = below(C.any_deps_updated().since(C.any_deps_updated()))
    plant.report("raw")
    assert plant.waves == []


def test_what_ran_before_a_restart_is_queued_and_what_comes_then_is_that_runs() -> None:
    """It is canceled with it, as with any run that is queued."""
    plant = below(C.any_deps_updated())
    run = plant.request("made", begin=True)
    plant.crash()
    plant.report("raw")
    plant.cancel(run)
    assert plant.waves == []


def test_a_lapse_that_was_over_before_a_restart_is_so_after_it() -> None:
    made = node("made", "raw", automation=C.upstream_lapsed())
    plant = Watched(graph(node("raw", within=60.0), made))
    plant.freshness("raw", "lapsed")
    plant.run_all()
    plant.report("raw")
    plant.crash()
    plant.waves.clear()
    plant.report("made")
    assert plant.waves == []


def test_what_no_run_can_share_is_not_about_to_be_requested_with_it() -> None:
    raw = node("raw", partitions=BATCHES, automation=C.newly_missing())
    plant = Watched(graph(raw, node("made", "raw", automation=C.any_deps_match(C.will_be_requested()))))
    plant.add("batches", 1)
    assert plant.waves == [(("raw",), "batches", 1)]


@pytest.mark.parametrize("partitions", [None, BATCHES])
def test_what_lapsed_above_and_is_asked_for_in_this_look_comes_first(partitions: DynamicPartitions | None) -> None:
    """Where both can be steps of one run they are; where not, one run follows the other."""
    raw = node("raw", within=60.0, automation=ON_LAPSE)
    plant = Watched(graph(raw, node("made", "raw", partitions=partitions, automation=ON_LAPSE)))
    partition = 0
    if partitions is not None:
        plant.add("batches", 1)
        partition = 1
    plant.report("raw")
    plant.report("made", partition)
    plant.freshness("raw", "lapsed")
    assert plant.waves == [(("raw", "made"), None, 0) if partitions is None else (("raw",), None, 0)]
    assert plant.run_all() == [("raw", 0), ("made", partition)]


def test_a_policy_passes_until_it_warns_and_again_when_it_is_restored() -> None:
    passes = C.any_deps_match(C.freshness_passed())
    plant = Watched(graph(node("raw", within=60.0), node("made", "raw", automation=passes), node("none")))
    assert plant.waves == [MADE], "its time has begun"
    plant.run_all()
    for state in ("warn", "lapsed"):
        plant.waves.clear()
        plant.freshness("raw", state)
        assert plant.waves == []
        plant.freshness("raw", "fresh")
        assert plant.waves == [MADE]
        plant.run_all()


def test_without_a_policy_none_passes() -> None:
    assert below(C.any_deps_match(C.freshness_passed())).waves == []


def test_the_newest_partition_passes_or_each_that_has_not_lapsed() -> None:
    passes = C.freshness_passed() & C.newly_missing()
    for one in ({"within": 60.0}, {"each": 60.0}):
        plant = Watched(graph(node("made", partitions=BATCHES, automation=passes, **one)))
        plant.add("batches", 1, 2)
        assert {number for _, _, number in plant.waves} == ({2} if "within" in one else {1, 2})


@pytest.mark.parametrize("updated", [C.any_deps_updated(), C.any_deps_updated().since_last_handled()])
def test_what_a_run_makes_on_the_way_is_read_by_its_own_step(updated: AutomationCondition) -> None:
    plant = below(updated)
    run = plant.request("raw", "made")
    plant.start(run, "raw")
    plant.succeed(run, "raw")
    plant.start(run, "made")
    plant.succeed(run, "made")
    assert plant.waves == []
