"""The outcome of a tick commits whole, once, or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.store.support import one_step, populate, rows

from freshet.errors import Conflict, FreshetError, TickRefused, UnknownName
from freshet.store.assets import asset_bits
from freshet.store.queries import asset_summaries, run, ticks
from freshet.store.records import (
    DroppedRequest,
    InputNeed,
    LedgerDelta,
    LedgerEntry,
    PartitionDelta,
    ReportedMaterialization,
    RunToAdmit,
    StepToAdmit,
    TickCommit,
    TickError,
    TickerRow,
)
from freshet.store.tickers import (
    bump_revision,
    count_refused,
    count_ticks,
    ledger_keys,
    ledger_page,
    load_tickers,
    next_tick_id,
    register_ticker,
    resume,
    set_cursor,
    set_paused,
    ticker,
)
from freshet.store.ticks import commit_tick, fail_tick


@pytest.fixture
def landing(db: sqlite3.Connection) -> TickerRow:
    populate(db, "a", "b")
    return register_ticker(db, "sensor", "landing")


def outcome(of: TickerRow, tick_id: int = 1, **parts: Any) -> TickCommit:
    return TickCommit(of.id, tick_id, of.revision, 10.0, 11.0, **parts)


def failure(db: sqlite3.Connection, of: TickerRow, tick_id: int, failures: int = 1, **more: Any) -> TickerRow:
    parts: dict[str, Any] = {"status": "failed", "error": TickError("ValueError", "no"), "retry_at": 40.0}
    parts |= {"quarantined": None, "started_at": 10.0, "ended_at": 11.0, "failures": failures, **more}
    row, _ = fail_tick(db, ticker_id=of.id, tick_id=tick_id, revision=of.revision, **parts)
    return row


def entry(n: int) -> LedgerEntry:
    return LedgerEntry(bytes([n]) * 16, bytes([n]) * 8, f"file-{n}")


def test_everything_of_an_outcome_commits_in_one_transaction(db: sqlite3.Connection, landing: TickerRow) -> None:
    commit = outcome(
        landing,
        cursor={"at": 5},
        cursor_changed=True,
        ledger=LedgerDelta((entry(1), entry(2))),
        partitions=(PartitionDelta("batches", (("c", {"path": "c.csv"}),), ("b",)),),
        runs=(one_step("raw", set="batches", key="c", run_key="c.csv"), one_step("sales")),
        reports=(ReportedMaterialization("clean", "a", metadata={"rows": 3}),),
        start=1,
        needs={"raw": ()},
        version="v1",
    )
    result = commit_tick(db, commit)
    assert [event.type for event in result.events] == [
        "partition_added",
        "partition_deleted",
        "materialized",
        "started",
        "requested",
    ]
    assert {(event.txn, event.tick_id) for event in result.events} == {(result.events[0].seq, 1)}
    assert result.partitions_added == 1
    first, second = result.admitted
    (step,) = first.started
    assert (step.name, step.key, step.partition, step.partition_metadata) == ("raw", "c", 3, {"path": "c.csv"})
    assert (second.request, second.started) == (1, ())
    started = run(db, first.run_id)
    assert started is not None
    assert (started.state, started.steps[0].state, started.steps[0].attempt) == ("started", "started", 1)
    assert (started.version, started.started_at, started.key, started.run_key) == ("v1", 11.0, "c", "c.csv")
    row = ticker(db, landing.id)
    assert (row.cursor, row.last_tick, row.ticks, row.idle_ticks, row.last_ok_at) == ({"at": 5}, 1, 1, 0, 11.0)
    assert row.ledger_revision == result.ledger_revision == 1
    (tick,) = ticks(db, sensor="landing")
    assert (tick.status, tick.cursor_before, tick.cursor, tick.runs) == ("committed", None, {"at": 5}, 2)
    assert (tick.partitions_added, tick.ledger_added) == (1, 2)
    (clean,) = (one for one in asset_summaries(db) if one.asset == "clean")
    assert (asset_bits(db)["clean"].latest_seq, clean.materialized_at) == (result.events[2].seq, 11.0)


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ({"runs": (one_step("raw", set="batches", key="zz"),)}, UnknownName),
        ({"runs": (one_step("rav", set="batches", key="a"),)}, UnknownName),
        ({"partitions": (PartitionDelta("nowhere", (("k", {}),)),)}, UnknownName),
        ({"reports": (ReportedMaterialization("clean", "zz"),)}, UnknownName),
        ({"reports": (ReportedMaterialization("nothing"),)}, UnknownName),
        ({"reports": (ReportedMaterialization("clean"),)}, Conflict),
        ({"reports": (ReportedMaterialization("sales", "a"),)}, Conflict),
    ],
)
def test_what_is_not_there_fails_the_tick_with_its_name(
    db: sqlite3.Connection, landing: TickerRow, parts: dict[str, Any], error: type[FreshetError]
) -> None:
    with pytest.raises(error, match=r"zz|rav|nowhere|nothing|clean|sales"):
        commit_tick(db, outcome(landing, **parts))


def test_an_unknown_key_names_set_and_key(db: sqlite3.Connection, landing: TickerRow) -> None:
    with pytest.raises(UnknownName, match="'batches' has no key 'zz'"):
        commit_tick(db, outcome(landing, runs=(one_step("raw", set="batches", key="zz"),)))


@pytest.mark.parametrize(
    "change",
    [
        bump_revision,
        partial(set_cursor, cursor={"by": "hand"}),
        partial(set_paused, paused=True),
        partial(set_paused, paused=False),
        resume,
    ],
)
def test_any_change_by_hand_refuses_the_tick_in_flight(
    db: sqlite3.Connection, landing: TickerRow, change: Callable[[sqlite3.Connection, int], TickerRow]
) -> None:
    changed = change(db, landing.id)
    assert changed.revision == landing.revision + 1
    before = list(db.iterdump())
    with pytest.raises(TickRefused, match="changed meanwhile"):
        commit_tick(db, outcome(landing, cursor=1, cursor_changed=True))
    with pytest.raises(TickRefused):
        failure(db, landing, 1)
    assert list(db.iterdump()) == before
    assert commit_tick(db, outcome(changed, cursor=1, cursor_changed=True)).events == ()


def test_a_doubled_or_late_outcome_is_refused_and_counted(db: sqlite3.Connection, landing: TickerRow) -> None:
    commit_tick(db, outcome(landing, 5, runs=(one_step("sales"),)))
    for late in (5, 4):
        with pytest.raises(TickRefused, match="tick 5"):
            commit_tick(db, outcome(landing, late, runs=(one_step("sales"),)))
        count_refused(db, landing.id)
    assert rows(db, "SELECT count(*) FROM runs") == [1]
    assert ticker(db, landing.id).refused == 2


def test_ticks_that_did_nothing_are_counted_not_stored(db: sqlite3.Connection, landing: TickerRow) -> None:
    commit_tick(db, outcome(landing, 1, skip="nothing new"))
    count_ticks(db, [(landing.id, 7, 7, 20.0)])
    row = ticker(db, landing.id)
    assert (row.ticks, row.idle_ticks, row.last_tick_at, row.last_ok_at) == (8, 8, 20.0, 20.0)
    assert ticks(db) == ()


def test_a_checkpoint_is_not_the_end_of_its_tick(db: sqlite3.Connection, landing: TickerRow) -> None:
    failing = failure(db, landing, 1)
    commit_tick(db, outcome(failing, 2, cursor=1, cursor_changed=True, final=False))
    row = ticker(db, landing.id)
    assert (row.cursor, row.ticks, row.failures, row.retry_at) == (1, 1, 1, 40.0)
    result = commit_tick(db, outcome(row, 3, cursor=2, cursor_changed=True))
    assert [event.type for event in result.events] == ["ticker_recovered"]
    row = ticker(db, landing.id)
    assert (row.cursor, row.ticks, row.failures, row.retry_at, row.last_ok_at) == (2, 2, 0, None, 11.0)
    assert [tick.id for tick in ticks(db)] == [3, 2, 1]


def test_failures_are_rows_and_their_transitions_events(db: sqlite3.Connection, landing: TickerRow) -> None:
    def fail(tick_id: int, failures: int, **more: Any) -> list[str]:
        parts: dict[str, Any] = {
            "status": "failed",
            "error": TickError("E", "why", "trace"),
            "quarantined": None,
            **more,
        }
        _, events = fail_tick(
            db, ticker_id=landing.id, tick_id=tick_id, revision=0, failures=failures, retry_at=9.0, started_at=1.0,
            ended_at=2.0, **parts,
        )  # fmt: skip
        return [event.type for event in events]

    assert fail(1, 0, status="later", error=None) == []
    assert fail(2, 1) == ["ticker_failing"]
    assert fail(3, 2) == []
    assert fail(4, 3, status="given_up", quarantined="why") == ["ticker_quarantined"]
    row = ticker(db, landing.id)
    assert (row.failures, row.retry_at, row.quarantined) == (3, 9.0, "why")
    assert row.last_error == {"type": "E", "message": "why", "traceback": "trace"}
    assert [tick.status for tick in ticks(db)] == ["given_up", "failed", "failed", "later"]
    released = resume(db, landing.id)
    assert (released.quarantined, released.failures, released.retry_at) == (None, 0, None)


def test_tick_ids_go_on_after_a_restart(db: sqlite3.Connection, landing: TickerRow) -> None:
    assert next_tick_id(db) == 1
    commit_tick(db, outcome(landing, 41))
    assert next_tick_id(db) == 42
    failure(db, landing, 50)
    assert next_tick_id(db) == 51


def test_tickers_are_registered_once(db: sqlite3.Connection, landing: TickerRow) -> None:
    assert register_ticker(db, "sensor", "landing") == landing
    other = register_ticker(db, "freshness", "landing")
    assert other.id != landing.id
    assert load_tickers(db) == (landing, other)
    assert load_tickers(db, "freshness") == (other,)
    with pytest.raises(UnknownName):
        ticker(db, 99)


# --- ledger --------------------------------------------------------------------------------------------------


def test_the_ledger_is_applied_and_paged(db: sqlite3.Connection, landing: TickerRow) -> None:
    first = commit_tick(db, outcome(landing, 1, ledger=LedgerDelta(tuple(entry(n) for n in range(1, 8)))))
    newer = LedgerEntry(entry(2).digest, b"newer...", "file-2")
    second = commit_tick(db, outcome(landing, 2, ledger=LedgerDelta((newer,), (entry(3).digest, entry(99).digest))))
    third = commit_tick(db, outcome(landing, 3, cursor=1, cursor_changed=True))
    assert [result.ledger_revision for result in (first, second, third)] == [1, 2, 2]
    found: list[LedgerEntry] = []
    while page := ledger_page(db, landing.id, found[-1].digest if found else b"", 4):
        assert len(page) <= 4
        found += page
    assert found == [entry(1), newer, *(entry(n) for n in range(4, 8))]
    assert ledger_page(db, landing.id + 1, b"", 4) == ()
    assert ledger_keys(db, landing.id, [entry(4).digest, entry(3).digest]) == {entry(4).digest: "file-4"}
    assert rows(db, "SELECT tick_id FROM ledger WHERE digest = ?", newer.digest) == [2]


# --- run keys ------------------------------------------------------------------------------------------------


def test_a_run_key_admits_one_run_through_any_replays(db: sqlite3.Connection, landing: TickerRow) -> None:
    wanted = one_step("raw", set="batches", key="a", run_key="a.csv")
    first = commit_tick(db, outcome(landing, 1, runs=(wanted, wanted), start=2))
    (admitted,) = first.admitted
    assert first.dropped == (DroppedRequest("raw", "a", "a.csv", admitted.run_id),)
    assert len(admitted.started) == 1
    again = commit_tick(db, outcome(landing, 2, runs=(wanted, one_step("sales", run_key="a.csv"))))
    assert again.dropped == first.dropped
    assert [admission.request for admission in again.admitted] == [1]
    (latest, _) = ticks(db)
    held = {"run_key": "a.csv", "run_id": admitted.run_id, "reason": "run_key"}
    assert latest.dropped == [{"target": "raw", "key": "a", **held}]
    assert rows(db, "SELECT count(*) FROM run_keys") == [2]


def test_a_run_key_holds_for_its_target_and_partition_and_outlives_its_run(
    db: sqlite3.Connection, landing: TickerRow
) -> None:
    same = [
        one_step("raw", set="batches", key="a", run_key="k"),
        one_step("raw", set="batches", key="b", run_key="k"),
        one_step("clean", set="batches", key="a", run_key="k"),
        one_step("raw", set="batches", key="a"),
    ]
    assert len(commit_tick(db, outcome(landing, 1, runs=tuple(same))).admitted) == 4
    db.execute("DELETE FROM steps")
    db.execute("DELETE FROM runs")
    result = commit_tick(db, outcome(landing, 2, runs=tuple(same)))
    assert [admission.request for admission in result.admitted] == [3]
    assert [dropped.run_id for dropped in result.dropped] == [1, 2, 3]
    assert result.admitted[0].run_id == 5  # ids are never used twice


def test_started_steps_are_counted_over_the_runs_and_only_those_without_needs(
    db: sqlite3.Connection, landing: TickerRow
) -> None:
    chain = RunToAdmit("asset", "clean", (StepToAdmit("raw"), StepToAdmit("clean", (0,))), "test", "batches", "a")
    pair = RunToAdmit("asset", "clean", (StepToAdmit("raw"), StepToAdmit("clean")), "test", "batches", "b")
    call = RunToAdmit("job", "notify", (StepToAdmit("notify"),), "test", params={"n": 1})
    needs = {"raw": (), "clean": (InputNeed("raw", "all", "batches"),)}
    result = commit_tick(db, outcome(landing, 1, runs=(chain, pair, call), start=3, needs=needs))
    assert [[step.position for step in admission.started] for admission in result.admitted] == [[0], [0, 1], []]
    assert result.admitted[1].started[1].bulk == ("raw",)
    assert [(event.type, event.asset) for event in result.events] == [
        ("started", "raw"),
        ("requested", "clean"),
        ("started", "raw"),
        ("started", "clean"),
    ]
    assert rows(db, "SELECT state FROM runs ORDER BY id") == ["started", "started", "queued"]
