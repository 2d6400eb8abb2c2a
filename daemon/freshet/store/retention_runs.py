"""Runs that are no longer kept: found by readers in small looks, and deleted by their numbers in small transactions.

A run stays while it is needed: before its end; while the backfill that asked for it goes on; while a run that asked for
it, or that it asked for, has not ended; and while a partition counts as failed because of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from freshet.definitions.retention import Older
from freshet.store.codec import dump

__all__ = ["OldRun", "OldRuns", "busy_since", "ended_since", "forget_runs", "forget_steps", "old_runs"]

_ENDED = "('succeeded', 'failed', 'canceled')"

# When it ended; NULL for a run that must be kept.
_OLD = f"""
SELECT r.id, r.created_at, (SELECT count(*) FROM steps s WHERE s.run_id = r.id), CASE WHEN
    r.state NOT IN {_ENDED}
    OR (r.origin LIKE 'backfill:%' AND EXISTS (
        SELECT 1 FROM backfills b WHERE b.id = CAST(substr(r.origin, 10) AS INTEGER)
        AND b.state IN ('running', 'paused')))
    OR EXISTS (SELECT 1 FROM sub_runs c JOIN runs p ON p.id = c.parent
        WHERE c.run_id = r.id AND p.state NOT IN {_ENDED})
    OR EXISTS (SELECT 1 FROM sub_runs c JOIN runs b ON b.id = c.run_id
        WHERE c.parent = r.id AND b.state NOT IN {_ENDED})
    OR EXISTS (SELECT 1 FROM steps s JOIN asset_state a ON a.asset_id = s.asset_id AND a.partition = s.partition
        WHERE s.run_id = r.id AND a.failed_run = r.id)
    THEN NULL ELSE coalesce(r.ended_at, r.created_at) END
FROM runs r WHERE r.id > ? ORDER BY r.id LIMIT ?
"""  # noqa: S608  # constants


@dataclass(frozen=True, slots=True)
class OldRun:
    """A run that is not kept, with the number of its steps."""

    id: int
    steps: int


@dataclass(frozen=True, slots=True)
class OldRuns:
    """Those among the runs up to `last`; None: beyond them all are kept."""

    runs: tuple[OldRun, ...]
    last: int | None


def old_runs(db: sqlite3.Connection, older: Older, after: int, limit: int) -> OldRuns:
    """The runs beyond `after` that are not kept, of the next `limit`."""
    found: list[OldRun] = []
    rows = db.execute(_OLD, (after, limit)).fetchall()
    for id, created, steps, ended in rows:
        if older.ends(id, created):
            return OldRuns(tuple(found), None)
        if ended is not None and older.holds(id, ended):
            found.append(OldRun(id, steps))
    return OldRuns(tuple(found), rows[-1][0] if len(rows) == limit else None)


def forget_steps(db: sqlite3.Connection, run_id: int, limit: int) -> None:
    """Delete the first steps of a run that is not kept: one with many takes several transactions."""
    db.execute(
        """
        DELETE FROM steps WHERE run_id = ?1 AND position IN (
            SELECT position FROM steps WHERE run_id = ?1 ORDER BY position LIMIT ?2)
        """,
        (run_id, limit),
    )


def forget_runs(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Delete runs with their steps, and that they asked for one another. Their keys stay."""
    wanted = (dump(list(ids)),)
    db.execute("DELETE FROM steps WHERE run_id IN (SELECT value FROM json_each(?))", wanted)
    db.execute("DELETE FROM sub_runs WHERE run_id IN (SELECT value FROM json_each(?))", wanted)
    db.execute("DELETE FROM sub_runs WHERE parent IN (SELECT value FROM json_each(?))", wanted)
    db.execute("DELETE FROM runs WHERE id IN (SELECT value FROM json_each(?))", wanted)


def ended_since(db: sqlite3.Connection, ids: Sequence[int]) -> dict[int, float | None]:
    """Of those runs that there are: when they ended, None before that."""
    return dict(
        db.execute(
            f"""
            SELECT r.id, iif(r.state IN {_ENDED}, coalesce(r.ended_at, r.created_at), NULL)
            FROM json_each(?) wanted CROSS JOIN runs r ON r.id = wanted.value
            """,  # noqa: S608  # a constant
            (dump(list(ids)),),
        )
    )


def busy_since(db: sqlite3.Connection) -> float | None:
    """When the step began that is under way for the longest; None while none is."""
    row = db.execute(
        """
        SELECT min(s.started_at) FROM runs r JOIN steps s ON s.run_id = r.id AND s.state = 'started'
        WHERE r.state IN ('queued', 'started', 'canceling', 'interrupted')
        """
    ).fetchone()
    found: float | None = row[0]
    return found
