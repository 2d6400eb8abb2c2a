"""Freshness, automation, events, and what the API reads."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
from tests.store.support import DEFINITIONS, VALUE, one_step, populate, rows, states

from freshet.errors import UnknownName
from freshet.store.admission import admit
from freshet.store.assets import (
    asset_bits,
    automation_seq,
    commit_automation,
    condition_chunks,
)
from freshet.store.codec import dump_value
from freshet.store.definitions import register_definitions
from freshet.store.events import EventLog, events_after, last_seq
from freshet.store.finishing import finish_step
from freshet.store.freshness import commit_freshness, freshness_rows
from freshet.store.partitions import change_partitions
from freshet.store.queries import asset_summaries, partition_rows, run, runs
from freshet.store.records import (
    AutomationCommit,
    ConditionChunk,
    Event,
    FreshnessChange,
    FreshnessRow,
    PartitionDelta,
    ReportedMaterialization,
    RunToAdmit,
    StepResult,
)
from freshet.store.reports import report
from freshet.store.steps import cancel_run


@pytest.fixture(autouse=True)
def _populated(db: sqlite3.Connection) -> None:
    populate(db, "a", "b", "c", "d")


def make(db: sqlite3.Connection, wanted: RunToAdmit, at: float = 10.0, outcome: str = "succeeded") -> Event:
    admitted, _ = admit(db, [wanted], start=1, needs={}, now=at, version="v1")
    result = StepResult(admitted.runs[0].run_id, 0, 1, "succeeded", at, VALUE, {"rows": 1})
    if outcome == "failed":
        result = replace(result, outcome="failed", value=None)
    return finish_step(db, result).events[0]


# --- freshness -----------------------------------------------------------------------------------------------


def sales(db: sqlite3.Connection) -> FreshnessRow:
    return next(row for row in freshness_rows(db) if row.asset == "sales")


def test_one_lapse_an_episode(db: sqlite3.Connection) -> None:
    lapse = FreshnessChange(replace(sales(db), state="lapsed"), "freshness_lapsed", 61.0)
    (event,) = commit_freshness(db, [lapse], 62.0)
    assert (event.type, event.asset, event.at, event.data) == ("freshness_lapsed", "sales", 62.0, {"deadline": 61.0})
    assert sales(db).state == "lapsed"
    assert rows(db, "SELECT deadline, seq FROM lapses") == [(61.0, event.seq)]
    assert commit_freshness(db, [lapse], 63.0) == ()
    made = make(db, one_step("sales"), 70.0)
    assert [one.type for one in events_after(db, made.seq, 10) if one.txn == made.txn] == [
        "freshness_restored",
        "run_succeeded",
    ], "in the transaction that made it"
    restored = sales(db)
    assert (restored.baseline_seq, restored.baseline_at, restored.state) == (made.seq, 70.0, "fresh")
    next_lapse = FreshnessChange(replace(restored, state="lapsed"), "freshness_lapsed", 130.0)
    assert len(commit_freshness(db, [next_lapse, next_lapse], 131.0)) == 1


def test_a_change_of_an_asset_without_a_policy_is_dropped(db: sqlite3.Connection) -> None:
    lapse = FreshnessChange(replace(sales(db), state="lapsed"), "freshness_lapsed", 61.0)
    bare = replace(DEFINITIONS, assets=tuple(replace(asset, freshness=None) for asset in DEFINITIONS.assets))
    register_definitions(db, bare, 50.0)
    assert commit_freshness(db, [lapse], 62.0) == ()
    assert rows(db, "SELECT count(*) FROM lapses") == [0]


def test_a_lapse_that_a_materialization_has_overtaken_is_none(db: sqlite3.Connection) -> None:
    """The deadline came between a materialization's commit and the news of it."""
    before = sales(db)
    make(db, one_step("sales"))
    lapsed = FreshnessChange(replace(before, state="lapsed"), "freshness_lapsed", 61.0)
    assert commit_freshness(db, [lapsed], 62.0) == ()
    assert sales(db).state == "fresh"


# --- automation ----------------------------------------------------------------------------------------------


def test_an_evaluation_commits_its_memory_with_its_runs(db: sqlite3.Connection) -> None:
    assert automation_seq(db) == 0
    chunks = (ConditionChunk("raw", "0.1", 0, b"bits"), ConditionChunk("raw", "0.2", 1, b"more"))
    commit = AutomationCommit(7, 12.0, (one_step("sales"),), chunks, start=1, version="v1")
    (admitted,) = commit_automation(db, [commit])
    assert [event.type for event in admitted.events] == ["started"]
    assert admitted.runs[0].started[0].name == "sales"
    assert automation_seq(db) == 7
    assert condition_chunks(db) == chunks
    later = (ConditionChunk("raw", "0.1", 0, b""), ConditionChunk("raw", "0.2", 1, b"other"))
    assert commit_automation(db, [AutomationCommit(9, 13.0, (), later)])[0].events == ()
    assert automation_seq(db) == 9
    assert condition_chunks(db) == (ConditionChunk("raw", "0.2", 1, b"other"),)


def test_memory_of_many_nodes_is_written_and_replaced_as_that_of_few(db: sqlite3.Connection) -> None:
    keys = [(asset, f"node-{number:04}") for asset in ("raw", "sales") for number in range(1000)]
    alike = tuple(ConditionChunk(*key, 0, b"bits") for key in keys)
    commit_automation(db, [AutomationCommit(1, 1.0, (), alike)])
    assert sorted(condition_chunks(db)) == sorted(alike)
    changed = tuple(ConditionChunk(*key, 0, (b"", b"one", b"other")[place % 3]) for place, key in enumerate(keys))
    commit_automation(db, [AutomationCommit(2, 2.0, (), changed)])
    assert sorted(condition_chunks(db)) == sorted(one for one in changed if one.bits)


def test_of_an_asset_that_nothing_happened_to_there_are_no_states(db: sqlite3.Connection) -> None:
    assert "sales" not in asset_bits(db)
    make(db, one_step("sales"))
    found = asset_bits(db)["sales"]
    assert (list(found.materialized), list(found.failed), list(found.in_progress)) == ([0], [], [])
    admit(db, [one_step("sales")], start=1, needs={}, now=3.0, version="")
    found = asset_bits(db)["sales"]
    assert (list(found.materialized), list(found.failed), list(found.in_progress)) == ([0], [], [0])


# --- events --------------------------------------------------------------------------------------------------


def test_events_come_back_as_they_were_returned(db: sqlite3.Connection) -> None:
    start = last_seq(db)
    admitted, _ = admit(
        db, [one_step("raw", set="batches", key=key) for key in "ab"], start=1, needs={}, now=3.0, version=""
    )
    canceled = cancel_run(db, admitted.runs[1].run_id, 4.0)
    assert events_after(db, start, 100) == (*admitted.events, *canceled)
    assert last_seq(db) == canceled[-1].seq


@pytest.mark.parametrize("limit", range(1, 9))
def test_a_transaction_is_never_cut(db: sqlite3.Connection, limit: int) -> None:
    start = last_seq(db)
    sizes = [1, 3, 2, 1]
    for size in sizes:
        log = EventLog(db, 5.0)
        for _ in range(size):
            log.add("definitions_loaded")
        log.write()
    seen, pages = start, list[tuple[Event, ...]]()
    while page := events_after(db, seen, limit):
        pages.append(page)
        seen = page[-1].seq
    everything = [event for page in pages for event in page]
    assert [event.seq for event in everything] == list(range(start + 1, start + 1 + sum(sizes)))
    for page in pages:
        assert len(page) >= limit or page is pages[-1]
        txns = [event.txn for event in page]
        assert all(len([e for e in everything if e.txn == txn]) == txns.count(txn) for txn in txns)


def test_numbers_of_events_are_not_used_twice(db: sqlite3.Connection) -> None:
    last = last_seq(db)
    db.execute("DELETE FROM events")
    log = EventLog(db, 5.0)
    assert log.add("definitions_loaded") == last + 1
    assert log.write()[0].txn == last + 1


# --- queries -------------------------------------------------------------------------------------------------


def test_runs_by_state_target_and_page(db: sqlite3.Connection) -> None:
    for key in ("a", "b"):
        make(db, one_step("raw", set="batches", key=key))
    make(db, one_step("raw", set="batches", key="c"), outcome="failed")
    admit(db, [one_step("sales", priority=3, tags={"k": "v"})], start=0, needs={}, now=11.0, version="v1")
    assert [row.id for row in runs(db)] == [4, 3, 2, 1]
    assert [row.id for row in runs(db, target="raw", limit=2)] == [3, 2]
    assert [row.id for row in runs(db, target="raw", before=2)] == [1]
    assert [row.id for row in runs(db, state="failed")] == [3]
    assert [(row.id, row.priority, row.tags, row.steps[0].name) for row in runs(db, state="queued")] == [
        (4, 3, {"k": "v"}, "sales")
    ]
    one = run(db, 2)
    assert one is not None
    assert (one.set, one.partition, one.key, one.state, one.origin) == ("batches", 2, "b", "succeeded", "test")
    assert one.steps[0].metadata == {"rows": 1}
    assert run(db, 99) is None


def test_assets_as_they_were_made_last(db: sqlite3.Connection) -> None:
    for key in ("a", "b"):
        make(db, one_step("raw", set="batches", key=key), 10.0)
    make(db, one_step("raw", set="batches", key="a"), 12.0)
    make(db, one_step("raw", set="batches", key="c"), outcome="failed")
    admit(db, [one_step("raw", set="batches", key="d")], start=0, needs={}, now=11.0, version="v1")
    change_partitions(db, PartitionDelta("batches", delete=("b",)), 13.0)
    by_region, clean, raw, sales = asset_summaries(db)
    assert (raw.asset, raw.set) == ("raw", "batches")
    assert states(db, "materialized") == {("raw", 1)}
    assert states(db, "failed") == {("raw", 3)}
    assert states(db, "in_progress") == {("raw", 4)}
    assert (raw.materialized_at, raw.materialized_run, raw.metadata) == (12.0, 3, {"rows": 1})
    assert raw.freshness is not None
    assert (raw.freshness.state, raw.deadline) == ("fresh", 3612.0)
    assert (sales.set, sales.materialized_at, sales.deadline) == (None, None, 61.0)
    assert (clean.materialized_at, clean.freshness, clean.deadline) == (None, None, None)
    assert by_region.set == "regions"


def test_a_report_of_long_ago_is_not_what_was_made_last(db: sqlite3.Connection) -> None:
    populate(db, "a", "b", "c")
    make(db, one_step("raw", set="batches", key="a"), 100.0)
    for key, at in (("b", 50.0), ("c", 99.0)):
        report(db, ReportedMaterialization("raw", key, metadata={"by": key}, at=at), 200.0)
    raw = next(one for one in asset_summaries(db) if one.asset == "raw")
    assert (raw.materialized_at, raw.materialized_run, raw.metadata) == (100.0, 1, {"rows": 1})
    report(db, ReportedMaterialization("raw", "c", metadata={"by": "c"}, at=101.0), 200.0)
    raw = next(one for one in asset_summaries(db) if one.asset == "raw")
    assert (raw.materialized_at, raw.materialized_run, raw.metadata) == (101.0, None, {"by": "c"})


def test_a_report_leaves_the_value_that_a_run_kept(db: sqlite3.Connection) -> None:
    make(db, one_step("raw", set="batches", key="a"), 100.0)
    for at in (None, 150.0):
        report(db, ReportedMaterialization("raw", "a", at=at, data_version="other"), 120.0)
        kept = db.execute("SELECT value, data_version, run_id FROM asset_state WHERE partition = 1").fetchone()
        assert kept == (dump_value(VALUE), "other", None)


def test_partitions_with_their_states(db: sqlite3.Connection) -> None:
    make(db, one_step("raw", set="batches", key="a"))
    make(db, one_step("raw", set="batches", key="b"), outcome="failed")
    admit(db, [one_step("raw", set="batches", key="c")], start=0, needs={}, now=11.0, version="v1")
    change_partitions(db, PartitionDelta("batches", delete=("a",)), 13.0)
    page = partition_rows(db, "batches", limit=2, assets=("raw", "clean"))
    assert [(row.number, row.key, row.states) for row in page] == [
        (2, "b", {"raw": "failed", "clean": "missing"}),
        (3, "c", {"raw": "in_progress", "clean": "missing"}),
    ]
    assert [row.key for row in partition_rows(db, "batches", after=3)] == ["d"]
    first = partition_rows(db, "batches", deleted=True, assets=("raw",))[0]
    assert (first.key, first.deleted_at, first.metadata, first.states) == (
        "a", 13.0, {"path": "a"}, {"raw": "materialized"},
    )  # fmt: skip
    with pytest.raises(UnknownName, match="nothing"):
        partition_rows(db, "nothing")
