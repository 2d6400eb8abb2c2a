"""What was committed and not looked at before a crash is looked at after it, and asks for nothing twice."""

from __future__ import annotations

from functools import partial

import pytest
from pyroaring import BitMap
from tests.automation.build import BATCHES, graph, node
from tests.automation.watched import Watched

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.mapping import Last
from freshet.definitions.partitions import MultiPartitions, TimePartitions
from freshet.engine.automation import Automation
from freshet.store.records import AssetBits, Event, FreshnessRow

C = AutomationCondition
DAYS = TimePartitions("daily", "2026-03-28", timezone="UTC", name="days")
GRID = MultiPartitions(name="grid", day=DAYS, batch=BATCHES)
DAY = DAYS.first
DEFINITIONS = Definitions(
    assets=(
        AssetSpec("source", freshness=FreshnessSpec(within=60.0)),
        AssetSpec("echo", deps=(DepSpec("source"),), automation=AutomationCondition.on_lapse()),
    )
)
POLICY = {"within": 60.0, "warn": None}


def _event(seq: int, kind: str, asset: str, run_id: int | None = None) -> Event:
    return Event(seq=seq, txn=seq, at=100.0 + seq, type=kind, asset=asset, partition=0, run_id=run_id)


def test_a_request_that_committed_after_what_came_meanwhile_is_not_made_again() -> None:
    """The lapse was looked at; before the request for it committed, the source was materialized; then a crash."""
    nothing, one = BitMap(), BitMap([0])
    before = Automation(DEFINITIONS)
    fresh = FreshnessRow("source", 0, POLICY, since=0.0, baseline_seq=1, baseline_at=30.0, state="fresh")
    before.load({"source": AssetBits(one, nothing, nothing, 1)}, {}, [], [fresh], seq=1)
    chunks = {(one.asset, one.node, one.chunk): one for one in before.timer(100.0).chunks}
    asked = before.evaluate([_event(2, "freshness_lapsed", "source")], 102.0)
    assert [request.assets for request in asked.requests] == [("echo",)]
    chunks |= {(one.asset, one.node, one.chunk): one for one in asked.chunks}

    after = Automation(DEFINITIONS)
    behind = [_event(3, "materialized", "source"), _event(4, "requested", "echo", run_id=9)]
    bits = {"source": AssetBits(one, nothing, nothing, 3), "echo": AssetBits(nothing, nothing, one)}
    lapsed = FreshnessRow("source", 0, POLICY, since=0.0, baseline_seq=1, baseline_at=30.0, state="lapsed")
    after.load(bits, {}, list(chunks.values()), [lapsed], seq=2, behind=behind)
    for event in behind:
        assert after.evaluate([event], event.at).requests == ()
    assert after.timer(110.0).requests == ()


@pytest.mark.parametrize("crash", [False, True])
def test_what_was_the_newest_before_a_partition_came_is_looked_at_when_it_comes(crash: bool) -> None:
    """A lapse above holds for the newest combination alone: the one before is free of it as soon as another comes."""
    made = node("made", "source", partitions=GRID, automation=~C.upstream_lapsed())
    plant = Watched(graph(node("source", within=60.0), made))
    plant.add("batches", 1, 2)
    plant.open("days")
    plant.freshness("source", "lapsed")
    plant.use("grid", (DAY, 1))
    assert plant.waves == []
    plant.fall_behind()
    plant.use("grid", (DAY, 2))
    if crash:
        plant.crash()
    plant.catch_up()
    assert plant.waves == [(("made",), "grid", 1)]


@pytest.mark.parametrize("crash", [False, True])
def test_a_report_that_nobody_has_looked_at_does_not_count_as_the_end_of_a_run(crash: bool) -> None:
    """Nothing of it was under way when its upstream came, so that a run is asked for."""
    plant = Watched(graph(node("raw"), node("made", "raw", automation=C.any_deps_updated())))
    plant.fall_behind()
    plant.report("raw")
    plant.report("made")
    if crash:
        plant.crash()
    plant.catch_up()
    assert plant.waves == [(("made",), None, 0)]


@pytest.mark.parametrize("crash", [False, True])
def test_a_lapse_that_ended_where_nobody_looked_may_begin_again(crash: bool) -> None:
    """That it is over is known from the start, and is told to what depends on the policy all the same."""
    plant = Watched(graph(node("source", within=60.0), node("echo", "source", automation=C.upstream_lapsed())))
    plant.freshness("source", "lapsed")
    assert plant.run_all() == [("echo", 0)]
    plant.fall_behind()
    plant.report("source")
    if crash:
        plant.crash()
    plant.catch_up()
    plant.waves.clear()
    plant.freshness("source", "lapsed")
    assert plant.waves == [(("echo",), None, 0)]


def test_what_nobody_has_looked_at_is_seen_with_the_first_transaction_after_a_crash() -> None:
    """What lies below a partition that was made is looked at as soon as that is known, not when its turn comes."""
    below = node("made", "raw", automation=~C.any_deps_missing())
    plant = Watched(graph(node("other"), node("raw"), below))
    plant.fall_behind()
    plant.report("other")
    plant.report("raw")
    plant.crash()
    assert plant.waves == [(("made",), None, 0)]


def test_an_evaluation_that_did_not_commit_is_made_again() -> None:
    """With what it asked for, and with what it remembered."""
    plant = Watched(graph(node("raw"), node("made", "raw", automation=C.eager())))
    plant.report("raw")
    assert plant.waves == [(("made",), None, 0)]
    plant.crash(lost=1)
    assert plant.waves == [(("made",), None, 0)] * 2
    assert plant.run_all() == [("made", 0)]


@pytest.mark.parametrize("crash", [False, True])
def test_keys_that_come_back_where_nobody_looks_are_the_last_in_their_order(crash: bool) -> None:
    made = node("made", ("raw", Last()), automation=C.any_deps_updated())
    plant = Watched(graph(node("raw", partitions=BATCHES), made))
    plant.add("batches", 1, 2, 3)
    plant.delete("batches", 1)
    plant.fall_behind()
    plant.add("batches", 4)
    plant.add("batches", 1)
    plant.add("batches", 5)
    plant.delete("batches", 5)
    if crash:
        plant.crash()
    plant.catch_up()
    plant.report("raw", 4)
    assert plant.waves == []
    plant.report("raw", 1)
    assert plant.waves == [(("made",), None, 0)]


@pytest.mark.parametrize("crash", [False, True])
def test_what_began_to_move_where_nobody_looked_holds_for_max_wait_and_no_longer(crash: bool) -> None:
    """A part that nobody tried holds hard; once it is on its way, what waits for it has a deadline."""
    mid = node("mid", "raw", partitions=BATCHES, automation=C.eager("64s"))
    plant = Watched(graph(node("raw", partitions=BATCHES), mid, node("top", "mid", automation=C.eager("64s"))))
    plant.add("batches", 1, 2)
    plant.report("mid", 1)
    assert plant.waves == []
    plant.fall_behind()
    plant.request("raw", partition=2, begin=True)
    if crash:
        plant.crash()
    plant.catch_up()
    assert plant.wake_at == 64.0
    plant.wait(64.0)
    assert plant.waves == [(("top",), None, 0)]


def test_of_a_partition_that_came_and_went_where_nobody_looked_nothing_is_asked_after_a_crash() -> None:
    """Its coming is looked at when it has gone already; whoever comes after it comes as ever."""
    plant = Watched(graph(node("made", partitions=BATCHES, automation=C.on_missing())))
    plant.fall_behind()
    plant.add("batches", 1, 2)
    plant.delete("batches", 1)
    plant.crash()
    assert plant.waves == [(("made",), "batches", 2)]
    plant.add("batches", 1)
    assert plant.waves == [(("made",), "batches", 2), (("made",), "batches", 1)]


@pytest.mark.parametrize("condition", [~C.any_deps_match(C.missing()), ~C.any_deps_match(C.missing().recently("64s"))])
def test_what_depends_on_all_of_which_none_is_left_is_looked_at(condition: AutomationCondition) -> None:
    below = node("below", "above", automation=condition)
    plant = Watched(graph(node("above", partitions=BATCHES), node("other"), below), {BATCHES.name: [1]})
    plant.fall_behind()
    plant.report("other")
    plant.delete(BATCHES.name, 1)
    plant.crash()
    assert plant.waves == [(("below",), None, 0)]


def test_keys_that_went_and_came_back_before_a_crash_are_missing_from_the_first_look_on() -> None:
    plant = Watched(graph(node("raw", partitions=BATCHES, automation=C.missing()), node("other")), {"batches": [1, 2]})
    assert len(plant.run_all()) == 2
    plant.fall_behind()
    plant.report("other")
    plant.delete("batches", 1, 2)
    plant.add("batches", 1, 2)
    plant.crash()
    assert len(plant.run_all()) == 2


def test_what_is_rewired_by_an_edit_depends_on_others_from_the_first_look_on() -> None:
    def below(above: str) -> Definitions:
        held = C.any_deps_match(C.missing())
        return graph(node("a"), node("b"), node("c", above, automation=~held), node("other"))

    plant = Watched(below("a"))
    plant.report("b")
    plant.fall_behind()
    plant.report("other")
    plant.crash(edited=lambda: below("b"))
    assert plant.run_all() == [("c", 0)]


def test_what_an_edit_asks_for_elsewhere_is_not_remembered_where_it_was() -> None:
    once = C.execution_failed().newly_true()

    def below(condition: C) -> Definitions:
        return graph(node("a"), node("b", "a", automation=condition))

    plant = Watched(below(once))
    plant.fail(plant.request("b", begin=True), "b")
    plant.cancel(*plant.admit())
    for condition in (C.any_deps_match(once), once):
        plant.crash(edited=partial(below, condition))
    assert len(plant.waves) == 2
