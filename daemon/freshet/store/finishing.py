"""The end of an attempt: published if it is the one in force, tried again, or failed for good."""

from __future__ import annotations

import sqlite3

from freshet.store.caching import keep_cached
from freshet.store.checks import awaits_checks, check_ended
from freshet.store.codec import dump, dump_optional, load
from freshet.store.ending import (
    dependents,
    end_known_run,
    fail_for_good,
    is_current,
    is_idle,
    release,
    set_of,
    settle_run,
)
from freshet.store.events import EventLog
from freshet.store.made import Made, write_made
from freshet.store.records import Finished, QueuedStep, StepResult
from freshet.store.steps import cancel_called

__all__ = ["INTERRUPTION_BUDGET", "finish_step", "give_up", "too_often"]

_ENDED = ("succeeded", "failed", "canceled")

INTERRUPTION_BUDGET = 10
"""How often a run may be cut off before it counts as failed."""


def too_often(interruptions: int) -> dict[str, str]:
    """The error of a step whose run was cut off once too often."""
    return {
        "type": "Interrupted",
        "message": f"the run was cut off {interruptions} times by the end of the daemon, the host or the machine",
    }


def finish_step(db: sqlite3.Connection, result: StepResult, *, budget: int = INTERRUPTION_BUDGET) -> Finished:
    """Commit the end of an attempt. One that is not in force (late, doubled, given back) is refused: nothing changes.

    A failure while its run is being canceled is not tried again: the step is then canceled.
    """
    run = db.execute(
        """
        SELECT r.state, r.priority, r.tags, r.kind, r.target FROM runs r JOIN steps s ON s.run_id = r.id
        WHERE r.id = ? AND s.position = ? AND s.attempt = ? AND s.state = 'started'
        """,
        (result.run_id, result.position, result.attempt),
    ).fetchone()
    if run is None:
        row = db.execute("SELECT state FROM runs WHERE id = ?", (result.run_id,)).fetchone()
        return Finished(result.run_id, "failed" if row is None else row[0], (), (), refused=True)
    state, priority, tags, kind, target = run
    canceling = state == "canceling"
    log = EventLog(db, result.at)
    queued: list[QueuedStep] = []
    match result.outcome:
        case "succeeded":
            _succeed(db, log, result, load(tags))
        case "failed" if result.retry_at is None:
            db.execute(
                "UPDATE steps SET failures = failures + 1, metadata = ? WHERE run_id = ? AND position = ?",
                (dump_optional(result.metadata or None), result.run_id, result.position),
            )
            check_ended(db, log, result)
            fail_for_good(db, log, result.run_id, result.position, result.error, result.at)
        case "failed" if not canceling:
            queued = [_retry(db, result, priority)]
        case "lost" | "interrupted" if not canceling:
            queued = _again(db, log, result, priority, budget)
        case "failed" | "lost" | "interrupted" | "canceled":
            _cancel(db, log, result)
    below: tuple[int, ...] = ()
    if not queued and result.outcome not in ("succeeded", "canceled"):
        below = cancel_called(db, log, result.run_id, result.position, result.at)
    state = end_known_run(db, log, result.run_id, (kind, target, state), result.at)
    if result.outcome == "succeeded":
        if not canceling and state not in _ENDED:
            queued = _ready_below(db, result.run_id, result.position, priority)
    elif state == "started" and result.outcome in ("lost", "interrupted"):
        state = settle_run(db, result.run_id)
    return Finished(result.run_id, state, tuple(queued), log.write(), canceled=below)


def _succeed(db: sqlite3.Connection, log: EventLog, result: StepResult, tags: dict[str, str]) -> None:
    name, asset_id, partition, started = db.execute(
        """
        UPDATE steps SET state = 'succeeded', ended_at = ?, error = NULL, metadata = ?, cached = ?
        WHERE run_id = ? AND position = ? RETURNING name, asset_id, partition, started_at
        """,
        (result.at, dump_optional(result.metadata or None), result.cached, result.run_id, result.position),
    ).fetchone()
    if result.check is not None and check_ended(db, log, result):
        said = {"type": "CheckFailed", "message": f"the blocking check {name} failed: what is downstream is stopped"}
        fail_for_good(db, log, result.run_id, result.position, said, result.at)
    if asset_id is None:
        return
    begun = result.at if started is None else started
    set_name = set_of(db, asset_id, partition)
    if is_current(db, result.run_id, result.position):
        made = Made(
            *(asset_id, name, set_name, partition, result.at, begun, result.version, result.code, result.value),
            metadata=result.metadata,
            run_id=result.run_id,
            tags=tags,
            cached=result.cached,
            held=bool(result.gates) and awaits_checks(db, result, name, asset_id, partition),
        )
        write_made(db, log, made)
        if result.cache_key is not None:
            keep_cached(db, made, result.cache_key)
        return
    log.add(
        "released",
        asset=name,
        set=set_name,
        partition=partition,
        run_id=result.run_id,
        idle=is_idle(db, asset_id, partition),
        data={"metadata": result.metadata} if result.metadata else None,
    )


def _ready_below(db: sqlite3.Connection, run_id: int, position: int, priority: int) -> list[QueuedStep]:
    """The steps that waited for this one and for nothing else any more."""
    rows = db.execute(
        """
        SELECT s.position, s.name, s.partition FROM steps s WHERE s.run_id = ?1 AND s.state = 'queued'
        AND EXISTS (SELECT 1 FROM json_each(s.needs) WHERE value = ?2)
        AND NOT EXISTS (SELECT 1 FROM json_each(s.needs) need
                        JOIN steps above ON above.run_id = s.run_id AND above.position = need.value
                        WHERE above.state <> 'succeeded')
        ORDER BY s.position
        """,
        (run_id, position),
    )
    return [QueuedStep(run_id, below, name, priority, None, partition) for below, name, partition in rows]


def _retry(db: sqlite3.Connection, result: StepResult, priority: int) -> QueuedStep:
    name, partition = db.execute(
        """
        UPDATE steps SET state = 'retrying', failures = failures + 1, not_before = ?, error = ?
        WHERE run_id = ? AND position = ? RETURNING name, partition
        """,
        (result.retry_at, dump_optional(result.error), result.run_id, result.position),
    ).fetchone()
    return QueuedStep(result.run_id, result.position, name, priority, result.retry_at, partition)


def _again(db: sqlite3.Connection, log: EventLog, result: StepResult, priority: int, budget: int) -> list[QueuedStep]:
    """Queue a step whose attempt was not received, or was cut off: within the run's budget for that."""
    returned = 0
    if result.outcome == "lost":
        returned = 1
    else:
        (interruptions,) = db.execute(
            "UPDATE runs SET interruptions = interruptions + 1 WHERE id = ? RETURNING interruptions", (result.run_id,)
        ).fetchone()
        log.add("run_interrupted", run_id=result.run_id, data={"interruptions": interruptions})
        if interruptions > budget:
            give_up(db, log, result.run_id, [result.position], interruptions, result.at)
            return []
    name, partition = db.execute(
        """
        UPDATE steps SET state = 'queued', attempt = attempt - ?, started_at = NULL, error = ?
        WHERE run_id = ? AND position = ? RETURNING name, partition
        """,
        (returned, dump_optional(result.error), result.run_id, result.position),
    ).fetchone()
    return [QueuedStep(result.run_id, result.position, name, priority, None, partition)]


def give_up(
    db: sqlite3.Connection, log: EventLog, run_id: int, positions: list[int], interruptions: int, at: float
) -> None:
    """Fail a run whose budget is spent: its steps at `positions` fail, and nothing more of it is started."""
    error = too_often(interruptions)
    db.execute("UPDATE runs SET error = ? WHERE id = ?", (dump(error), run_id))
    for position in positions:
        check_ended(db, log, StepResult(run_id, position, 0, "failed", at, error=error))
        fail_for_good(db, log, run_id, position, error, at)
    waiting = db.execute(
        "SELECT position FROM steps WHERE run_id = ? AND state IN ('queued', 'retrying', 'interrupted')", (run_id,)
    ).fetchall()
    release(db, log, run_id, [position for (position,) in waiting], "skipped", at)


def _cancel(db: sqlite3.Connection, log: EventLog, result: StepResult) -> None:
    below = dependents(db, result.run_id, result.position)
    db.execute(
        "UPDATE steps SET error = ? WHERE run_id = ? AND position = ?",
        (dump_optional(result.error), result.run_id, result.position),
    )
    release(db, log, result.run_id, [result.position], "canceled", result.at)
    release(db, log, result.run_id, below, "skipped", result.at)
