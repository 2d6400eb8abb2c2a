"""Outcomes in pieces: nothing before the decision, all of it afterwards, and the same as in one transaction."""

from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.support import one_step, open_database, populate, rows

from freshet.errors import TickRefused, UnknownName
from freshet.store.partitions import change_partitions
from freshet.store.pieces import decode, encode
from freshet.store.queries import ticks
from freshet.store.records import (
    Event,
    LedgerDelta,
    LedgerEntry,
    PartitionDelta,
    PartitionRef,
    ReportedMaterialization,
    RunToAdmit,
    StepToAdmit,
    TickCommit,
    TickerRow,
)
from freshet.store.records.stages import Carried, StagePiece, StageRow
from freshet.store.stages import begin_stage, carry_out, decide, drop_stage, stage_pieces, unfinished_stages
from freshet.store.tickers import register_ticker, set_paused, ticker
from freshet.store.ticks import commit_tick

HOUR = 3600.0


@pytest.fixture
def landing(db: sqlite3.Connection) -> TickerRow:
    populate(db, "a", "b")
    return register_ticker(db, "sensor", "landing")


def outcome(of: TickerRow, tick_id: int = 1, **parts: Any) -> TickCommit:
    return TickCommit(of.id, tick_id, of.revision, 10.0, 11.0, **parts)


def entry(n: int) -> LedgerEntry:
    return LedgerEntry(bytes([n]) * 16, bytes([n]) * 8, f"file-{n}")


def adding(*keys: str) -> StagePiece:
    return StagePiece(partitions=(PartitionDelta("batches", tuple((key, {}) for key in keys)),))


def staged(db: sqlite3.Connection, of: TickerRow, *pieces: StagePiece, tick_id: int = 1) -> int:
    stage_id = begin_stage(db, ticker_id=of.id, tick_id=tick_id, now=10.0)
    for at, piece in enumerate(pieces):
        stage_pieces(db, stage_id, at, [encode(piece)], None, 10.0)
    return stage_id


def carried_out(db: sqlite3.Connection, stage_id: int, **how: Any) -> list[Carried]:
    found = [carry_out(db, stage_id, **how)]
    while not found[-1].last:
        found.append(carry_out(db, stage_id, **how))
    return found


def everything(db: sqlite3.Connection) -> list[str]:
    """What the outcome could touch; stages aside."""
    return [line for line in db.iterdump() if 'INTO "stage' not in line and 'INTO "sqlite_sequence"' not in line]


def test_nothing_holds_before_the_decision_and_all_of_it_afterwards(db: sqlite3.Connection, landing: TickerRow) -> None:
    before = everything(db)
    pieces = (
        adding("c", "d"),
        StagePiece(ledger=LedgerDelta((entry(1),)), ends_ledger=True),
        StagePiece(reports=(ReportedMaterialization("clean", "c"),)),
        StagePiece(runs=(one_step("raw", set="batches", key="d", run_key="d"), one_step("sales"))),
    )
    stage_id = staged(db, landing, *pieces)
    assert unfinished_stages(db) == (StageRow(stage_id, decided=False),)
    assert everything(db) == before
    result = commit_tick(db, outcome(landing, cursor=7, cursor_changed=True, stage=stage_id))
    assert unfinished_stages(db) == (StageRow(stage_id, decided=True),)
    assert (result.events, ticker(db, landing.id).cursor, ticker(db, landing.id).ledger_revision) == ((), 7, 0)
    done = carried_out(db, stage_id, start=1, version="v1")
    assert [[event.type for event in one.result.events] for one in done] == [
        ["partition_added", "partition_added"],
        [],
        ["materialized"],
        ["started", "requested"],
    ]
    assert [one.result.ledger_revision for one in done] == [0, 1, 0, 0]
    assert [len(admission.started) for admission in done[-1].result.admitted] == [1, 0]
    assert done[-1].commit.runs == pieces[-1].runs
    (tick,) = ticks(db)
    assert (tick.runs, tick.partitions_added, tick.ledger_added, tick.cursor) == (2, 2, 1, 7)
    assert rows(db, "SELECT count(*) FROM stages") == rows(db, "SELECT count(*) FROM stage_pieces") == [0]
    assert unfinished_stages(db) == ()


def test_a_change_by_hand_refuses_the_decision_and_the_stage_is_dropped(
    db: sqlite3.Connection, landing: TickerRow
) -> None:
    stage_id = staged(db, landing, *(adding(f"k{n}") for n in range(50)))
    set_paused(db, landing.id, paused=True)
    before = everything(db)
    with pytest.raises(TickRefused, match="changed meanwhile"):
        commit_tick(db, outcome(landing, stage=stage_id))
    dropped = [drop_stage(db, stage_id) for _ in range(3)]
    assert dropped == [False, False, True]
    assert drop_stage(db, stage_id) is True
    assert everything(db) == before
    assert unfinished_stages(db) == ()


def test_a_stage_that_was_decided_is_not_dropped(db: sqlite3.Connection, landing: TickerRow) -> None:
    stage_id = begin_stage(db, ticker_id=None, tick_id=None, now=1.0)
    stage_pieces(db, stage_id, 0, [encode(adding("x"))], None, 1.0)
    decide(db, stage_id, 2.0)
    assert drop_stage(db, stage_id) is None
    (done,) = carried_out(db, stage_id)
    assert [(event.data, event.tick_id, event.at) for event in done.result.events] == [({"key": "x"}, None, 2.0)]


def test_what_cannot_be_is_refused_while_it_is_written_down(db: sqlite3.Connection, landing: TickerRow) -> None:
    stage_id = staged(db, landing)
    before = everything(db)
    for check in (
        StagePiece(runs=(one_step("raw", set="batches", key="a"), one_step("raw", set="batches", key="zz"))),
        StagePiece(reports=(ReportedMaterialization("clean", "zz"),)),
    ):
        with pytest.raises(UnknownName, match="'batches' has no key 'zz'"):
            stage_pieces(db, stage_id, 0, [encode(check)], check, 10.0)
        db.execute("ROLLBACK TO checked")
        db.execute("RELEASE checked")
    fine = StagePiece(
        reports=(ReportedMaterialization("clean", "a"),), runs=(one_step("raw", set="batches", key="a", run_key="a"),)
    )
    stage_pieces(db, stage_id, 0, [encode(fine)], fine, 10.0)
    assert everything(db) == before


def test_what_became_impossible_is_dropped_with_its_reason(db: sqlite3.Connection, landing: TickerRow) -> None:
    reports = tuple(ReportedMaterialization("clean", key) for key in ("a", "b"))
    runs = tuple(one_step("raw", set="batches", key=key, run_key=key) for key in ("a", "b", "a"))
    stage_id = staged(db, landing, StagePiece(reports=reports, runs=runs))
    commit_tick(db, outcome(landing, stage=stage_id))
    commit_tick(db, TickCommit(landing.id, 2, 0, 12.0, 12.0, partitions=(PartitionDelta("batches", delete=("b",)),)))
    (done,) = carried_out(db, stage_id)
    assert [event.type for event in done.result.events] == ["materialized", "requested"]
    assert [run.key for run in done.commit.runs] == ["a", "a"]
    (tick,) = [one for one in ticks(db) if one.id == 1]
    assert [(one["target"], one["key"], "no key 'b'" in one.get("reason", "")) for one in tick.dropped] == [
        ("raw", "a", False),
        ("clean", "b", True),
        ("raw", "b", True),
    ]
    assert rows(db, "SELECT partition FROM run_keys") == ["a"]


def test_pieces_without_runs_go_together_while_there_is_time(db: sqlite3.Connection, landing: TickerRow) -> None:
    pieces = [adding(f"k{n}") for n in range(5)]
    clock = iter([0.0, 1.0, 2.0, 3.0, 3.0, *(4.0 for _ in range(9))])
    stage_id = staged(db, landing, *pieces, StagePiece(runs=(one_step("sales"),)))
    commit_tick(db, outcome(landing, stage=stage_id))
    done = carried_out(db, stage_id, seconds=2.5, monotonic=lambda: next(clock))
    assert [one.pieces for one in done] == [3, 2, 1]
    assert [one.result.partitions_added for one in done] == [3, 2, 0]
    assert len({event.txn for event in done[0].result.events}) == 3


# --- the same as in one transaction -----------------------------------------------------------------------------

_KEYS = st.sampled_from([f"k{n:02}" for n in range(30)])
_METADATA = st.sampled_from([{}, {}, {"n": 1}])


@st.composite
def deltas(draw: st.DrawFn) -> PartitionDelta:
    if draw(st.booleans()):
        first = draw(st.integers(0, 60))
        keys = {f"k{n:02}": draw(_METADATA) for n in range(first, first + draw(st.integers(1, 40)))}
    else:
        keys = draw(st.dictionaries(_KEYS, _METADATA, max_size=5))
    return PartitionDelta("batches", tuple(keys.items()), tuple(draw(st.lists(_KEYS, max_size=20))))


@st.composite
def parts(draw: st.DrawFn) -> StagePiece:
    numbers = st.integers(0, 5)
    put = tuple(LedgerEntry(bytes([n]) * 16, bytes([draw(numbers)]) * 8, f"é{n}") for n in draw(st.lists(numbers)))
    remove = tuple(bytes([n]) * 16 for n in draw(st.lists(st.integers(6, 9))))
    run_keys = st.none() | st.sampled_from(["x", "y"])
    return StagePiece(
        partitions=tuple(draw(st.lists(deltas(), max_size=3))),
        ledger=LedgerDelta(put, remove),
        reports=tuple(draw(st.lists(st.just(ReportedMaterialization("sales", metadata={"n": 1})), max_size=2))),
        runs=tuple(one_step("sales", run_key=draw(run_keys)) for _ in range(draw(numbers))),
    )


def in_pieces(whole: StagePiece, sizes: list[int]) -> list[StagePiece]:
    """Keys, ledger, reports and runs in pieces of these sizes, in turn."""
    items: list[StagePiece] = []
    for delta in whole.partitions:
        items += [StagePiece(partitions=(replace(delta, add=(one,), delete=()),)) for one in delta.add]
        items += [StagePiece(partitions=(replace(delta, add=(), delete=(one,)),)) for one in delta.delete]
    items += [StagePiece(ledger=LedgerDelta(remove=(one,))) for one in whole.ledger.remove]
    items += [StagePiece(ledger=LedgerDelta(put=(one,))) for one in whole.ledger.put]
    ledger = len(items) if whole.ledger.put or whole.ledger.remove else 0
    items += [StagePiece(reports=(one,)) for one in whole.reports]
    items += [StagePiece(runs=(one,)) for one in whole.runs]
    if ledger:
        items[ledger - 1] = replace(items[ledger - 1], ends_ledger=True)
    pieces: list[StagePiece] = []
    while items:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(_joined(items[:size]))
        items = items[size:]
    return pieces


def _joined(items: list[StagePiece]) -> StagePiece:
    grouped: list[PartitionDelta] = []
    for delta in (delta for one in items for delta in one.partitions):
        if grouped and (delta.add or grouped[-1].delete) and not (delta.add and grouped[-1].delete):
            last = grouped.pop()
            delta = PartitionDelta("batches", (*last.add, *delta.add), last.delete + delta.delete)
        grouped.append(delta)
    return StagePiece(
        tuple(grouped),
        LedgerDelta(
            tuple(entry for one in items for entry in one.ledger.put),
            tuple(digest for one in items for digest in one.ledger.remove),
        ),
        any(one.ends_ledger for one in items),
        tuple(report for one in items for report in one.reports),
        tuple(run for one in items for run in one.runs),
    )


def state_of(db: sqlite3.Connection) -> dict[str, list[Any]]:
    tables = {
        "partitions": "set_id, key, deleted_at IS NULL, generation, metadata, added_at",
        "ledger": "*",
        "tickers": "*",
        "ticks": "id, runs, partitions_added, ledger_added, cursor, dropped",
        "run_keys": "*",
        "runs": "id, target, state, run_key, tick_id, created_at",
        "asset_state": "asset_id, partition, materialized_at, metadata",
    }
    return {name: rows(db, f"SELECT {columns} FROM {name} ORDER BY 1, 2, 3") for name, columns in tables.items()}


def told(events: list[Event]) -> list[tuple[Any, ...]]:
    """What events say, partition by partition."""
    single: list[tuple[Any, ...]] = []
    for event in events:
        if event.type in ("partition_added", "partition_deleted"):
            single += [(event.type, event.set, number) for number in event.numbers]
        else:
            single.append((event.type, event.asset, event.partition, event.run_id))
    return single


@settings(max_examples=60, deadline=None)
@given(parts(), parts(), st.lists(st.integers(1, 30), min_size=1))
def test_the_same_as_in_one_transaction(first: StagePiece, second: StagePiece, sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain, other = open_database(Path(folder) / "plain.db"), open_database(Path(folder) / "pieces.db")
        live = [set[int](), set[int]()]
        try:
            for db in (plain, other):
                populate(db, "k00", "k01", "k40")
            for tick_id, whole in enumerate((first, second), 1):
                parts = {name: getattr(whole, name) for name in ("partitions", "ledger", "reports", "runs")}
                row = register_ticker(plain, "sensor", "landing")
                commit = outcome(row, tick_id, cursor=tick_id, cursor_changed=True)
                events = list(commit_tick(plain, replace(commit, **parts)).events)
                register_ticker(other, "sensor", "landing")
                pieces = in_pieces(whole, sizes) or [StagePiece()]
                stage_id = staged(other, row, *pieces, tick_id=tick_id)
                commit_tick(other, replace(commit, stage=stage_id))
                done = carried_out(other, stage_id)
                for held, said in zip(live, (events, [e for one in done for e in one.result.events]), strict=True):
                    for event in told(said):
                        if event[0] == "partition_added":
                            held.add(event[2])
                        elif event[0] == "partition_deleted":
                            held.discard(event[2])
            assert _by_key(plain) == _by_key(other)
            assert live[0] | {1, 2, 3} >= set(rows(plain, _LIVE))
            for held, db in zip(live, (plain, other), strict=True):
                assert held - {1, 2, 3} == set(rows(db, _LIVE)) - {1, 2, 3}
        finally:
            plain.close()
            other.close()


_LIVE = "SELECT number FROM partitions WHERE set_id = 1 AND deleted_at IS NULL"


def _by_key(db: sqlite3.Connection) -> dict[str, list[Any]]:
    found = state_of(db)
    found["partitions"].sort()
    return found


@given(parts())
def test_a_piece_comes_back_as_it_was_written_down(piece: StagePiece) -> None:
    part = PartitionRef("regions", "north", 3)
    run = RunToAdmit(
        "asset",
        "clean",
        (StepToAdmit("raw"), StepToAdmit("clean", (0,), partitioned=False)),
        "sensor:x",
        set="both",
        key="a=1|b=2",
        parts=(part, PartitionRef("batches", "é")),
        run_key="k",
        params={"deep": [1, {"x": None}]},
        tags={"a": "b"},
        priority=-3,
    )
    full = replace(
        piece, runs=(*piece.runs, run), reports=(ReportedMaterialization("raw", "k", 4, (part,), {"f": 1.5}),)
    )
    assert decode(encode(full)) == full


def test_what_is_refused_of_a_tick_whose_row_has_gone_is_left_out(db: sqlite3.Connection, landing: TickerRow) -> None:
    run = one_step("raw", set="batches", key="b")
    stage_id = staged(db, landing, adding("c"), StagePiece(runs=(run,)))
    commit_tick(db, outcome(landing, stage=stage_id))
    change_partitions(db, PartitionDelta("batches", delete=("b",)), 12.0)
    db.execute("DELETE FROM ticks")
    while not carry_out(db, stage_id).last:
        pass
    assert rows(db, "SELECT count(*) FROM runs") == [0]
    assert rows(db, "SELECT key FROM partitions WHERE deleted_at IS NULL AND key > 'a' AND set_id = 1") == ["c"]


@pytest.mark.parametrize("kind", ["static", "time"])
def test_keys_for_a_set_that_is_of_another_kind_since_are_left_out_with_the_reason(
    db: sqlite3.Connection, landing: TickerRow, kind: str
) -> None:
    stage_id = staged(db, landing, adding("c"))
    commit_tick(db, outcome(landing, stage=stage_id))
    db.execute("UPDATE partition_sets SET kind = ? WHERE name = 'batches'", (kind,))
    assert carry_out(db, stage_id).last
    assert rows(db, "SELECT count(*) FROM partitions WHERE key = 'c'") == [0]
    (tick,) = ticks(db)
    (dropped,) = tick.dropped
    assert dropped["set"] == "batches" and kind in dropped["reason"]
