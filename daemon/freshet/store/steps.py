"""Steps that wait and steps that start; and runs that are canceled."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from freshet.errors import Conflict, UnknownName
from freshet.store.codec import dump, load
from freshet.store.ending import end_run, release
from freshet.store.events import EventLog
from freshet.store.inputs import gather_inputs
from freshet.store.partitions import metadata_of
from freshet.store.records import Event, InputNeed, QueuedRun, QueuedStep, Started, StepToRun

__all__ = ["cancel_into", "cancel_run", "queued_runs", "queued_steps", "start_steps", "started_since"]

# A step may start when the run goes on and all that it needs has succeeded.
_READY = """
s.state IN ('queued', 'retrying') AND r.state IN ('queued', 'started', 'interrupted') AND NOT EXISTS (
    SELECT 1 FROM json_each(s.needs) need JOIN steps above ON above.run_id = s.run_id AND above.position = need.value
    WHERE above.state <> 'succeeded')
"""
_START = f"""
UPDATE steps AS s SET state = 'started', attempt = s.attempt + 1, started_at = ?1, not_before = NULL, error = NULL
FROM runs r WHERE r.id = s.run_id AND s.run_id = ?2 AND s.position = ?3 AND {_READY}
RETURNING attempt, failures, name, partition
"""  # noqa: S608  # a constant
# A run that begins after its partition was deleted and added again is of the partition as it is now.
_BEGUN = """
UPDATE runs SET state = 'started', version = ?2, started_at = coalesce(started_at, ?1),
    generation = CASE WHEN started_at IS NOT NULL THEN generation ELSE coalesce(
        (SELECT p.generation FROM partitions p WHERE p.set_id = runs.set_id AND p.number = runs.partition), generation)
        END
WHERE id = ?3
"""
# A step may have a partition of its own, of its asset's set, in a run that has none.
_RUN = """
SELECT iif(s.check_of IS NULL, r.kind, 'check'), r.params, r.tags, r.target, r.origin, r.priority,
    ps.id, ps.name, p.key
FROM runs r JOIN steps s ON s.run_id = r.id AND s.position = ?
LEFT JOIN assets a ON a.id = coalesce(s.asset_id, s.check_of)
LEFT JOIN partition_sets ps ON ps.id = coalesce(r.set_id, a.set_id)
LEFT JOIN partitions p ON p.set_id = ps.id AND p.number = s.partition
WHERE r.id = ?
"""


# A step that started since then is of a run that has not ended, or has ended since then.
_STARTED_SINCE = """
SELECT s.name, s.started_at FROM (
    SELECT id FROM runs WHERE state IN ('queued', 'started', 'canceling', 'interrupted')
    UNION SELECT run_id FROM events WHERE type IN ('run_succeeded', 'run_failed', 'run_canceled')
        AND seq > coalesce((SELECT seq FROM events WHERE at < ?1 ORDER BY seq DESC LIMIT 1), 0)
) r JOIN steps s ON s.run_id = r.id
WHERE s.started_at >= ?1 AND s.name IN (SELECT value FROM json_each(?2)) ORDER BY s.started_at
"""


def queued_runs(db: sqlite3.Connection) -> tuple[QueuedRun, ...]:
    """The runs that have not ended, oldest first."""
    rows = db.execute(
        """
        SELECT id, origin, priority, state <> 'queued', tags FROM runs
        WHERE state IN ('queued', 'started', 'interrupted') ORDER BY id
        """
    )
    return tuple(QueuedRun(one, origin, at, load(tags), bool(begun)) for one, origin, at, begun, tags in rows)


def queued_steps(db: sqlite3.Connection) -> tuple[QueuedStep, ...]:
    """The steps that wait for a slot or for the end of their back-off; not those that wait for other steps."""
    rows = db.execute(
        f"""
        SELECT s.run_id, s.position, s.name, r.priority, s.not_before FROM runs r JOIN steps s ON s.run_id = r.id
        WHERE r.state IN ('queued', 'started', 'interrupted') AND {_READY} ORDER BY s.run_id, s.position
        """  # noqa: S608  # a constant
    )
    return tuple(QueuedStep(*row) for row in rows)


def started_since(db: sqlite3.Connection, names: Sequence[str], at: float) -> tuple[tuple[str, float], ...]:
    """The steps of these names that started (last) at `at` or later, and when; oldest first. Before `recover`."""
    return tuple(db.execute(_STARTED_SINCE, (at, dump(list(names)))))


def start_steps(
    db: sqlite3.Connection,
    steps: Sequence[tuple[int, int]],
    *,
    needs: Mapping[str, Sequence[InputNeed]],
    now: float,
    version: str,
) -> Started:
    """Commit steps, given by (run, position), as started, each with its attempt counted.

    Those that may not start any more (canceled, started before) are left out.
    """
    log = EventLog(db, now)
    started: list[StepToRun] = []
    for run_id, position in steps:
        row = db.execute(_START, (now, run_id, position)).fetchone()
        if row is None:
            continue
        db.execute(_BEGUN, (now, version, run_id))
        step = _to_run(db, run_id, position, row, needs)
        started.append(step)
        if step.kind == "asset":
            log.add("started", asset=step.name, set=step.set, partition=step.partition, run_id=run_id)
    return Started(tuple(started), log.write())


def _to_run(
    db: sqlite3.Connection,
    run_id: int,
    position: int,
    row: tuple[int, int, str, int],
    needs: Mapping[str, Sequence[InputNeed]],
) -> StepToRun:
    attempt, failures, name, partition = row
    kind, params, tags, *of_run, set_id, set_name, key = db.execute(_RUN, (position, run_id)).fetchone()
    target, origin, priority = of_run
    metadata: dict[str, Any] = {}
    if partition:
        metadata = metadata_of(db, set_id, partition)
    else:
        set_name = key = None
    inputs, missing, bulk = gather_inputs(db, needs.get(name, ()), partition, key)
    return StepToRun(
        run_id=run_id,
        position=position,
        name=name,
        kind=kind,
        attempt=attempt,
        failures=failures,
        set=set_name,
        partition=partition,
        key=key,
        partition_metadata=metadata,
        params=load(params),
        tags=load(tags),
        inputs=inputs,
        missing=missing,
        bulk=bulk,
        target=target,
        origin=origin,
        priority=priority,
    )


def cancel_run(db: sqlite3.Connection, run_id: int, now: float) -> tuple[Event, ...]:
    """Cancel what waits of a run. With steps under way it becomes 'canceling' until they end, else 'canceled'.

    Raises `UnknownName`, and `Conflict` for a run that has ended. Canceling twice changes nothing.
    """
    row = db.execute("SELECT state FROM runs WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise UnknownName(f"there is no run {run_id}", hint="freshet runs lists them")
    if row[0] in ("succeeded", "failed", "canceled"):
        raise Conflict(f"run {run_id} has ended ({row[0]})", hint="only a queued or running run can be canceled")
    log = EventLog(db, now)
    cancel_into(db, log, run_id, now)
    return log.write()


def cancel_into(db: sqlite3.Connection, log: EventLog, run_id: int, now: float) -> None:
    """As `cancel_run`, of a run that has not ended, as a part of a larger transaction whose events are in `log`."""
    db.execute("UPDATE runs SET state = 'canceling' WHERE id = ?", (run_id,))
    waiting = db.execute(
        "SELECT position FROM steps WHERE run_id = ? AND state IN ('queued', 'retrying', 'interrupted')", (run_id,)
    ).fetchall()
    release(db, log, run_id, [position for (position,) in waiting], "canceled", now)
    end_run(db, log, run_id, now)
