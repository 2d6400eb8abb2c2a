"""Runs that steps of other runs ask for: each call of a step comes to one run, however often the step is tried."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from freshet.definitions.outcome import Json
from freshet.errors import Conflict
from freshet.store.admission import Admitting, admit_into
from freshet.store.codec import dump, load_optional
from freshet.store.events import EventLog
from freshet.store.records import CalledRun, Caller, InputNeed, RunToAdmit, SubRunRow

__all__ = ["being_canceled", "call_run", "canceled_with", "failure_of", "in_a_circle", "sub_runs"]

_MOST = 1000
_CALLER = """
SELECT r.depth, r.origin FROM runs r JOIN steps s ON s.run_id = r.id
WHERE r.id = ? AND s.position = ? AND s.attempt = ? AND s.state = 'started' AND r.state = 'started'
"""
# Of one call: a run that has succeeded, or still may.
_FOUND = """
SELECT r.id, r.state FROM sub_runs c CROSS JOIN runs r ON r.id = c.run_id
WHERE c.parent = ? AND c.position = ? AND c.call = ? AND r.state IN ('queued', 'started', 'interrupted', 'succeeded')
ORDER BY c.attempt DESC LIMIT 1
"""
_INSERT = """
INSERT INTO sub_runs (run_id, parent, position, call, attempt, waited)
SELECT ?1, ?2, ?3, ?4, count(*), ?5 FROM sub_runs WHERE parent = ?2 AND position = ?3 AND call = ?4
"""
# Runs that wait for the caller, itself too, and have a step under way that makes one of these assets.
_ABOVE = """
WITH RECURSIVE above (id) AS (
    SELECT ?1 UNION SELECT c.parent FROM above JOIN sub_runs c ON c.run_id = above.id AND c.waited)
SELECT s.run_id FROM above CROSS JOIN steps s ON s.run_id = above.id
CROSS JOIN assets a ON a.id = s.asset_id LEFT JOIN partitions p ON p.set_id = a.set_id AND p.number = s.partition
WHERE s.state = 'started' AND a.name IN (SELECT value FROM json_each(?2))
AND (s.partition = 0 OR p.key = ?3 OR s.partition = ?4) LIMIT 1
"""
# The same step in a run that this one retries, where it was not made.
_RETRIED = """
SELECT before.position, r.origin FROM steps now CROSS JOIN runs r ON r.id = ?3
CROSS JOIN steps before ON before.run_id = r.id AND before.name = now.name AND before.partition = now.partition
WHERE now.run_id = ?1 AND now.position = ?2 AND before.state <> 'succeeded'
"""


def call_run(
    db: sqlite3.Connection,
    run: RunToAdmit,
    *,
    by: Caller,
    start: int,
    needs: Mapping[str, Sequence[InputNeed]],
    now: float,
    version: str,
    circle: str | None = None,
) -> CalledRun:
    """The run of a call. One that an earlier attempt of the step asked for, or the step in a run that this one retries,
    is taken unless it failed or was canceled; else `run` is admitted, one deeper in the chain than its caller.

    Raises `Conflict` where it would wait for a run that waits for its caller; `circle` says so, if the caller knows."""
    caller = db.execute(_CALLER, (by.run_id, by.position, by.attempt)).fetchone()
    if caller is None:
        return CalledRun(None, refused=True)
    depth, origin = caller
    for run_id, position in _tried(db, by, origin):
        found = db.execute(_FOUND, (run_id, position, by.call)).fetchone()
        if found is not None:
            if by.waits:
                db.execute("UPDATE sub_runs SET waited = 1 WHERE run_id = ? AND NOT waited", (found[0],))
            return CalledRun(*found)
    if (maker := _made_above(db, run, by.run_id)) is not None:
        said = f"run {maker} makes {run.target!r} now, and waits for this one: it would wait for itself"
        raise Conflict(said, hint=f"let run {maker} make it, or declare the asset with overlap='allow'")
    if circle is not None:
        raise in_a_circle(circle)
    log = EventLog(db, now)
    below = replace(run, depth=depth + 1, cause=by.run_id)
    admitted, dropped = admit_into(db, log, [below], Admitting(start, needs, now, version))
    for one in admitted:
        db.execute(_INSERT, (one.run_id, by.run_id, by.position, by.call, by.waits))
        return CalledRun(one.run_id, "started" if one.started else "queued", admitted, log.write())
    before = next((one.run_id for one in dropped if one.reason == "overlap"), None)
    return CalledRun(None, events=log.write(), before=before)


def in_a_circle(said: str) -> Conflict:
    """Runs would wait for each other for ever."""
    return Conflict(said, hint="let one of them ask with wait=False, or declare what it makes with overlap='allow'")


def _made_above(db: sqlite3.Connection, run: RunToAdmit, caller: int) -> int | None:
    """The run, out of the caller and those that wait for it, that makes the same partition as this one would."""
    if run.kind == "job" or not any(step.alone for step in run.steps):
        return None
    names = [step.name for step in run.steps if step.alone]
    row = db.execute(_ABOVE, (caller, dump(names), run.key, run.partition)).fetchone()
    return None if row is None else row[0]


def _tried(db: sqlite3.Connection, by: Caller, origin: str) -> Iterator[tuple[int, int]]:
    """Run and position of the step, and of what it tries again in another run."""
    run_id, position = by.run_id, by.position
    yield run_id, position
    while origin.startswith("retry:"):
        retried = int(origin.removeprefix("retry:"))
        before = db.execute(_RETRIED, (run_id, position, retried)).fetchone()
        if before is None:
            return
        run_id, (position, origin) = retried, before
        yield run_id, position


def failure_of(db: sqlite3.Connection, run_id: int) -> dict[str, Json]:
    """The error of the first step that failed; empty for a run without one."""
    row = db.execute(
        """
        SELECT coalesce(s.error, r.error) FROM runs r LEFT JOIN steps s ON s.run_id = r.id AND s.state = 'failed'
        WHERE r.id = ? ORDER BY s.position LIMIT 1
        """,
        (run_id,),
    ).fetchone()
    found: Any = None if row is None else load_optional(row[0])
    return found or {}


def being_canceled(db: sqlite3.Connection, run_ids: Sequence[int]) -> frozenset[int]:
    """Those of these runs that are being canceled, or are."""
    rows = db.execute(
        "SELECT id FROM runs WHERE id IN (SELECT value FROM json_each(?)) AND state IN ('canceling', 'canceled')",
        (dump(list(run_ids)),),
    )
    return frozenset(one for (one,) in rows)


def canceled_with(db: sqlite3.Connection, run_id: int) -> tuple[int, ...]:
    """The runs that were canceled because the one that waits for them was."""
    rows = db.execute(
        """
        SELECT r.id FROM sub_runs c CROSS JOIN runs r ON r.id = c.run_id
        WHERE c.parent = ? AND c.waited AND r.state IN ('canceling', 'canceled')
        """,
        (run_id,),
    )
    return tuple(one for (one,) in rows)


def sub_runs(db: sqlite3.Connection, run_id: int) -> tuple[SubRunRow, ...]:
    """The last runs that the steps of a run asked for, oldest first."""
    rows = db.execute(
        """
        SELECT r.id, c.position, r.target, p.key, r.state FROM sub_runs c CROSS JOIN runs r ON r.id = c.run_id
        LEFT JOIN partitions p ON p.set_id = r.set_id AND p.number = r.partition
        WHERE c.parent = ? ORDER BY r.id DESC LIMIT ?
        """,
        (run_id, _MOST),
    ).fetchall()
    return tuple(SubRunRow(*row) for row in reversed(rows))
