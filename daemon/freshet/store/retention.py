"""What is no longer kept: found by readers in small looks, and deleted by their numbers in small transactions.

What stays of a ticker's ticks is an unbroken end of them, so that its cursor's history has no holes. Of the events
that are gone the last of each kind of each asset's partition stays, which `why` shows. Run keys and ledgers stay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from freshet.definitions.retention import Older
from freshet.store.assets import automation_seq
from freshet.store.codec import dump, load

__all__ = [
    "LAST_TICKS",
    "Consumed",
    "OldEvents",
    "consumed",
    "forget_events",
    "forget_ledger",
    "forget_ticks",
    "last_number",
    "old_events",
    "old_ledger",
    "old_ticks",
    "ticker_kinds",
]

LAST_TICKS = 20
"""Of each ticker so many are kept whatever their age."""

_FORGOTTEN = "events_forgotten"
_NUMBERED = ("events", "runs", "inbox")


@dataclass(frozen=True, slots=True)
class Consumed:
    """Up to and including event `seq` all who read events have read them. `at`: when the next one happened; None where
    there is none."""

    seq: int
    at: float | None


@dataclass(frozen=True, slots=True)
class OldEvents:
    """`gone`: events to delete; up to `seq` all have been looked at. `more`: there may be more after that. `looked`:
    there were any."""

    gone: tuple[int, ...]
    seq: int
    more: bool
    looked: bool = True


def consumed(db: sqlite3.Connection, sensors: Sequence[str]) -> Consumed:
    """How far the conditions and these sensors have read. A sensor that has not looked yet may want all; one whose
    cursor is no number keeps its position to itself, and so all events."""
    seq = automation_seq(db)
    for (cursor,) in db.execute(
        """
        SELECT t.cursor FROM json_each(?) wanted LEFT JOIN tickers t ON t.kind = 'sensor' AND t.name = wanted.value
        """,
        (dump(list(sensors)),),
    ):
        at = 0 if cursor is None else load(cursor)
        seq = min(seq, at if type(at) is int else 0)
    row = db.execute("SELECT at FROM events WHERE seq > ? ORDER BY seq LIMIT 1", (seq,)).fetchone()
    return Consumed(seq, None if row is None else row[0])


def last_number(db: sqlite3.Connection, table: str) -> int:
    """The last number that a row of `events`, `runs` or `inbox` ever got; 0 before the first."""
    assert table in _NUMBERED, table
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 0 if row is None else row[0]


def ticker_kinds(db: sqlite3.Connection) -> tuple[tuple[int, str], ...]:
    """The tickers of which something may go, by number, each with its kind: those with more than `LAST_TICKS`, or with
    a ledger's past. Thousands that have little are not asked one by one."""
    return tuple(
        db.execute(
            """
            SELECT id, kind FROM tickers
            WHERE (SELECT 1 FROM ticks WHERE ticker_id = tickers.id LIMIT 1 OFFSET ?1) IS NOT NULL
                OR (SELECT 1 FROM schedule_ticks WHERE ticker_id = tickers.id LIMIT 1 OFFSET ?1) IS NOT NULL
                OR EXISTS (SELECT 1 FROM ledger_past WHERE ticker_id = tickers.id)
            """,
            (LAST_TICKS,),
        )
    )


# --- ticks ------------------------------------------------------------------------------------------------------


def old_ticks(db: sqlite3.Connection, ticker_id: int, older: Older, most: int, limit: int) -> tuple[int, ...]:
    """The first ticks of a ticker that are not kept, beside all but the last `most`; not the last `LAST_TICKS`."""
    stays = _nth_last(db, ticker_id, LAST_TICKS)
    if stays is None:
        return ()
    many = _nth_last(db, ticker_id, max(most, LAST_TICKS)) if most else None
    cut = older.numbered(0 if many is None else many - 1)
    rows = db.execute(
        "SELECT id, ended_at FROM ticks WHERE ticker_id = ? AND id < ? ORDER BY id LIMIT ?", (ticker_id, stays, limit)
    )
    return tuple(id for id, _ in takewhile(lambda row: cut.holds(*row), rows))


def _nth_last(db: sqlite3.Connection, ticker_id: int, nth: int) -> int | None:
    row = db.execute(
        "SELECT id FROM ticks WHERE ticker_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?", (ticker_id, nth - 1)
    ).fetchone()
    return None if row is None else row[0]


def forget_ticks(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Delete ticks."""
    db.execute("DELETE FROM ticks WHERE id IN (SELECT value FROM json_each(?))", (dump(list(ids)),))


_PAST = """
FROM ledger_past WHERE ticker_id = ?1 AND until <= (SELECT min(id) FROM ticks WHERE ticker_id = ?1)
"""


def old_ledger(db: sqlite3.Connection, ticker_id: int) -> bool:
    """Whether something is kept of the ledger's past that no rollback can ask for any more: it goes back to a tick that
    is there."""
    return db.execute(f"SELECT 1 {_PAST} LIMIT 1", (ticker_id,)).fetchone() is not None  # a constant


def forget_ledger(db: sqlite3.Connection, ticker_id: int, limit: int) -> int:
    """Delete some of that; returns how much."""
    return db.execute(
        f"""
        DELETE FROM ledger_past WHERE (ticker_id, until, digest) IN (
            SELECT ticker_id, until, digest {_PAST} ORDER BY until LIMIT ?2)
        """,  # noqa: S608  # a constant
        (ticker_id, limit),
    ).rowcount


# --- events -----------------------------------------------------------------------------------------------------


def old_events(db: sqlite3.Connection, older: Older, consumed: int, limit: int) -> OldEvents:
    """The next events that are not kept, of those that were not looked at before; none that someone has to read."""
    after = _forgotten(db)
    rows = db.execute(
        """
        SELECT seq, at, asset_id, partition, type, set_id FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?
        """,
        (after, consumed, limit),
    ).fetchall()
    found = list(takewhile(lambda row: older.holds(row[0], row[1]), rows))
    if not found:
        return OldEvents((), after, more=False, looked=False)
    newest: dict[tuple[object, ...], int] = {}
    for seq, _, asset, partition, kind, set_ in found:
        if asset is not None:
            newest["asset", asset, partition, kind] = seq
        elif kind == "partition_added":
            newest["set", set_, partition] = seq
    stays = set(newest.values())
    gone = [row[0] for row in found if row[0] not in stays]
    for key in newest:
        gone += _earlier(db, key, after)
    return OldEvents(tuple(gone), found[-1][0], more=len(found) == limit)


def _earlier(db: sqlite3.Connection, key: tuple[object, ...], upto: int) -> Iterable[int]:
    if key[0] == "asset":
        sql = "SELECT seq FROM events INDEXED BY events_of WHERE asset_id = ? AND partition IS ? AND type = ?"
    else:
        sql = """SELECT seq FROM events INDEXED BY events_of_set
            WHERE set_id = ? AND partition IS ? AND type = 'partition_added'"""
    return [seq for (seq,) in db.execute(f"{sql} AND seq <= ?", (*key[1:], upto))]  # constants


def _forgotten(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (_FORGOTTEN,)).fetchone()
    return 0 if row is None else int(row[0])


def forget_events(db: sqlite3.Connection, seqs: Sequence[int], upto: int) -> None:
    """Delete events; up to `upto` all have been looked at."""
    db.execute("DELETE FROM events WHERE seq IN (SELECT value FROM json_each(?))", (dump(list(seqs)),))
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_FORGOTTEN, str(upto)))
