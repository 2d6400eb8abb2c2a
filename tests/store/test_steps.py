"""Runs from admission to their end: what is published, what waits, what is said."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any, Literal

import pytest
from pyroaring import BitMap
from tests.store.support import VALUE, one_step, populate, rows, states

from freshet.errors import Conflict, UnknownName, ValueFormatError
from freshet.store.admission import admit
from freshet.store.finishing import finish_step
from freshet.store.inputs import read_inputs
from freshet.store.partitions import change_partitions
from freshet.store.queries import run as read_run
from freshet.store.records import (
    Event,
    InputNeed,
    PartitionDelta,
    RunRow,
    RunToAdmit,
    StepResult,
    StepToAdmit,
    StepToRun,
    ValueRef,
)
from freshet.store.recovery import recover
from freshet.store.steps import cancel_run, queued_steps, start_steps

CHAIN = RunToAdmit(
    "asset",
    "sales",
    (StepToAdmit("raw"), StepToAdmit("clean", (0,)), StepToAdmit("sales", (1,), partitioned=False)),
    "test",
    "batches",
    "a",
)
CALL = RunToAdmit("job", "notify", (StepToAdmit("notify"),), "test", params={"n": 1}, tags={"team": "a"})


def begin(db: sqlite3.Connection, run: RunToAdmit, **needs: tuple[InputNeed, ...]) -> StepToRun:
    """Admit a run with its first step started."""
    admitted, _ = admit(db, [run], start=1, needs=needs, now=10.0, version="v1")
    return admitted.runs[0].started[0]


def ended(step: StepToRun, outcome: Any = "succeeded", **more: Any) -> StepResult:
    value = VALUE if outcome == "succeeded" else None
    return replace(StepResult(step.run_id, step.position, step.attempt, outcome, 20.0, value), **more)


def start(db: sqlite3.Connection, run_id: int, position: int, *needs: InputNeed) -> StepToRun:
    name = rows(db, "SELECT name FROM steps WHERE run_id = ? AND position = ?", run_id, position)[0]
    (step,) = start_steps(db, [(run_id, position)], needs={name: needs}, now=15.0, version="v2").steps
    return step


def said(events: tuple[Event, ...]) -> list[tuple[str, str | None, int | None]]:
    return [(event.type, event.asset, event.partition) for event in events]


def get(db: sqlite3.Connection, run_id: int) -> RunRow:
    row = read_run(db, run_id)
    assert row is not None
    return row


@pytest.fixture(autouse=True)
def _populated(db: sqlite3.Connection) -> None:
    populate(db, "a", "b", "c")


def test_a_run_goes_down_its_chain(db: sqlite3.Connection) -> None:
    raw = begin(db, CHAIN)
    assert [step.position for step in queued_steps(db)] == []
    finished = finish_step(db, ended(raw, metadata={"rows": 3}))
    assert said(finished.events) == [("materialized", "raw", 1)]
    assert finished.events[0].data == {"metadata": {"rows": 3}, "begun": 10.0}
    assert [step.position for step in finished.queued] == [1]
    clean = start(db, raw.run_id, 1, InputNeed("raw", "identity", "batches"))
    assert clean.inputs == {"raw": {"a": VALUE}}
    assert (clean.set, clean.key, clean.partition_metadata) == ("batches", "a", {"path": "a"})
    finish_step(db, ended(clean))
    sales = start(db, raw.run_id, 2, InputNeed("clean", "all", "batches"))
    assert (sales.set, sales.key, sales.partition, sales.bulk) == (None, None, 0, ("clean",))
    finished = finish_step(db, ended(sales))
    assert said(finished.events) == [("materialized", "sales", 0), ("run_succeeded", None, None)]
    assert finished.events[1].data == {"kind": "asset", "target": "sales"}
    row = get(db, raw.run_id)
    assert (row.state, row.started_at, row.ended_at, row.version) == ("succeeded", 10.0, 20.0, "v2")
    assert row.steps[0].metadata == {"rows": 3}


def test_a_failure_for_good_skips_everything_below_it(db: sqlite3.Connection) -> None:
    raw = begin(db, CHAIN)
    finished = finish_step(db, ended(raw, "failed", error={"type": "ValueError", "message": "no"}))
    assert said(finished.events) == [
        ("failed", "raw", 1),
        ("released", "clean", 1),
        ("released", "sales", 0),
        ("run_failed", None, None),
    ]
    row = get(db, raw.run_id)
    assert [step.state for step in row.steps] == ["failed", "skipped", "skipped"]
    assert row.steps[0].error == {"type": "ValueError", "message": "no"}
    assert (states(db, "failed"), states(db, "materialized")) == ({("raw", 1)}, set())


def test_a_failure_keeps_the_last_good_value_and_a_success_ends_it(db: sqlite3.Connection) -> None:
    finish_step(db, ended(begin(db, one_step("raw", set="batches", key="a"))))
    finish_step(db, ended(begin(db, one_step("raw", set="batches", key="a")), "failed"))
    assert read_inputs(db, "raw", "batches", BitMap([1, 2, 3])) == ({"a": VALUE}, BitMap([2, 3]))
    assert states(db, "failed") == states(db, "materialized") == {("raw", 1)}
    newer = ValueRef("raw/a/2.json", "json", 1, "ff")
    finish_step(db, ended(begin(db, one_step("raw", set="batches", key="a")), value=newer))
    assert read_inputs(db, "raw", "batches", BitMap([1]))[0] == {"a": newer}
    assert (states(db, "failed"), states(db, "materialized")) == (set(), {("raw", 1)})


def test_a_retry_waits_and_counts(db: sqlite3.Connection) -> None:
    step = begin(db, one_step("raw", set="batches", key="a"))
    finished = finish_step(db, ended(step, "failed", retry_at=25.0, error={"message": "no"}))
    assert finished.events == ()
    assert [(one.position, one.not_before) for one in finished.queued] == [(0, 25.0)]
    assert queued_steps(db) == finished.queued
    assert states(db, "in_progress") == {("raw", 1)}
    again = start(db, step.run_id, 0)
    assert (again.attempt, again.failures) == (2, 1)
    assert get(db, step.run_id).steps[0].error is None
    assert finish_step(db, ended(step)).refused
    assert not finish_step(db, ended(again)).refused
    assert finish_step(db, ended(again)).refused


def test_an_attempt_that_was_not_received_is_given_back(db: sqlite3.Connection) -> None:
    step = begin(db, one_step("raw", set="batches", key="a"))
    finished = finish_step(db, ended(step, "lost"))
    assert (finished.run_state, finished.events) == ("queued", ())
    assert [one.position for one in finished.queued] == [0]
    assert start(db, step.run_id, 0).attempt == 1


def test_a_second_run_of_the_same_partition_is_still_in_progress(db: sqlite3.Connection) -> None:
    one, two = (begin(db, one_step("raw", set="batches", key="a")) for _ in range(2))
    assert [event.idle for event in finish_step(db, ended(one)).events] == [False, True]
    assert [event.idle for event in finish_step(db, ended(two)).events] == [True, True]


def test_interruptions_have_a_budget_of_their_own(db: sqlite3.Connection) -> None:
    step = begin(db, CHAIN)
    for count in range(1, 11):
        finished = finish_step(db, ended(step, "interrupted"))
        assert said(finished.events) == [("run_interrupted", None, None)]
        assert finished.events[0].data == {"interruptions": count}
        step = start(db, step.run_id, 0)
        assert (step.attempt, step.failures) == (count + 1, 0)
    finished = finish_step(db, ended(step, "interrupted"))
    assert finished.run_state == "failed"
    assert finished.queued == ()
    row = get(db, step.run_id)
    assert [one.state for one in row.steps] == ["failed", "skipped", "skipped"]
    assert "cut off 11 times" in row.error["message"]
    assert row.steps[0].error == row.error


def test_start_up_queues_what_was_cut_off_and_counts_it(db: sqlite3.Connection) -> None:
    cut, waiting, retrying, canceling = begin(db, CHAIN), one_step("sales"), begin(db, CALL), begin(db, CHAIN)
    admit(db, [waiting], start=0, needs={}, now=10.0, version="v1")
    finish_step(db, ended(retrying, "failed", retry_at=99.0))
    cancel_run(db, canceling.run_id, 12.0)
    recovery = recover(db, 30.0)
    assert (recovery.requeued, recovery.failed) == (1, ())
    assert said(recovery.events) == [
        ("released", "raw", 1),
        ("run_canceled", None, None),
        ("run_interrupted", None, None),
    ]
    assert recovery.events[0].idle is False
    states = {run.id: (run.state, run.interruptions) for run in (get(db, n) for n in range(1, 5))}
    assert states == {1: ("queued", 1), 2: ("started", 0), 3: ("canceled", 0), 4: ("queued", 0)}
    assert [(step.run_id, step.not_before) for step in queued_steps(db)] == [(1, None), (2, 99.0), (4, None)]
    assert finish_step(db, ended(cut)).refused
    assert recover(db, 31.0).events == ()
    assert start(db, 1, 0).attempt == 2


def test_start_up_fails_a_run_whose_budget_is_spent(db: sqlite3.Connection) -> None:
    begin(db, CHAIN)
    step = begin(db, CHAIN)
    db.execute("UPDATE runs SET interruptions = 10 WHERE id = ?", (step.run_id,))
    recovery = recover(db, 30.0)
    assert (recovery.requeued, recovery.failed) == (1, (step.run_id,))
    assert [one.state for one in get(db, step.run_id).steps] == ["failed", "skipped", "skipped"]
    assert recover(db, 31.0, budget=0).failed == ()


# --- cancel --------------------------------------------------------------------------------------------------


def test_what_waits_is_canceled_at_once(db: sqlite3.Connection) -> None:
    admit(db, [CHAIN], start=0, needs={}, now=10.0, version="v1")
    assert said(cancel_run(db, 1, 12.0)) == [
        ("released", "raw", 1),
        ("released", "clean", 1),
        ("released", "sales", 0),
        ("run_canceled", None, None),
    ]
    assert queued_steps(db) == ()
    with pytest.raises(Conflict, match="has ended"):
        cancel_run(db, 1, 13.0)
    with pytest.raises(UnknownName):
        cancel_run(db, 99, 13.0)


@pytest.mark.parametrize(
    ("outcome", "retry_at", "step_state", "run_state"),
    [
        ("canceled", None, "canceled", "canceled"),
        ("succeeded", None, "succeeded", "canceled"),
        ("failed", None, "failed", "failed"),
        ("failed", 50.0, "canceled", "canceled"),
        ("lost", None, "canceled", "canceled"),
        ("interrupted", None, "canceled", "canceled"),
    ],
)
def test_what_runs_is_waited_for(
    db: sqlite3.Connection, outcome: str, retry_at: float | None, step_state: str, run_state: str
) -> None:
    step = begin(db, CHAIN)
    assert said(cancel_run(db, step.run_id, 12.0)) == [("released", "clean", 1), ("released", "sales", 0)]
    assert get(db, step.run_id).state == "canceling"
    assert cancel_run(db, step.run_id, 13.0) == ()
    finished = finish_step(db, ended(step, outcome, retry_at=retry_at))
    assert (finished.run_state, finished.queued) == (run_state, ())
    assert get(db, step.run_id).steps[0].state == step_state


def test_a_canceled_step_is_not_started(db: sqlite3.Connection) -> None:
    admit(db, [CALL], start=0, needs={}, now=10.0, version="v1")
    cancel_run(db, 1, 12.0)
    started = start_steps(db, [(1, 0), (77, 0)], needs={}, now=13.0, version="v1")
    assert (started.steps, started.events) == ((), ())


# --- jobs ----------------------------------------------------------------------------------------------------


def test_a_job_has_params_and_no_asset(db: sqlite3.Connection) -> None:
    step = begin(db, CALL)
    assert (step.kind, step.params, step.tags, step.set, step.inputs) == ("job", {"n": 1}, {"team": "a"}, None, {})
    finished = finish_step(db, ended(step, value=None))
    assert said(finished.events) == [("run_succeeded", None, None)]
    assert finished.events[0].data == {"kind": "job", "target": "notify"}
    assert states(db, "materialized") == set()


def test_what_json_cannot_hold_is_refused_with_a_reason(db: sqlite3.Connection) -> None:
    with pytest.raises(ValueFormatError, match="64-bit"):
        admit(db, [replace(CALL, params={"n": 2**70})], start=0, needs={}, now=1.0, version="v1")


# --- inputs --------------------------------------------------------------------------------------------------


def need(mapping: Literal["identity", "all", "last"]) -> InputNeed:
    return InputNeed("raw", mapping, "batches")


def test_inputs_by_mapping(db: sqlite3.Connection) -> None:
    for key in ("a", "b"):
        finish_step(db, ended(begin(db, one_step("raw", set="batches", key=key))))
    finish_step(db, ended(begin(db, one_step("sales"))))
    admit(db, [one_step("clean", set="batches", key=key) for key in ("a", "c")], start=0, needs={}, now=1.0, version="")
    same = start(db, 4, 0, need("identity"), InputNeed("sales", "identity"))
    assert same.inputs == {"raw": {"a": VALUE}, "sales": {None: VALUE}}
    assert same.missing == {"raw": (), "sales": ()}
    without = start(db, 5, 0, need("identity"))
    assert (without.inputs, without.missing) == ({"raw": {}}, {"raw": ("c",)})
    assert start(db, begin_queued(db), 0, need("last")).missing == {"raw": ("c",)}
    change_partitions(db, PartitionDelta("batches", delete=("c",)), 5.0)
    assert start(db, begin_queued(db), 0, need("last")).inputs == {"raw": {"b": VALUE}}
    assert read_inputs(db, "raw", "batches", BitMap([1, 2])) == ({"a": VALUE, "b": VALUE}, BitMap())
    change_partitions(db, PartitionDelta("batches", delete=("a", "b")), 5.0)
    empty = start(db, begin_queued(db), 0, need("last"))
    assert (empty.inputs, empty.missing) == ({"raw": {}}, {"raw": ()})
    assert read_inputs(db, "raw", "batches", BitMap([1])) == ({}, BitMap([1])), "deleted since it was asked for"
    assert read_inputs(db, "raw", "batches", BitMap()) == ({}, BitMap())


def begin_queued(db: sqlite3.Connection) -> int:
    admitted, _ = admit(db, [one_step("sales")], start=0, needs={}, now=1.0, version="")
    return admitted.runs[0].run_id


def test_a_partition_may_be_given_by_its_number(db: sqlite3.Connection) -> None:
    admitted, _ = admit(
        db, [replace(one_step("raw", set="batches"), partition=2)], start=1, needs={}, now=1.0, version=""
    )
    assert admitted.runs[0].started[0].key == "b"
    with pytest.raises(UnknownName, match="number 77"):
        admit(db, [replace(one_step("raw", set="batches"), partition=77)], start=1, needs={}, now=1.0, version="")
