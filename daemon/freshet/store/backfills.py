"""Backfills: begun, carried on turn by turn, and read again after a restart.

A turn writes the pieces of its bitmaps that changed and the runs that are next in one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pyroaring import BitMap

from freshet.errors import UnknownName
from freshet.store.admission import Admitting, admit_into
from freshet.store.codec import dump, load
from freshet.store.ending import ACTIVE
from freshet.store.events import EventLog, last_seq
from freshet.store.records import (
    Admitted,
    BackfillChunk,
    BackfillCommit,
    BackfillMark,
    BackfillRow,
    BackfillState,
    EndedStep,
    Event,
    NewBackfill,
    RunToAdmit,
)
from freshet.store.steps import cancel_run

__all__ = [
    "Overtaken",
    "active_backfills",
    "backfill",
    "backfill_bits",
    "backfill_runs",
    "backfills",
    "begin_backfill",
    "cancel_backfill",
    "commit_backfill",
    "known_numbers",
    "made_since",
    "numbers_of_asset",
    "retries_of",
    "steps_of_runs",
]

_ROW = "SELECT id, state, request, priority, tags, low_run, created_at, ended_at, error, boxes FROM backfills"
_OF_ORIGIN = "origin = ? AND origin LIKE 'backfill:%'"  # the second part is what the partial index is of


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Nothing was written: something of the runs to admit is in a run of somebody else. `seq`: of the last event; the
    facts as they are after it tell what."""

    seq: int


def begin_backfill(db: sqlite3.Connection, new: NewBackfill) -> int:
    """Remember a backfill as running; returns its id."""
    (found,) = db.execute(
        """
        INSERT INTO backfills (state, request, priority, tags, boxes, created_at) VALUES ('running', ?, ?, ?, ?, ?)
        RETURNING id
        """,
        (dump(new.request), new.priority, dump(new.tags), dump(new.boxes), new.at),
    ).fetchone()
    _write_chunks(db, found, new.chunks)
    return int(found)


def commit_backfill(db: sqlite3.Connection, commit: BackfillCommit) -> Admitted | Overtaken:
    """Commit one turn: the bits that changed, the runs that are next, and a change of state."""
    if _in_flight(db, commit.runs):
        return Overtaken(last_seq(db))
    _write_chunks(db, commit.id, commit.chunks)
    log = EventLog(db, commit.at)
    how = Admitting(commit.start, commit.needs, commit.at, commit.version)
    admitted, _ = admit_into(db, log, commit.runs, how)
    low = commit.low_run
    if low is None:
        row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'runs'").fetchone()
        low = admitted[0].run_id if admitted else (0 if row is None else row[0]) + 1
    db.execute("UPDATE backfills SET low_run = ? WHERE id = ?", (low, commit.id))
    if commit.boxes is not None:
        db.execute("UPDATE backfills SET boxes = ? WHERE id = ?", (dump(commit.boxes), commit.id))
    if commit.state is not None:
        _set_state(db, commit.id, commit.state, commit.error, commit.at)
    return Admitted(admitted, log.write())


def _in_flight(db: sqlite3.Connection, runs: Iterable[RunToAdmit]) -> bool:
    """Whether a run that has not ended makes something of what these would."""
    places = [
        (step.name, step.at.number if step.at is not None else run.partition if step.partitioned else 0)
        for run in runs
        for step in run.steps
    ]
    row = db.execute(
        f"""
        SELECT 1 FROM json_each(?) wanted CROSS JOIN assets a ON a.name = wanted.value ->> 0
        CROSS JOIN steps s INDEXED BY steps_active ON s.asset_id = a.id AND s.partition = wanted.value ->> 1
        WHERE s.state IN {ACTIVE} LIMIT 1
        """,  # noqa: S608  # a constant
        (dump(places),),
    ).fetchone()
    return row is not None


def cancel_backfill(db: sqlite3.Connection, commit: BackfillCommit) -> tuple[tuple[int, ...], tuple[Event, ...]]:
    """End a backfill as canceled, and with it its runs that have not ended; returns these and what happened."""
    _write_chunks(db, commit.id, commit.chunks)
    _set_state(db, commit.id, "canceled", commit.error, commit.at)
    rows = db.execute(
        f"""
        SELECT id FROM runs WHERE {_OF_ORIGIN} AND id >= (SELECT low_run FROM backfills WHERE id = ?)
        AND state IN ('queued', 'started', 'interrupted') ORDER BY id
        """,  # noqa: S608  # a constant
        (f"backfill:{commit.id}", commit.id),
    ).fetchall()
    events: list[Event] = []
    for (run_id,) in rows:
        events += cancel_run(db, run_id, commit.at)
    return tuple(run_id for (run_id,) in rows), tuple(events)


def _set_state(db: sqlite3.Connection, backfill_id: int, state: BackfillState, error: str | None, at: float) -> None:
    ended_at = None if state in ("running", "paused") else at
    db.execute(
        "UPDATE backfills SET state = ?, error = ?, ended_at = ? WHERE id = ?", (state, error, ended_at, backfill_id)
    )


def _write_chunks(db: sqlite3.Connection, backfill_id: int, chunks: Iterable[BackfillChunk]) -> None:
    for one in chunks:
        place = (backfill_id, one.asset, one.what, one.chunk)
        if one.bits:
            db.execute(
                """
                INSERT OR REPLACE INTO backfill_bits (backfill_id, asset_id, what, chunk, bits)
                VALUES (?, (SELECT id FROM assets WHERE name = ?), ?, ?, ?)
                """,
                (*place, one.bits),
            )
        else:
            db.execute(
                """
                DELETE FROM backfill_bits
                WHERE backfill_id = ? AND asset_id = (SELECT id FROM assets WHERE name = ?) AND what = ? AND chunk = ?
                """,
                place,
            )


# --- reading ------------------------------------------------------------------------------------------------


def backfills(db: sqlite3.Connection, *, limit: int = 50, before: int | None = None) -> tuple[BackfillRow, ...]:
    """Backfills, newest first; `before`: only those with a smaller id."""
    rows = db.execute(f"{_ROW} WHERE id < coalesce(?, 1 << 62) ORDER BY id DESC LIMIT ?", (before, limit))
    return tuple(map(_row, rows))


def backfill(db: sqlite3.Connection, backfill_id: int) -> BackfillRow:
    """One backfill. Raises `UnknownName`."""
    row = db.execute(f"{_ROW} WHERE id = ?", (backfill_id,)).fetchone()
    if row is None:
        raise UnknownName(f"there is no backfill {backfill_id}", hint="freshet backfills lists them")
    return _row(row)


def retries_of(db: sqlite3.Connection, backfill_id: int) -> tuple[BackfillRow, ...]:
    """The backfills that were begun to make what this one left, and what those left; oldest first."""
    rows = db.execute(
        f"""
        WITH RECURSIVE retries(id) AS (
            SELECT ? UNION
            SELECT b.id FROM retries r JOIN backfills b ON b.id > r.id AND b.request ->> 'retry_of' = r.id
        )
        {_ROW} WHERE id IN (SELECT id FROM retries) AND id <> ? ORDER BY id
        """,  # noqa: S608
        (backfill_id, backfill_id),
    )
    return tuple(map(_row, rows))


def active_backfills(db: sqlite3.Connection) -> tuple[BackfillRow, ...]:
    """Those that have not ended, oldest first."""
    return tuple(map(_row, db.execute(f"{_ROW} WHERE state IN ('running', 'paused') ORDER BY id")))


def backfill_bits(db: sqlite3.Connection, backfill_id: int) -> dict[str, dict[BackfillMark, BitMap]]:
    """By asset and mark: which partitions."""
    found: dict[str, dict[BackfillMark, BitMap]] = {}
    for asset, what, bits in db.execute(
        "SELECT a.name, b.what, b.bits FROM backfill_bits b JOIN assets a ON a.id = b.asset_id WHERE b.backfill_id = ?",
        (backfill_id,),
    ):
        marks = found.setdefault(asset, {})
        marks[what] = marks.get(what, BitMap()) | BitMap.deserialize(bits)
    return found


def backfill_runs(db: sqlite3.Connection, backfill_id: int, low_run: int) -> tuple[tuple[int, bool], ...]:
    """Its runs from `low_run` on, in order, each with whether it has ended."""
    rows = db.execute(
        f"SELECT id, state IN ('succeeded', 'failed', 'canceled') FROM runs WHERE {_OF_ORIGIN} AND id >= ? ORDER BY id",  # noqa: S608
        (f"backfill:{backfill_id}", low_run),
    )
    return tuple((run_id, bool(ended)) for run_id, ended in rows)


def steps_of_runs(db: sqlite3.Connection, runs: Sequence[int]) -> tuple[EndedStep, ...]:
    """The steps of runs, as they are."""
    rows = db.execute(
        """
        SELECT s.run_id, coalesce(a.name, s.name), s.partition, s.state FROM json_each(?) wanted
        CROSS JOIN steps s ON s.run_id = wanted.value LEFT JOIN assets a ON a.id = s.asset_id
        ORDER BY s.run_id, s.position
        """,
        (dump(list(runs)),),
    )
    return tuple(EndedStep(*row) for row in rows)


def numbers_of_asset(db: sqlite3.Connection, asset: str, *, failed: bool = False) -> BitMap:
    """The partitions of an asset that were made (`failed`: whose last try failed for good), deleted ones too."""
    which = "failed_seq > coalesce(materialized_seq, 0)" if failed else "materialized_seq IS NOT NULL"
    rows = db.execute(
        f"SELECT partition FROM asset_state WHERE asset_id = (SELECT id FROM assets WHERE name = ?) AND {which}",  # noqa: S608
        (asset,),
    )
    return BitMap([number for (number,) in rows])


def made_since(db: sqlite3.Connection, asset: str, seq: int) -> BitMap:
    """The partitions of an asset that were made after an event."""
    rows = db.execute(
        """
        SELECT partition FROM asset_state INDEXED BY asset_state_latest
        WHERE asset_id = (SELECT id FROM assets WHERE name = ?) AND materialized_seq > ?
        """,
        (asset, seq),
    )
    return BitMap([number for (number,) in rows])


def known_numbers(db: sqlite3.Connection, set: str, keys: Sequence[str]) -> dict[str, int]:
    """Of keys of a dynamic set: those that are there, with their numbers."""
    return dict(
        db.execute(
            """
            SELECT p.key, p.number FROM json_each(?) wanted CROSS JOIN partition_sets ps ON ps.name = ?
            CROSS JOIN partitions p ON p.set_id = ps.id AND p.key = wanted.value WHERE p.deleted_at IS NULL
            """,
            (dump(list(dict.fromkeys(keys))), set),
        )
    )


def _row(row: Sequence[Any]) -> BackfillRow:
    values: list[Any] = [row[0], row[1], load(row[2]), row[3], load(row[4]), *row[5:9], tuple(load(row[9]))]
    return BackfillRow(*values)
