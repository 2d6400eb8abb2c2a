"""What happened, in the order of commits. Events of one transaction function share `txn`, the first's number."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from freshet.definitions.outcome import Json
from freshet.store.alike import insert_alike
from freshet.store.codec import dump, dump_optional, load_optional
from freshet.store.records import Event, EventType

__all__ = ["EventLog", "events_after", "events_at", "last_seq"]

_INTO = "INSERT INTO events (seq, txn, at, type, asset_id, set_id, partition, run_id, tick_id, idle, data)"
_ROW = """(?, ?, ?, ?, (SELECT id FROM assets WHERE name = ?), (SELECT id FROM partition_sets WHERE name = ?),
?, ?, ?, ?, ?)"""
_SELECT = """
SELECT e.seq, e.txn, e.at, e.type, a.name, s.name, e.partition, e.run_id, e.tick_id, e.idle, e.data
FROM events e LEFT JOIN assets a ON a.id = e.asset_id LEFT JOIN partition_sets s ON s.id = e.set_id
"""


class EventLog:
    """Collects the events of one transaction function, numbered as they come; `write()` puts them into the table."""

    def __init__(self, db: sqlite3.Connection, at: float) -> None:
        self._db = db
        self._at = at
        self._first: int | None = None
        self._events: list[Event] = []

    def add(
        self,
        type: EventType,
        *,
        asset: str | None = None,
        set: str | None = None,
        partition: int | None = None,
        run_id: int | None = None,
        tick_id: int | None = None,
        idle: bool = True,
        data: Json = None,
        at: float | None = None,
    ) -> int:
        """Take an event; returns its number. `at`: where it is not the transaction's own time."""
        txn, seq, when = self.txn, self.next_seq, self._at if at is None else at
        self._events.append(Event(seq, txn, when, type, asset, set, partition, run_id, tick_id, idle, data))
        return seq

    @property
    def at(self) -> float:
        """When the transaction is."""
        return self._at

    @property
    def next_seq(self) -> int:
        """The number of the event that is added next."""
        return self.txn + len(self._events)

    @property
    def txn(self) -> int:
        """The transaction's number: that of its first event, which may be still to come."""
        if self._first is None:
            self._first = last_seq(self._db) + 1
        return self._first

    def write(self) -> tuple[Event, ...]:
        """Insert what was added, and return it."""
        if self._events:
            insert_alike(self._db, _INTO, _ROW, [_row(event) for event in self._events])
        return tuple(self._events)


def last_seq(db: sqlite3.Connection) -> int:
    """The number of the last event that ever was; 0 before the first."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return 0 if row is None else row[0]


def events_after(db: sqlite3.Connection, seq: int, limit: int) -> tuple[Event, ...]:
    """Events after `seq`, in order, in whole transactions: `limit` is exceeded to end the last one begun."""
    rows = db.execute(f"{_SELECT} WHERE e.seq > ? ORDER BY e.seq LIMIT ?", (seq, limit)).fetchall()
    if rows and len(rows) == limit:
        last, txn = rows[-1][0], rows[-1][1]
        following = db.execute(
            "SELECT seq FROM events WHERE seq > ? AND txn <> ? ORDER BY seq LIMIT 1", (last, txn)
        ).fetchone()
        end = last_seq(db) + 1 if following is None else following[0]
        rows += db.execute(f"{_SELECT} WHERE e.seq > ? AND e.seq < ? ORDER BY e.seq", (last, end)).fetchall()
    return tuple(_events(rows))


def events_at(db: sqlite3.Connection, seqs: Sequence[int]) -> tuple[Event, ...]:
    """The events of these numbers, in order."""
    sql = f"{_SELECT} WHERE e.seq IN (SELECT value FROM json_each(?)) ORDER BY e.seq"  # noqa: S608  # a constant
    return tuple(_events(db.execute(sql, (dump(list(seqs)),))))


def _events(rows: Iterable[Any]) -> Iterable[Event]:
    for seq, txn, at, type_, asset, set_, partition, run_id, tick_id, idle, data in rows:
        yield Event(seq, txn, at, type_, asset, set_, partition, run_id, tick_id, bool(idle), load_optional(data))


def _row(event: Event) -> tuple[Any, ...]:
    return (
        event.seq,
        event.txn,
        event.at,
        event.type,
        event.asset,
        event.set,
        event.partition,
        event.run_id,
        event.tick_id,
        event.idle,
        dump_optional(event.data),
    )
