"""What `freshet status` and a dry run ask the store: what failed, and which run keys are taken."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from tests.store.support import one_step, populate
from tests.store.test_assets import make

from freshet.store.admission import admit
from freshet.store.partitions import change_partitions
from freshet.store.queries import failures, run_key_holders, runs
from freshet.store.records import PartitionDelta, StepToAdmit


def test_failed_partitions_are_those_that_stand_and_are_there(db: sqlite3.Connection) -> None:
    populate(db, "a", "b")
    for key in ("a", "b"):
        make(db, one_step("raw", set="batches", key=key), outcome="failed")
    make(db, one_step("sales"), outcome="failed")
    assert failures(db, since=0.0).partitions == {"raw": 2, "sales": 1}
    make(db, one_step("raw", set="batches", key="a"))
    assert failures(db, since=0.0).partitions == {"raw": 1, "sales": 1}
    change_partitions(db, PartitionDelta("batches", delete=("b",)), 9.0)
    found = failures(db, since=0.0)
    assert (found.partitions, found.runs) == ({"sales": 1}, 3)
    assert failures(db, since=1e12).runs == 0


def test_what_failed_is_found_by_index(db: sqlite3.Connection) -> None:
    asked: list[str] = []
    db.set_trace_callback(asked.append)
    failures(db, since=1.0)
    db.set_trace_callback(None)
    plans = [row[3] for sql in asked for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
    for index in ("asset_state_failed", "runs_failed"):
        assert any(index in plan for plan in plans), plans


def test_runs_are_found_by_any_of_their_steps(db: sqlite3.Connection) -> None:
    populate(db, "a", "b")
    both = replace(one_step("sales"), steps=(StepToAdmit("by_region"), StepToAdmit("sales", (0,))))
    admit(db, [both, one_step("sales")], start=0, needs={}, now=3.0, version="v1")
    assert [row.id for row in runs(db, step="by_region")] == [1]
    assert [row.id for row in runs(db, step="sales")] == [2, 1]


def test_taken_run_keys_name_their_runs(db: sqlite3.Connection) -> None:
    populate(db, "a", "b")
    keyed = [
        replace(one_step("sales"), run_key="x"),
        replace(one_step("raw", set="batches", key="a"), run_key="x"),
    ]
    admit(db, keyed, start=0, needs={}, now=3.0, version="v1")
    free = ("sales", None, "y")
    assert run_key_holders(db, [("sales", None, "x"), free, ("raw", "a", "x"), ("raw", "b", "x")]) == {
        ("sales", None, "x"): 1,
        ("raw", "a", "x"): 2,
    }
