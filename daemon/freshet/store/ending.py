"""What the end of steps means for their run and for their assets: shared by finish, cancel and recovery."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Literal

from freshet.definitions.outcome import Json
from freshet.store.codec import dump, dump_optional, load
from freshet.store.events import EventLog
from freshet.store.records import EventType, RunState

__all__ = [
    "ACTIVE",
    "dependents",
    "end_known_run",
    "end_run",
    "fail_for_good",
    "is_current",
    "is_idle",
    "release",
    "set_of",
    "settle_run",
]

ACTIVE = "('queued', 'started', 'retrying', 'interrupted')"
"""The states of a step that has not ended, as in the schema's partial index."""


_End = tuple[RunState, EventType]
_SUCCEEDED: _End = ("succeeded", "run_succeeded")
_FAILED: _End = ("failed", "run_failed")
_CANCELED: _End = ("canceled", "run_canceled")


def is_idle(db: sqlite3.Connection, asset_id: int | None, partition: int) -> bool:
    """Whether no step under way or waiting makes this partition of the asset."""
    if asset_id is None:
        return True
    row = db.execute(
        f"SELECT 1 FROM steps WHERE asset_id = ? AND partition = ? AND state IN {ACTIVE} LIMIT 1",  # noqa: S608
        (asset_id, partition),
    ).fetchone()
    return row is None


def release(
    db: sqlite3.Connection,
    log: EventLog,
    run_id: int,
    positions: Sequence[int],
    state: Literal["canceled", "skipped"],
    at: float,
) -> None:
    """End steps that neither made anything nor failed, with an event for each asset."""
    if not positions:
        return
    rows = db.execute(
        """
        UPDATE steps SET state = ?, ended_at = ?, not_before = NULL
        WHERE run_id = ? AND position IN (SELECT value FROM json_each(?)) RETURNING position, name, asset_id, partition
        """,
        (state, at, run_id, dump(list(positions))),
    ).fetchall()
    for _, name, asset_id, partition in sorted(rows):
        if asset_id is not None:
            log.add(
                "released",
                asset=name,
                set=set_of(db, asset_id, partition),
                partition=partition,
                run_id=run_id,
                idle=is_idle(db, asset_id, partition),
            )


def fail_for_good(db: sqlite3.Connection, log: EventLog, run_id: int, position: int, error: Json, at: float) -> None:
    """End a step as failed and skip all that depends on it."""
    name, asset_id, partition = db.execute(
        """
        UPDATE steps SET state = 'failed', ended_at = ?, not_before = NULL, error = ? WHERE run_id = ? AND position = ?
        RETURNING name, asset_id, partition
        """,
        (at, dump_optional(error), run_id, position),
    ).fetchone()
    if asset_id is not None:
        current = is_current(db, run_id, position)
        seq = log.add(
            "failed" if current else "released",
            asset=name,
            set=set_of(db, asset_id, partition),
            partition=partition,
            run_id=run_id,
            idle=is_idle(db, asset_id, partition),
        )
        if current:
            db.execute(
                """
                INSERT INTO asset_state (asset_id, partition, failed_seq, failed_run) VALUES (?, ?, ?, ?)
                ON CONFLICT (asset_id, partition) DO UPDATE
                SET failed_seq = excluded.failed_seq, failed_run = excluded.failed_run
                """,
                (asset_id, partition, seq, run_id),
            )
    release(db, log, run_id, dependents(db, run_id, position), "skipped", at)


def dependents(db: sqlite3.Connection, run_id: int, position: int) -> list[int]:
    """The steps of the run that wait, directly or not, for this one."""
    rows = db.execute(
        f"SELECT position, needs FROM steps WHERE run_id = ? AND position > ? AND state IN {ACTIVE} ORDER BY position",  # noqa: S608
        (run_id, position),
    )
    below = {position}
    found: list[int] = []
    for other, needs in rows:
        if not below.isdisjoint(load(needs)):
            below.add(other)
            found.append(other)
    return found


def is_current(db: sqlite3.Connection, run_id: int, position: int) -> bool:
    """Whether the partition of an asset's step, or of a check's, is still what its number means: not deleted, in the
    same generation of the set that the asset has now: the one that the run began with, or that a step with a partition
    of its own was admitted with."""
    row = db.execute(
        """
        SELECT CASE WHEN s.partition = 0 THEN a.set_id IS NULL
               WHEN r.set_id IS NULL THEN p.deleted_at IS NULL AND p.generation = s.generation
               ELSE a.set_id = r.set_id AND p.deleted_at IS NULL AND p.generation = r.generation END
        FROM steps s JOIN runs r ON r.id = s.run_id JOIN assets a ON a.id = coalesce(s.asset_id, s.check_of)
        LEFT JOIN partitions p ON p.set_id = coalesce(r.set_id, a.set_id) AND p.number = s.partition
        WHERE s.run_id = ? AND s.position = ?
        """,
        (run_id, position),
    ).fetchone()
    return bool(row[0])


def set_of(db: sqlite3.Connection, asset_id: int, partition: int) -> str | None:
    """The set that an asset's partition belongs to; None for the one of an asset without partitions."""
    if partition == 0:
        return None
    row = db.execute(
        "SELECT ps.name FROM assets a JOIN partition_sets ps ON ps.id = a.set_id WHERE a.id = ?", (asset_id,)
    ).fetchone()
    return None if row is None else row[0]


def end_run(db: sqlite3.Connection, log: EventLog, run_id: int, at: float) -> RunState:
    """End the run if all its steps have ended; returns its state."""
    kind, target, state = db.execute("SELECT kind, target, state FROM runs WHERE id = ?", (run_id,)).fetchone()
    return end_known_run(db, log, run_id, (kind, target, state), at)


def end_known_run(
    db: sqlite3.Connection, log: EventLog, run_id: int, known: tuple[str, str, RunState], at: float
) -> RunState:
    """As `end_run`, of a run whose kind, target and state are known."""
    kind, target, state = known
    active, failed, unmade = db.execute(
        f"""
        SELECT total(state IN {ACTIVE}), total(state = 'failed'), total(state IN ('canceled', 'skipped'))
        FROM steps WHERE run_id = ?
        """,  # noqa: S608  # a constant
        (run_id,),
    ).fetchone()
    if active:
        return state
    ended, event = _FAILED if failed else _CANCELED if unmade else _SUCCEEDED
    db.execute("UPDATE runs SET state = ?, ended_at = ? WHERE id = ?", (ended, at, run_id))
    log.add(event, run_id=run_id, data={"kind": kind, "target": target})
    return ended


def settle_run(db: sqlite3.Connection, run_id: int) -> RunState:
    """After a step was queued again: the run is queued if none of its steps has started or ended, else started."""
    row = db.execute(
        """
        UPDATE runs SET state = 'queued', started_at = NULL WHERE id = ?1 AND state = 'started'
        AND NOT EXISTS (SELECT 1 FROM steps WHERE run_id = ?1 AND state <> 'queued') RETURNING state
        """,
        (run_id,),
    ).fetchone()
    if row is None:
        row = db.execute("SELECT state FROM runs WHERE id = ?", (run_id,)).fetchone()
    found: RunState = row[0]
    return found
