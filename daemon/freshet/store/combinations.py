"""Combinations of several dimensions: where they lie, and what becomes of them when a dimension's key comes or goes.

A combination is live exactly while each of its parts is. A part that is deleted takes it along; one that comes back
brings it back: as it was, or, where the part is a new generation of its key, as a new generation too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from freshet.definitions.outcome import Json
from freshet.store.codec import dump
from freshet.store.events import EventLog
from freshet.store.records.stages import Strand
from freshet.store.renewal import renew_numbers

__all__ = [
    "DimensionRow",
    "cascade_added",
    "cascade_deleted",
    "dimensions_of",
    "hanging",
    "ranges",
    "reveal",
    "settle_strand",
    "strands",
]

_APART = 16
"""The most events that combinations of one part become."""

_LIVE_PART = """
CASE s.kind WHEN 'time' THEN c.value BETWEEN s.first AND s.last ELSE EXISTS (
    SELECT 1 FROM partitions q WHERE q.set_id = s.id AND q.number = c.value AND q.deleted_at IS NULL) END
"""
"""Whether the part `c` of a combination is live; `s` is its dimension's set."""

_WITH_PARTS = """
SELECT c.number, p.key FROM json_each(?1) part
CROSS JOIN combinations c ON c.set_id = ?2 AND c.position = ?3
    AND c.value BETWEEN json_extract(part.value, '$[0]') AND json_extract(part.value, '$[1]')
CROSS JOIN partitions p ON p.set_id = c.set_id AND p.number = c.number
"""
_OF_STRAND = """
SELECT c.number, p.key FROM combinations c CROSS JOIN partitions p ON p.set_id = c.set_id AND p.number = c.number
WHERE c.set_id = ? AND c.position = ? AND c.value = ? AND c.number BETWEEN ? AND ?
"""
_NUMBERED = """
SELECT p.number, p.key FROM json_each(?) w CROSS JOIN partitions p ON p.set_id = ? AND p.number = w.value
"""
_ENDLESS = 2**62
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


def hanging(db: sqlite3.Connection, set: str, keys: Iterable[str]) -> list[int]:
    """Of each key, how many combinations come and go with it; nothing where it is part of none. Not for the writer."""
    (over,) = db.execute(
        "SELECT EXISTS (SELECT 1 FROM dimensions d JOIN partition_sets s ON s.id = d.of_set WHERE s.name = ?)", (set,)
    ).fetchone()
    if not over:
        return []
    rows = db.execute(
        """
        SELECT (SELECT count(*) FROM dimensions d CROSS JOIN combinations c
            ON c.set_id = d.set_id AND c.position = d.position AND c.value = p.number WHERE d.of_set = p.set_id)
        FROM json_each(?2) w LEFT JOIN partitions p
            ON p.set_id = (SELECT id FROM partition_sets WHERE name = ?1) AND p.key = w.value ORDER BY w.key
        """,
        (set, dump(list(keys))),
    )
    return [count for (count,) in rows]


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
        found = dict(db.execute(f"{_WITH_PARTS} WHERE p.deleted_at IS NULL", (parts, several, position)))
        _mark(db, several, found, now)
        _tell(db, log, "partition_deleted", (several, name), found, tick_id)


def cascade_added(
    db: sqlite3.Connection,
    log: EventLog,
    set_id: int,
    came: Iterable[tuple[int, int]],
    *,
    anew: float | None,
    tick_id: int | None = None,
) -> None:
    """Partitions of a set, given as ranges, are live: so are the combinations whose parts now all are. `anew`: since
    when the partitions are new generations of their keys, and all their combinations are, those that stay hidden too;
    None where they are what they were."""
    over = _over(db, set_id)
    parts = dump([list(one) for one in came] if over else [])
    for several, name, position in over:
        if anew is not None:
            _renew(db, several, dict(db.execute(_WITH_PARTS, (parts, several, position))), anew)
        # Renewed are those too that were about to go in pieces, and are still there.
        hidden = f"{_WITH_PARTS} WHERE {'p.deleted_at IS NOT NULL AND' if anew is None else ''} {_ALL_PARTS_LIVE}"
        found = dict(db.execute(hidden, (parts, several, position)))
        _mark(db, several, found, None)
        _tell(db, log, "partition_added", (several, name), found, tick_id)


# --- in pieces -------------------------------------------------------------------------------------------------


def strands(db: sqlite3.Connection, set: str, key: str, most: int, *, live: bool) -> list[Strand]:
    """What hangs on a key that is live, or not: ranges of at most `most` combinations, the last of each set without an
    end; none where the key is otherwise. Not for the writer."""
    row = db.execute(
        """
        SELECT s.id, p.number, p.deleted_at IS NULL FROM partition_sets s JOIN partitions p ON p.set_id = s.id
        WHERE s.name = ? AND p.key = ?
        """,
        (set, key),
    ).fetchone()
    if row is None or row[2] != live:
        return []
    found: list[Strand] = []
    for several, _, position in _over(db, row[0]):
        numbers = db.execute(
            "SELECT number FROM combinations WHERE set_id = ? AND position = ? AND value = ? ORDER BY number",
            (several, position, row[1]),
        )
        begins = [number for at, (number,) in enumerate(numbers) if at % most == 0]
        ends = [*(number - 1 for number in begins[1:]), _ENDLESS]
        found += (Strand(row[0], row[1], several, position, *span) for span in zip(begins, ends, strict=False))
    return found


def settle_strand(db: sqlite3.Connection, log: EventLog, strand: Strand, now: float, *, tick_id: int | None) -> None:
    """Bring combinations in line with a part that came (as a new generation of its key) or went before: whatever
    happened to it since, what is renewed twice has no state in between."""
    set_id, part, several, position, first, last = strand
    names = {(other, at): name for other, name, at in _over(db, set_id)}
    if (name := names.get((several, position))) is None:  # defined otherwise since
        return
    (live,) = db.execute(
        "SELECT deleted_at IS NULL FROM partitions WHERE set_id = ? AND number = ?", (set_id, part)
    ).fetchone()
    state = "IS NOT NULL" if live else "IS NULL"
    found: dict[int, str] = dict(
        db.execute(f"{_OF_STRAND} AND p.deleted_at {state}", (several, position, part, first, last))
    )
    if live:
        reveal(db, log, (several, name), found, now, tick_id=tick_id)
    else:
        _mark(db, several, found, now)
        _tell(db, log, "partition_deleted", (several, name), found, tick_id)


def reveal(
    db: sqlite3.Connection,
    log: EventLog,
    several: tuple[int, str],
    hidden: Mapping[int, str],
    now: float,
    *,
    tick_id: int | None,
) -> None:
    """Combinations of a set (its id and name) that are hidden, and of which a part came back: new generations, and live
    as far as all their parts are."""
    _renew(db, several[0], hidden, now)
    found = dict(db.execute(f"{_NUMBERED} WHERE {_ALL_PARTS_LIVE}", (dump(sorted(hidden)), several[0])))
    _mark(db, several[0], found, None)
    _tell(db, log, "partition_added", several, found, tick_id)


# --- both ------------------------------------------------------------------------------------------------------


def _tell(
    db: sqlite3.Connection,
    log: EventLog,
    type: Literal["partition_added", "partition_deleted"],
    several: tuple[int, str],
    found: Mapping[int, str],
    tick_id: int | None,
) -> None:
    for first, data in _told(db, several[0], found):
        log.add(type, set=several[1], partition=first, tick_id=tick_id, data=data)


def _mark(db: sqlite3.Connection, set_id: int, numbers: Iterable[int], deleted_at: float | None) -> None:
    db.execute(
        "UPDATE partitions SET deleted_at = ? WHERE set_id = ? AND number IN (SELECT value FROM json_each(?))",
        (deleted_at, set_id, dump(sorted(numbers))),
    )


def _renew(db: sqlite3.Connection, set_id: int, numbers: Iterable[int], now: float) -> None:
    text = dump(sorted(numbers))
    db.execute(
        """
        UPDATE partitions SET generation = generation + 1, added_at = ?
        WHERE set_id = ? AND number IN (SELECT value FROM json_each(?))
        """,
        (now, set_id, text),
    )
    renew_numbers(db, set_id, text)


def _over(db: sqlite3.Connection, set_id: int) -> list[tuple[int, str, int]]:
    """The sets of which this one is a dimension: id, name, and at which place. The same set may be two dimensions."""
    return db.execute(
        """
        SELECT s.id, s.name, d.position FROM dimensions d JOIN partition_sets s ON s.id = d.set_id
        WHERE d.of_set = ? ORDER BY s.id, d.position
        """,
        (set_id,),
    ).fetchall()


def _told(db: sqlite3.Connection, set_id: int, keys: Mapping[int, str]) -> Iterator[tuple[int, Json]]:
    """What events say of combinations, given with their keys: many in a row by their range, many apart all in one."""
    found = list(ranges(sorted(keys)))
    if len(found) > _APART:
        yield found[0][0], {"numbers": sorted(keys)}
        return
    alone = [first for first, last in found if first == last]
    places: dict[int, list[Json]] = {number: [] for number in alone}
    for number, value in db.execute(
        """
        SELECT c.number, c.value FROM json_each(?) wanted
        CROSS JOIN combinations c ON c.set_id = ? AND c.number = wanted.value ORDER BY wanted.key, c.position
        """,
        (dump(list(alone)), set_id),
    ):
        places[number].append(value)
    for first, last in found:
        yield first, {"last": last} if first < last else {"key": keys[first], "place": places[first]}


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
