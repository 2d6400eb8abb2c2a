"""What sensors did to their evaluators: the last offences of each."""

from __future__ import annotations

import sqlite3

from freshet.store.records.offences import Offence, OffenceRow

__all__ = ["KEPT", "add_offence", "offences"]

KEPT = 50
"""Of each sensor."""


def add_offence(db: sqlite3.Connection, *, ticker_id: int, at: float, offence: Offence) -> None:
    """Remember one; the oldest go."""
    db.execute(
        "INSERT INTO offences (ticker_id, at, kind, seconds, stack, moved) VALUES (?, ?, ?, ?, ?, ?)",
        (ticker_id, at, offence.kind, offence.seconds, offence.stack, offence.moved),
    )
    db.execute(
        """
        DELETE FROM offences WHERE ticker_id = ?1 AND id <= (
            SELECT id FROM offences WHERE ticker_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2
        )
        """,
        (ticker_id, KEPT),
    )


def offences(db: sqlite3.Connection, sensor: str) -> tuple[OffenceRow, ...]:
    """Of a sensor, newest first."""
    rows = db.execute(
        """
        SELECT o.at, o.kind, o.seconds, o.stack, o.moved FROM tickers t JOIN offences o ON o.ticker_id = t.id
        WHERE t.kind = 'sensor' AND t.name = ? ORDER BY o.id DESC
        """,
        (sensor,),
    )
    return tuple(OffenceRow(at, kind, seconds, stack, bool(moved)) for at, kind, seconds, stack, moved in rows)
