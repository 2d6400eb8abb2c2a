"""Pools that are paused, and what runs are put first."""

from __future__ import annotations

import sqlite3

from freshet.errors import Conflict, UnknownName

__all__ = ["paused_pools", "prioritize_run", "set_pool"]


def paused_pools(db: sqlite3.Connection) -> dict[str, float]:
    """Of which no step may start, and since when."""
    return dict(db.execute("SELECT name, paused_at FROM paused_pools ORDER BY name"))


def set_pool(db: sqlite3.Connection, name: str, now: float, *, paused: bool) -> None:
    """Pause a pool, or let it go on. Twice is once."""
    if paused:
        db.execute("INSERT INTO paused_pools (name, paused_at) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, now))
    else:
        db.execute("DELETE FROM paused_pools WHERE name = ?", (name,))


def prioritize_run(db: sqlite3.Connection, run_id: int, priority: int) -> None:
    """Let what is still to start of a run start at this priority. Raises `UnknownName`, and `Conflict` for one that has
    ended."""
    row = db.execute("SELECT state FROM runs WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise UnknownName(f"there is no run {run_id}", hint="freshet runs lists them")
    if row[0] in ("succeeded", "failed", "canceled", "canceling"):
        raise Conflict(f"run {run_id} has ended ({row[0]})", hint="freshet retry makes what it did not make")
    db.execute("UPDATE runs SET priority = ? WHERE id = ?", (priority, run_id))
