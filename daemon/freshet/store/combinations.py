"""Combinations of several dimensions: where they lie, and what becomes of them when a dimension's key comes or goes.

A combination is live exactly while each of its parts is. A part that is deleted takes it along; one that comes back
brings it back: as it was, or, where the part is a new generation of its key, as a new generation too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from freshet.definitions.outcome import Json
from freshet.store.codec import dump
from freshet.store.events import EventLog

__all__ = ["DimensionRow", "cascade_added", "cascade_deleted", "dimensions_of", "ranges"]

_LIVE_PART = """
CASE s.kind WHEN 'time' THEN c.value BETWEEN s.first AND s.last ELSE EXISTS (
    SELECT 1 FROM partitions q WHERE q.set_id = s.id AND q.number = c.value AND q.deleted_at IS NULL) END
"""
"""Whether the part `c` of a combination is live; `s` is its dimension's set."""

_WITH_PARTS = """
SELECT c.number FROM json_each(?1) part
CROSS JOIN combinations c ON c.set_id = ?2 AND c.position = ?3
    AND c.value BETWEEN json_extract(part.value, '$[0]') AND json_extract(part.value, '$[1]')
CROSS JOIN partitions p ON p.set_id = c.set_id AND p.number = c.number
"""
_ALL_PARTS_LIVE = f"""
NOT EXISTS (SELECT 1 FROM dimensions d JOIN partition_sets s ON s.id = d.of_set
    JOIN combinations c ON c.set_id = d.set_id AND c.number = p.number AND c.position = d.position
    WHERE d.set_id = p.set_id AND NOT {_LIVE_PART})
"""  # noqa: S608  # a constant


@dataclass(frozen=True, slots=True)
class DimensionRow:
    """A dimension, as remembered: its name and its set."""

    name: str
    set_id: int
    set: str
    kind: str


def dimensions_of(db: sqlite3.Connection, set_id: int) -> tuple[DimensionRow, ...]:
    """The dimensions of a set, in order; none for a set of a single one."""
    rows = db.execute(
        """
        SELECT d.name, s.id, s.name, s.kind FROM dimensions d JOIN partition_sets s ON s.id = d.of_set
        WHERE d.set_id = ? ORDER BY d.position
        """,
        (set_id,),
    )
    return tuple(DimensionRow(*row) for row in rows)


def cascade_deleted(
    db: sqlite3.Connection,
    log: EventLog,
    set_id: int,
    gone: Iterable[tuple[int, int]],
    now: float,
    *,
    tick_id: int | None = None,
) -> None:
    """Partitions of a set, given as ranges, are live no more: neither are the combinations that they are a part of."""
    over = _over(db, set_id)
    parts = dump([list(one) for one in gone] if over else [])
    for several, name, position in over:
        found = db.execute(f"{_WITH_PARTS} WHERE p.deleted_at IS NULL", (parts, several, position)).fetchall()
        numbers = sorted(number for (number,) in found)
        db.executemany(
            "UPDATE partitions SET deleted_at = ? WHERE set_id = ? AND number = ?",
            [(now, several, number) for number in numbers],
        )
        for first, last in ranges(numbers):
            data = _data(db, several, first, last)
            log.add("partition_deleted", set=name, partition=first, tick_id=tick_id, data=data)


def cascade_added(
    db: sqlite3.Connection,
    log: EventLog,
    set_id: int,
    came: Iterable[tuple[int, int]],
    *,
    anew: bool,
    tick_id: int | None = None,
) -> None:
    """Partitions of a set, given as ranges, are live: so are the combinations whose parts now all are. `anew`: the
    partitions are new generations of their keys, so all their combinations are, those that stay hidden too."""
    over = _over(db, set_id)
    parts = dump([list(one) for one in came] if over else [])
    for several, name, position in over:
        if anew:
            _renew(db, several, db.execute(_WITH_PARTS, (parts, several, position)).fetchall())
        found = db.execute(
            f"{_WITH_PARTS} WHERE p.deleted_at IS NOT NULL AND {_ALL_PARTS_LIVE}", (parts, several, position)
        ).fetchall()
        numbers = sorted(number for (number,) in found)
        db.executemany(
            "UPDATE partitions SET deleted_at = NULL WHERE set_id = ? AND number = ?",
            [(several, number) for number in numbers],
        )
        for first, last in ranges(numbers):
            log.add("partition_added", set=name, partition=first, tick_id=tick_id, data=_data(db, several, first, last))


def _renew(db: sqlite3.Connection, set_id: int, numbers: list[tuple[int]]) -> None:
    if not numbers:
        return
    db.executemany(
        "UPDATE partitions SET generation = generation + 1 WHERE set_id = ? AND number = ?",
        [(set_id, number) for (number,) in numbers],
    )
    db.execute(
        """
        DELETE FROM asset_state WHERE asset_id IN (SELECT id FROM assets WHERE set_id = ?)
        AND partition IN (SELECT value FROM json_each(?))
        """,
        (set_id, dump([number for (number,) in numbers])),
    )


def _over(db: sqlite3.Connection, set_id: int) -> list[tuple[int, str, int]]:
    """The sets of which this one is a dimension: id, name, and at which place. The same set may be two dimensions."""
    return db.execute(
        """
        SELECT s.id, s.name, d.position FROM dimensions d JOIN partition_sets s ON s.id = d.set_id
        WHERE d.of_set = ? ORDER BY s.id, d.position
        """,
        (set_id,),
    ).fetchall()


def _data(db: sqlite3.Connection, set_id: int, first: int, last: int) -> Json:
    if first < last:
        return {"last": last}
    (key,) = db.execute("SELECT key FROM partitions WHERE set_id = ? AND number = ?", (set_id, first)).fetchone()
    place = db.execute(
        "SELECT value FROM combinations WHERE set_id = ? AND number = ? ORDER BY position", (set_id, first)
    )
    return {"key": key, "place": [value for (value,) in place]}


def ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as runs: the first and the last of each."""
    first = last = 0
    for number in numbers:
        if first and number != last + 1:
            yield first, last
            first = 0
        first, last = first or number, number
    if first:
        yield first, last
