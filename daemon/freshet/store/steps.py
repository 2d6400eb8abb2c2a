"""Steps that wait and steps that start; and runs that are canceled."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from freshet.errors import Conflict, UnknownName
from freshet.store.codec import dump, load
from freshet.store.ending import end_run, release
from freshet.store.events import EventLog
from freshet.store.inputs import gather_inputs
from freshet.store.records import Event, InputNeed, QueuedRun, QueuedStep, Started, StepToRun

__all__ = ["cancel_called", "cancel_into", "cancel_run", "queued_runs", "queued_steps", "start_steps", "started_since"]

# A step may start when the run goes on and all that it needs has succeeded.
_READY = """
s.state IN ('queued', 'retrying') AND r.state IN ('queued', 'started', 'interrupted') AND NOT EXISTS (
    SELECT 1 FROM json_each(s.needs) need JOIN steps above ON above.run_id = s.run_id AND above.position = need.value
    WHERE above.state <> 'succeeded')
"""
# Another run makes the same, and the one wanted does not go beside it.
_BUSY = """
wanted.value ->> 2 AND EXISTS (
    SELECT 1 FROM steps other WHERE other.asset_id = s.asset_id AND other.partition = s.partition
    AND other.state = 'started')
"""
_START = f"""
UPDATE steps AS s SET state = 'started', attempt = s.attempt + 1, started_at = ?1, not_before = NULL, error = NULL
FROM json_each(?2) wanted CROSS JOIN runs r
WHERE r.id = wanted.value ->> 0 AND s.run_id = r.id AND s.position = wanted.value ->> 1 AND {_READY} AND NOT ({_BUSY})
RETURNING run_id, position
"""  # noqa: S608  # a constant
_KEPT_BACK = f"""
SELECT s.run_id, s.position FROM json_each(?1) wanted CROSS JOIN runs r ON r.id = wanted.value ->> 0
CROSS JOIN steps s ON s.run_id = r.id AND s.position = wanted.value ->> 1 WHERE {_READY} AND {_BUSY}
"""  # noqa: S608  # a constant
# A run that begins after its partition was deleted and added again is of the partition as it is now.
_BEGUN = """
UPDATE runs SET state = 'started', version = ?2, started_at = coalesce(started_at, ?1),
    generation = CASE WHEN started_at IS NOT NULL THEN generation ELSE coalesce(
        (SELECT p.generation FROM partitions p WHERE p.set_id = runs.set_id AND p.number = runs.partition), generation)
        END
WHERE id IN (SELECT value ->> 0 FROM json_each(?3))
"""
# A step may have a partition of its own, of its asset's set, in a run that has none.
_STARTED = """
SELECT r.id, s.position, s.name, iif(s.check_of IS NULL, r.kind, 'check'), s.attempt, s.failures, s.partition,
    ps.name, p.key, p.metadata, r.params, r.tags, r.target, r.origin, r.priority
FROM json_each(?) wanted CROSS JOIN runs r ON r.id = wanted.value ->> 0
CROSS JOIN steps s ON s.run_id = r.id AND s.position = wanted.value ->> 1
LEFT JOIN assets a ON a.id = coalesce(s.asset_id, s.check_of)
LEFT JOIN partition_sets ps ON s.partition <> 0 AND ps.id = coalesce(r.set_id, a.set_id)
LEFT JOIN partitions p ON p.set_id = ps.id AND p.number = s.partition
ORDER BY wanted.key
"""

_WAITED_FOR = """
SELECT c.run_id FROM sub_runs c CROSS JOIN runs r ON r.id = c.run_id
WHERE c.parent = ? AND c.waited AND r.state IN ('queued', 'started', 'interrupted')
"""

# A step that started since then is of a run that has not ended, or has ended since then; or has been started again.
_STARTED_SINCE = """
SELECT s.name, s.started_at FROM (
    SELECT id FROM runs WHERE state IN ('queued', 'started', 'canceling', 'interrupted')
    UNION SELECT run_id FROM events WHERE type IN ('run_succeeded', 'run_failed', 'run_canceled')
        AND seq > coalesce((SELECT seq FROM events WHERE at < ?1 ORDER BY seq DESC LIMIT 1), 0)
) r JOIN steps s ON s.run_id = r.id
WHERE s.started_at >= ?1 AND s.name IN (SELECT value FROM json_each(?2))
UNION ALL SELECT name, at FROM earlier_starts WHERE at >= ?1 AND name IN (SELECT value FROM json_each(?2))
ORDER BY 2
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
        SELECT s.run_id, s.position, s.name, r.priority, s.not_before, s.partition
        FROM runs r JOIN steps s ON s.run_id = r.id
        WHERE r.state IN ('queued', 'started', 'interrupted') AND {_READY} ORDER BY s.run_id, s.position
        """  # noqa: S608  # a constant
    )
    return tuple(QueuedStep(*row) for row in rows)


def started_since(db: sqlite3.Connection, names: Sequence[str], at: float) -> tuple[tuple[str, float], ...]:
    """The steps of these names that started at `at` or later, and when, each time; oldest first."""
    return tuple(db.execute(_STARTED_SINCE, (at, dump(list(names)))))


def start_steps(
    db: sqlite3.Connection,
    steps: Sequence[tuple[int, int]],
    *,
    needs: Mapping[str, Sequence[InputNeed]],
    now: float,
    version: str,
    alone: Collection[tuple[int, int]] = (),
) -> Started:
    """Commit steps, given by (run, position), as started, each with its attempt counted.

    Those that may not start any more (canceled, started before) are left out; so are those that go `alone` while
    another run makes the same partition.
    """
    log = EventLog(db, now)
    asked = dump([(*step, step in alone) for step in steps])
    begun = set(db.execute(_START, (now, asked)))
    busy = tuple(db.execute(_KEPT_BACK, (asked,))) if len(begun) < len(steps) else ()
    if not begun:
        return Started((), (), busy)
    wanted = dump([step for step in steps if step in begun])
    db.execute(_BEGUN, (now, version, wanted))
    started = tuple(_to_run(db, row, needs) for row in db.execute(_STARTED, (wanted,)).fetchall())
    for step in started:
        if step.kind == "asset":
            log.add("started", asset=step.name, set=step.set, partition=step.partition, run_id=step.run_id)
    return Started(started, log.write(), tuple(one for one in busy if one not in begun))


def _to_run(db: sqlite3.Connection, row: Sequence[Any], needs: Mapping[str, Sequence[InputNeed]]) -> StepToRun:
    run_id, position, name, kind, attempt, failures, partition, set_name, key, metadata, params, tags, *of_run = row
    target, origin, priority = of_run
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
        partition_metadata={} if metadata is None else load(metadata),
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


def cancel_called(db: sqlite3.Connection, log: EventLog, run_id: int, position: int, now: float) -> tuple[int, ...]:
    """A step is over and made nothing: cancel the runs that it had asked for, and waited for; returns them."""
    below = [one for (one,) in db.execute(f"{_WAITED_FOR} AND c.position = ?", (run_id, position)).fetchall()]
    for one in below:
        cancel_into(db, log, one, now)
    return tuple(below)


def cancel_into(db: sqlite3.Connection, log: EventLog, run_id: int, now: float) -> None:
    """As `cancel_run`, of a run that has not ended, as a part of a larger transaction whose events are in `log`.
    With it the runs are canceled that its steps wait for."""
    db.execute("UPDATE runs SET state = 'canceling' WHERE id = ?", (run_id,))
    waiting = db.execute(
        "SELECT position FROM steps WHERE run_id = ? AND state IN ('queued', 'retrying', 'interrupted')", (run_id,)
    ).fetchall()
    release(db, log, run_id, [position for (position,) in waiting], "canceled", now)
    end_run(db, log, run_id, now)
    for (below,) in db.execute(_WAITED_FOR, (run_id,)).fetchall():
        cancel_into(db, log, below, now)
