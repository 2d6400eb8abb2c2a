"""The history of a cursor: what a sensor remembered at the end of a tick, and what came after it."""

from __future__ import annotations

import sqlite3

from freshet.definitions.outcome import Json
from freshet.errors import UnknownName
from freshet.store.codec import dump, load
from freshet.store.records import LedgerDelta, LedgerEntry
from freshet.store.records.history import RollbackPlan, TakenKey
from freshet.store.records.ticks import RunKey
from freshet.store.tickers import ticker

__all__ = ["ledger_then", "note_cursor", "rollback_plan", "taken_keys"]

# A request that has not become a run yet keeps its key.
_TAKEN = """
FROM run_keys k JOIN ticks t ON t.id = k.tick_id AND t.ticker_id = ?1
WHERE k.tick_id > ?2 AND (k.run_id > 0 OR NOT EXISTS (
    SELECT 1 FROM pending p WHERE p.id = -k.run_id AND p.state = 'waiting'))
"""


def note_cursor(db: sqlite3.Connection, ticker_id: int, tick_id: int, cursor: Json, now: float) -> None:
    """Keep in the history that a person is about to replace the cursor."""
    before = ticker(db, ticker_id)
    db.execute(
        """
        INSERT INTO ticks (id, ticker_id, status, started_at, ended_at, cursor_before, cursor, skip)
        VALUES (?, ?, 'committed', ?, ?, ?, ?, 'set by hand')
        """,
        (tick_id, ticker_id, now, now, dump(before.cursor), dump(cursor)),
    )


def rollback_plan(db: sqlite3.Connection, ticker_id: int, to: int, shown: int) -> RollbackPlan:
    """What going back to the end of a tick means; at most `shown` run keys are named.

    Raises `UnknownName` for a tick that the sensor's history does not have.
    """
    if db.execute("SELECT 1 FROM ticks WHERE id = ? AND ticker_id = ?", (to, ticker_id)).fetchone() is None:
        raise UnknownName(
            f"tick {to} is not in this sensor's history", hint="see freshet cursor history: idle looks are not kept"
        )
    (removed,) = db.execute(
        "SELECT count(*) FROM ledger WHERE ticker_id = ? AND tick_id > ?", (ticker_id, to)
    ).fetchone()
    (restored,) = db.execute(
        "SELECT count(*) FROM ledger_past WHERE ticker_id = ?1 AND until > ?2 AND tick_id <= ?2", (ticker_id, to)
    ).fetchone()
    (replaced,) = db.execute(
        """
        SELECT count(*) FROM ledger_past p CROSS JOIN ledger l ON l.ticker_id = p.ticker_id AND l.digest = p.digest
        WHERE p.ticker_id = ?1 AND p.until > ?2 AND p.tick_id <= ?2
        """,
        (ticker_id, to),
    ).fetchone()
    (count,) = db.execute(f"SELECT count(*) {_TAKEN}", (ticker_id, to)).fetchone()  # a constant
    rows = db.execute(
        f"SELECT k.target, k.partition, k.run_key, k.run_id {_TAKEN} ORDER BY k.run_id LIMIT ?3",
        (ticker_id, to, shown),
    )
    keys = tuple(TakenKey(target, key or None, run_key, max(run_id, 0)) for target, key, run_key, run_id in rows)
    (waiting,) = db.execute(
        "SELECT count(*) FROM pending WHERE ticker_id = ? AND state = 'waiting' AND tick_id > ?", (ticker_id, to)
    ).fetchone()
    return RollbackPlan(
        cursor=_cursor_then(db, ticker_id, to),
        removed=removed - replaced,
        restored=restored,
        keys=keys,
        key_count=count,
        waiting=waiting,
    )


def _cursor_then(db: sqlite3.Connection, ticker_id: int, to: int) -> Json:
    """Every change of a cursor is a row: the last one up to there tells, or else the next one what was before it."""
    row = db.execute(
        "SELECT cursor FROM ticks WHERE ticker_id = ? AND id <= ? AND cursor IS NOT NULL ORDER BY id DESC LIMIT 1",
        (ticker_id, to),
    ).fetchone()
    row = (
        row
        or db.execute(
            "SELECT cursor_before FROM ticks WHERE ticker_id = ? AND id > ? AND cursor IS NOT NULL ORDER BY id LIMIT 1",
            (ticker_id, to),
        ).fetchone()
    )
    return ticker(db, ticker_id).cursor if row is None else load(row[0])


def ledger_then(db: sqlite3.Connection, ticker_id: int, to: int) -> LedgerDelta:
    """What turns the ledger into what it was at the end of a tick."""
    past = db.execute(
        "SELECT digest, version, key FROM ledger_past WHERE ticker_id = ?1 AND until > ?2 AND tick_id <= ?2",
        (ticker_id, to),
    )
    put = tuple(LedgerEntry(*row) for row in past)
    again = {entry.digest for entry in put}
    added = db.execute("SELECT digest FROM ledger WHERE ticker_id = ? AND tick_id > ?", (ticker_id, to))
    return LedgerDelta(put, tuple(digest for (digest,) in added if digest not in again))


def taken_keys(db: sqlite3.Connection, ticker_id: int, to: int) -> tuple[RunKey, ...]:
    """The run keys that were taken after a tick and became runs."""
    rows = db.execute(f"SELECT k.target, k.partition, k.run_key {_TAKEN}", (ticker_id, to))  # a constant
    return tuple((target, partition, run_key) for target, partition, run_key in rows)
