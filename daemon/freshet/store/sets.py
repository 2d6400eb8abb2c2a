"""Partition sets as the engine loads them: what is live, as bitmaps."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from pyroaring import BitMap

from freshet.store.codec import load
from freshet.store.records import AddedAgain, SetState

__all__ = ["LIVE_STATE", "read_numbers", "read_sets"]

LIVE_STATE = """
JOIN assets a ON a.id = s.asset_id LEFT JOIN partition_sets ps ON ps.id = a.set_id
LEFT JOIN partitions p ON p.set_id = a.set_id AND p.number = s.partition AND ps.kind <> 'time'
WHERE CASE WHEN ps.kind IS NULL THEN s.partition = 0
    WHEN ps.kind = 'time' THEN s.partition BETWEEN ps.first AND ps.last
    ELSE p.number IS NOT NULL AND p.deleted_at IS NULL END
"""
"""Of rows `s` of asset_state: those of partitions that are live."""


def read_sets(db: sqlite3.Connection, names: Collection[str] | None = None) -> dict[str, SetState]:
    """All sets by name, those too that nobody declares any more; or those of these names."""
    found: dict[str, SetState] = {}
    for set_id, name, kind, first, last, following in db.execute(
        "SELECT id, name, kind, first, last, next_number FROM partition_sets"
    ).fetchall():
        if names is not None and name not in names:
            continue
        if kind == "time":
            live = BitMap() if first is None or last is None or last < first else BitMap(range(first, last + 1))
        else:
            live = read_numbers(db, "number FROM partitions WHERE set_id = ? AND deleted_at IS NULL", set_id)
        keys: dict[str, int] = {}
        if kind == "static":
            keys = dict(db.execute("SELECT key, number FROM partitions WHERE set_id = ?", (set_id,)))
        places = _places(db, set_id) if kind == "multi" else ()
        again = _again(db, set_id) if kind == "dynamic" else ()
        found[name] = SetState(name, kind, live, keys, places, following - 1, again)
    return found


def read_numbers(db: sqlite3.Connection, column_from: str, of: int) -> BitMap:
    """Numbers as a bitmap: `SELECT` is put before `column_from`, and `of` into its place. One JSON text of them all,
    since a million rows through a cursor would each ask for the interpreter."""
    column, _, rows = column_from.partition(" ")
    (text,) = db.execute(f"SELECT json_group_array({column}) {rows}", (of,)).fetchone()
    return BitMap(load(text))


def _places(db: sqlite3.Connection, set_id: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
    places: dict[int, tuple[int, ...]] = {}
    for number, value in db.execute(
        "SELECT number, value FROM combinations WHERE set_id = ? ORDER BY number, position", (set_id,)
    ):
        places[number] = (*places.get(number, ()), value)
    return tuple(places.items())


_AGAIN = "SELECT number, again, behind FROM partitions WHERE set_id = ? AND again IS NOT NULL"


def _again(db: sqlite3.Connection, set_id: int) -> tuple[AddedAgain, ...]:
    return tuple(AddedAgain(*row) for row in db.execute(_AGAIN, (set_id,)))
