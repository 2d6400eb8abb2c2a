"""Deliveries, requests that waited, and instants of schedules that are no longer kept: found by readers in small looks,
and deleted by their numbers in small transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from freshet.definitions.retention import Older
from freshet.store.codec import dump
from freshet.store.retention import LAST_TICKS

__all__ = ["OldRows", "forget_inbox", "forget_instants", "forget_pending", "old_inbox", "old_instants", "old_pending"]


@dataclass(frozen=True, slots=True)
class OldRows:
    """Rows to delete, of those up to `last`; None: beyond them all are kept."""

    ids: tuple[int, ...]
    last: int | None


def old_inbox(db: sqlite3.Connection, older: Older, after: int, limit: int) -> OldRows:
    """The deliveries beyond `after` that are decided and not kept, of the next `limit`. What is parked waits for a
    person."""
    rows = db.execute(
        """
        SELECT id, received_at, iif(state IN ('admitted', 'filtered', 'rejected'), coalesce(decided_at, received_at),
            NULL) FROM inbox WHERE id > ? ORDER BY id LIMIT ?
        """,
        (after, limit),
    ).fetchall()
    return _old(rows, older, limit)


def old_pending(db: sqlite3.Connection, older: Older, after: int, limit: int) -> OldRows:
    """The requests beyond `after` that are settled and not kept, of the next `limit`."""
    rows = db.execute(
        """
        SELECT id, came_at, iif(state = 'waiting', NULL, coalesce(settled_at, came_at))
        FROM pending WHERE id > ? ORDER BY id LIMIT ?
        """,
        (after, limit),
    ).fetchall()
    return _old(rows, older, limit)


def _old(rows: Sequence[tuple[int, float, float | None]], older: Older, limit: int) -> OldRows:
    found: list[int] = []
    for id, came, done in rows:
        if older.ends(id, came):
            return OldRows(tuple(found), None)
        if done is not None and older.holds(id, done):
            found.append(id)
    return OldRows(tuple(found), rows[-1][0] if len(rows) == limit else None)


def forget_inbox(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Delete deliveries: from now on one with the same identity is a new one, unless a run key says otherwise."""
    db.execute("DELETE FROM inbox WHERE id IN (SELECT value FROM json_each(?))", (dump(list(ids)),))


def forget_pending(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Delete settled requests. Their run keys stay."""
    db.execute("DELETE FROM pending WHERE id IN (SELECT value FROM json_each(?))", (dump(list(ids)),))


def old_instants(
    db: sqlite3.Connection, ticker_id: int, older: Older, most: int, limit: int
) -> tuple[tuple[str, float], ...]:
    """The first instants of a schedule, with its version, that are not kept, beside all but the last `most` of a
    version; not the last `LAST_TICKS` of a version, nor what was fired and skipped last."""
    found: list[tuple[str, float]] = []
    version = ""
    while len(found) < limit:
        row = db.execute(
            "SELECT version FROM schedule_ticks WHERE ticker_id = ? AND version > ? ORDER BY version LIMIT 1",
            (ticker_id, version),
        ).fetchone()
        if row is None:
            break
        version = row[0]
        stays = _nth_last(db, ticker_id, version, LAST_TICKS)
        many = _nth_last(db, ticker_id, version, max(most, LAST_TICKS)) if most else None
        lasts = {_last(db, ticker_id, version, status) for status in ("fired", "skipped")}
        rows = db.execute(
            """
            SELECT nominal, decided_at FROM schedule_ticks
            WHERE ticker_id = ? AND version = ? AND nominal < ? ORDER BY nominal LIMIT ?
            """,
            (ticker_id, version, stays, limit - len(found) + len(lasts)),
        )
        for nominal, decided in rows:
            if not older.numbered(1).holds(1 if many is not None and nominal < many else 2, decided):
                break
            if nominal not in lasts:
                found.append((version, nominal))
    return tuple(found)


def _last(db: sqlite3.Connection, ticker_id: int, version: str, status: str) -> float | None:
    row = db.execute(
        """
        SELECT nominal FROM schedule_ticks WHERE ticker_id = ? AND version = ? AND status = ?
        ORDER BY nominal DESC LIMIT 1
        """,
        (ticker_id, version, status),
    ).fetchone()
    return None if row is None else row[0]


def _nth_last(db: sqlite3.Connection, ticker_id: int, version: str, nth: int) -> float | None:
    row = db.execute(
        """
        SELECT nominal FROM schedule_ticks WHERE ticker_id = ? AND version = ?
        ORDER BY nominal DESC LIMIT 1 OFFSET ?
        """,
        (ticker_id, version, nth - 1),
    ).fetchone()
    return None if row is None else row[0]


def forget_instants(db: sqlite3.Connection, ticker_id: int, instants: Sequence[tuple[str, float]]) -> None:
    """Delete decided instants of a schedule; where it stands is its cursor's to say."""
    db.executemany(
        "DELETE FROM schedule_ticks WHERE ticker_id = ? AND version = ? AND nominal = ?",
        [(ticker_id, *instant) for instant in instants],
    )
