"""Tickers as remembered: cursor, revision, counts, ledger. What a tick did is committed in `ticks`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from freshet.definitions.outcome import Json
from freshet.errors import UnknownName
from freshet.store.codec import dump, load, load_optional
from freshet.store.records import LedgerEntry, TickerRow

__all__ = [
    "bump_revision",
    "count_refused",
    "count_ticks",
    "has_entries",
    "ledger_keys",
    "ledger_page",
    "load_tickers",
    "next_tick_id",
    "pardon",
    "register_ticker",
    "register_tickers",
    "resume",
    "set_cursor",
    "set_paused",
    "ticker",
]

_COLUMNS = """id, kind, name, cursor, revision, ledger_revision, last_tick, paused, quarantined, failures, retry_at,
    last_error, last_tick_at, last_ok_at, ticks, idle_ticks, refused, strikes, struck_code"""


def _row(found: Sequence[Json]) -> TickerRow:
    id_, kind, name, cursor, revision, ledger_revision, last_tick, paused, quarantined, *rest = found
    failures, retry_at, last_error, *counts = rest
    return TickerRow(
        id_,
        kind,
        name,
        load(cursor),
        revision,
        ledger_revision,
        last_tick,
        bool(paused),
        quarantined,
        failures,
        retry_at,
        load_optional(last_error),
        *counts,
    )


def ticker(db: sqlite3.Connection, ticker_id: int) -> TickerRow:
    """One ticker. Raises `UnknownName`."""
    found = db.execute(f"SELECT {_COLUMNS} FROM tickers WHERE id = ?", (ticker_id,)).fetchone()  # noqa: S608
    if found is None:
        raise UnknownName(f"there is no ticker {ticker_id}")
    return _row(found)


def register_ticker(db: sqlite3.Connection, kind: str, name: str) -> TickerRow:
    """The ticker of that kind and name, made if it is new."""
    db.execute("INSERT INTO tickers (kind, name) VALUES (?, ?) ON CONFLICT (kind, name) DO NOTHING", (kind, name))
    where = "WHERE kind = ? AND name = ?"
    return _row(db.execute(f"SELECT {_COLUMNS} FROM tickers {where}", (kind, name)).fetchone())  # noqa: S608


def register_tickers(db: sqlite3.Connection, kind: str, names: Sequence[str]) -> tuple[TickerRow, ...]:
    """The tickers of that kind with these names, made if they are new."""
    return tuple(register_ticker(db, kind, name) for name in names)


def load_tickers(db: sqlite3.Connection, kind: str | None = None) -> tuple[TickerRow, ...]:
    """All tickers, or those of one kind, by id."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM tickers WHERE ?1 IS NULL OR kind = ?1 ORDER BY id", (kind,))  # noqa: S608
    return tuple(map(_row, rows))


def next_tick_id(db: sqlite3.Connection) -> int:
    """An id later than that of every tick so far. (Ids of ticks that did nothing may come again after a restart.)"""
    (last,) = db.execute(
        "SELECT max(coalesce((SELECT max(id) FROM ticks), 0), coalesce((SELECT max(last_tick) FROM tickers), 0))"
    ).fetchone()
    return int(last) + 1


def _change(db: sqlite3.Connection, ticker_id: int, assignments: str, *values: Json) -> TickerRow:
    """Every change by hand raises the revision: a tick in flight is refused when it ends."""
    db.execute(
        f"UPDATE tickers SET revision = revision + 1{assignments} WHERE id = ?",  # noqa: S608  # constants of this module
        (*values, ticker_id),
    )
    return ticker(db, ticker_id)


def bump_revision(db: sqlite3.Connection, ticker_id: int) -> TickerRow:
    """Refuse the tick in flight. Raises `UnknownName`, as all that follow."""
    return _change(db, ticker_id, "")


def set_cursor(db: sqlite3.Connection, ticker_id: int, cursor: Json) -> TickerRow:
    """Replace the cursor."""
    return _change(db, ticker_id, ", cursor = ?", dump(cursor))


def set_paused(db: sqlite3.Connection, ticker_id: int, paused: bool) -> TickerRow:
    """Pause, or resume; resuming also ends a back-off."""
    return _change(db, ticker_id, ", paused = ?, retry_at = NULL", paused)


_PARDON = "quarantined = NULL, retry_at = NULL, strikes = 0, struck_code = NULL"


def pardon(db: sqlite3.Connection, ticker_id: int) -> TickerRow:
    """End a quarantine, with its failures; a pause stays."""
    return _change(db, ticker_id, f", {_PARDON}, failures = 0")


def resume(db: sqlite3.Connection, ticker_id: int) -> TickerRow:
    """Let a ticker look again: neither paused nor quarantined nor backed off. A quarantine takes its failures along."""
    failures = "failures = CASE WHEN quarantined IS NULL THEN failures ELSE 0 END"
    return _change(db, ticker_id, f", paused = 0, {_PARDON}, {failures}")


def count_refused(db: sqlite3.Connection, ticker: int) -> None:
    """Count an outcome that came late or twice. (On its own: the refusal itself has rolled back.)"""
    db.execute("UPDATE tickers SET refused = refused + 1 WHERE id = ?", (ticker,))


def count_ticks(db: sqlite3.Connection, counts: Sequence[tuple[int, int, int, float | None]]) -> None:
    """Add ticks that were only counted: (ticker id, ticks, of them idle, time of the last).

    All went well, so each is also the ticker's last success.
    """
    db.executemany(
        """
        UPDATE tickers SET ticks = ticks + ?2, idle_ticks = idle_ticks + ?3,
            last_tick_at = max(coalesce(last_tick_at, ?4), ?4), last_ok_at = max(coalesce(last_ok_at, ?4), ?4)
        WHERE id = ?1
        """,
        counts,
    )


def has_entries(db: sqlite3.Connection, sensor: str) -> bool:
    """Whether a sensor's ledger knows anything."""
    (found,) = db.execute(
        """
        SELECT EXISTS (
            SELECT 1 FROM tickers t JOIN ledger l ON l.ticker_id = t.id WHERE t.kind = 'sensor' AND t.name = ?
        )
        """,
        (sensor,),
    ).fetchone()
    return bool(found)


def ledger_page(db: sqlite3.Connection, ticker_id: int, after: bytes, limit: int) -> tuple[LedgerEntry, ...]:
    """Entries in the order of their digests, from beyond `after`."""
    rows = db.execute(
        "SELECT digest, version, key FROM ledger WHERE ticker_id = ? AND digest > ? ORDER BY digest LIMIT ?",
        (ticker_id, after, limit),
    )
    return tuple(LedgerEntry(*row) for row in rows)


def ledger_keys(db: sqlite3.Connection, ticker_id: int, digests: Iterable[bytes]) -> dict[bytes, str]:
    """The texts behind digests; those that are not in the ledger are left out."""
    found: dict[bytes, str] = {}
    for digest in digests:
        row = db.execute("SELECT key FROM ledger WHERE ticker_id = ? AND digest = ?", (ticker_id, digest)).fetchone()
        if row is not None:
            found[digest] = row[0]
    return found
