"""A key that was deleted and is added again: the same number, and nothing of what was made of it before."""

from __future__ import annotations

import sqlite3

__all__ = ["renew_numbers"]


def renew_numbers(db: sqlite3.Connection, set_id: int, numbers: str) -> None:
    """Forget the state and freshness of partitions in all assets over a set; `numbers`: as a JSON list."""
    for table in ("asset_state", "freshness", "lapses", "check_results"):
        db.execute(
            f"""
            DELETE FROM {table} WHERE asset_id IN (SELECT id FROM assets WHERE set_id = ?)
            AND partition IN (SELECT value FROM json_each(?))
            """,  # noqa: S608  # constants
            (set_id, numbers),
        )
