"""Names that are others now: what is remembered under the old one goes with it. See `definitions.renames`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from freshet.definitions.graph import Definitions
from freshet.definitions.renames import renames

__all__ = ["rename"]

_OPEN = "('queued', 'started', 'canceling', 'interrupted')"


def rename(db: sqlite3.Connection, definitions: Definitions) -> dict[str, str]:
    """Once for each: a name that nothing is remembered under, or a new one under which something is, changes nothing.
    Returns the new names of assets by the old ones. History tells of runs by the name that they have now; what a look
    in flight under the old name finds is refused."""
    renamed: dict[str, str] = {}
    for old, new in renames(definitions.assets).items():
        known = {name for (name,) in db.execute("SELECT name FROM assets WHERE name IN (?, ?)", (old, new))}
        if known == {old}:
            db.execute("UPDATE assets SET name = ? WHERE name = ?", (new, old))
            _asset(db, old, new)
            renamed[old] = new
    _tickers(db, "sensor", renames(definitions.sensors))
    _tickers(db, "schedule", renames(definitions.schedules))
    return renamed


def _asset(db: sqlite3.Connection, old: str, new: str) -> None:
    """What names it in words: those under way go on under the new name."""
    db.execute("UPDATE runs SET target = ? WHERE target = ? AND kind = 'asset'", (new, old))
    db.execute(
        f"""
        UPDATE steps SET name = ?1 WHERE name = ?2 AND check_of IS NULL AND run_id IN
            (SELECT id FROM runs WHERE state IN {_OPEN})
        """,  # noqa: S608  # a constant
        (new, old),
    )
    db.execute("UPDATE OR IGNORE run_keys SET target = ? WHERE target = ?", (new, old))
    db.execute("UPDATE pending SET target = ? WHERE target = ? AND state = 'waiting'", (new, old))


def _tickers(db: sqlite3.Connection, kind: str, names: Mapping[str, str]) -> None:
    for old, new in names.items():
        known = {
            name
            for (name,) in db.execute("SELECT name FROM tickers WHERE kind = ? AND name IN (?, ?)", (kind, old, new))
        }
        if known == {old}:
            db.execute(
                "UPDATE tickers SET name = ?, revision = revision + 1 WHERE kind = ? AND name = ?", (new, kind, old)
            )
            db.execute(
                f"UPDATE runs SET origin = ? WHERE origin = ? AND state IN {_OPEN}",  # noqa: S608  # a constant
                (f"{kind}:{new}", f"{kind}:{old}"),
            )
