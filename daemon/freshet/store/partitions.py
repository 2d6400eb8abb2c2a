"""Partition keys: interned to numbers, added, deleted, and found again.

A key keeps its number for ever. Deleted, it is marked; added again, it is the same number in a new generation, and
what its assets remember of it is gone.

CROSS JOIN is SQLite's way to say that the keys asked for come first, each looked up: left to itself it may choose to
walk through the whole set.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from freshet.definitions.names import nearest_hint
from freshet.definitions.outcome import Json
from freshet.errors import UnknownName
from freshet.store.codec import dump, load
from freshet.store.events import EventLog
from freshet.store.records import Event, PartitionDelta

__all__ = [
    "FoundPartition",
    "apply_delta",
    "change_partitions",
    "intern_numbers",
    "live_numbers",
    "metadata_of",
    "partitions_of",
    "set_id_of",
]


@dataclass(frozen=True, slots=True)
class FoundPartition:
    """A partition, found by its key or its number."""

    number: int
    key: str
    generation: int


def set_id_of(db: sqlite3.Connection, name: str) -> int:
    """The id of a partition set. Raises `UnknownName` with the nearest."""
    row = db.execute("SELECT id FROM partition_sets WHERE name = ?", (name,)).fetchone()
    if row is None:
        known = [known for (known,) in db.execute("SELECT name FROM partition_sets")]
        raise UnknownName(f"there is no partition set {name!r}", hint=nearest_hint(name, known))
    found: int = row[0]
    return found


def live_numbers(db: sqlite3.Connection, set: str, keys: Iterable[str]) -> dict[str, FoundPartition]:
    """The live partitions of `set` with these keys. Raises `UnknownName` naming the set and the first key missing."""
    wanted = list(dict.fromkeys(keys))
    rows = db.execute(
        """
        SELECT p.number, p.key, p.generation FROM json_each(?) wanted
        CROSS JOIN partitions p ON p.set_id = ? AND p.key = wanted.value WHERE p.deleted_at IS NULL
        """,
        (dump(wanted), set_id_of(db, set)),
    )
    found = {row[1]: FoundPartition(*row) for row in rows}
    for key in wanted:
        if key not in found:
            raise UnknownName(
                f"the partition set {set!r} has no key {key!r}",
                hint="add it first: AddPartitions in a sensor, or freshet partitions SET add KEY",
            )
    return found


def partitions_of(db: sqlite3.Connection, set: str, numbers: Iterable[int]) -> dict[int, FoundPartition]:
    """The partitions of `set` with these numbers, deleted ones too. Raises `UnknownName` for one that never was."""
    wanted = list(dict.fromkeys(numbers))
    rows = db.execute(
        """
        SELECT p.number, p.key, p.generation FROM json_each(?) wanted
        CROSS JOIN partitions p ON p.set_id = ? AND p.number = wanted.value
        """,
        (dump(wanted), set_id_of(db, set)),
    )
    found = {row[0]: FoundPartition(*row) for row in rows}
    for number in wanted:
        if number not in found:
            raise UnknownName(f"the partition set {set!r} has no partition number {number}")
    return found


def intern_numbers(
    db: sqlite3.Connection, log: EventLog, set: str, pairs: Iterable[tuple[int, str]], now: float
) -> None:
    """Remember partitions whose numbers follow from their keys (windows of time), when they are first used."""
    set_id = set_id_of(db, set)
    for number, key in dict.fromkeys(pairs):
        new = db.execute(
            "INSERT INTO partitions (set_id, number, key, added_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (set_id, number, key, now),
        )
        if new.rowcount:
            log.add("partition_added", set=set, partition=number, data={"key": key})


def metadata_of(db: sqlite3.Connection, set_id: int, number: int) -> dict[str, Json]:
    """What a sensor attached to a partition."""
    row = db.execute("SELECT metadata FROM partitions WHERE set_id = ? AND number = ?", (set_id, number)).fetchone()
    found: dict[str, Json] = {} if row is None else load(row[0])
    return found


def change_partitions(db: sqlite3.Connection, delta: PartitionDelta, now: float) -> tuple[int, tuple[Event, ...]]:
    """Add and delete keys by hand; returns how many were new or were there to delete, and the events."""
    log = EventLog(db, now)
    added, deleted = apply_delta(db, delta, now, log)
    return added + deleted, log.write()


def apply_delta(
    db: sqlite3.Connection, delta: PartitionDelta, now: float, log: EventLog, *, tick_id: int | None = None
) -> tuple[int, int]:
    """Add keys, then delete keys; returns how many were new and how many were there to delete.

    A key that is there gets its metadata replaced. Raises `UnknownName` for a set that nobody declares.
    """
    set_id = set_id_of(db, delta.set)
    added = _add(db, set_id, dict(delta.add), now) if delta.add else []
    for number, key in added:
        log.add("partition_added", set=delta.set, partition=number, tick_id=tick_id, data={"key": key})
    deleted = _delete(db, set_id, delta.delete, now) if delta.delete else []
    for number, key in deleted:
        log.add("partition_deleted", set=delta.set, partition=number, tick_id=tick_id, data={"key": key})
    return len(added), len(deleted)


def _add(db: sqlite3.Connection, set_id: int, add: dict[str, dict[str, Json]], now: float) -> list[tuple[int, str]]:
    known: dict[str, tuple[int, bool]] = {
        key: (number, deleted_at is None)
        for key, number, deleted_at in db.execute(
            """
            SELECT p.key, p.number, p.deleted_at FROM json_each(?) wanted
            CROSS JOIN partitions p ON p.set_id = ? AND p.key = wanted.value
            """,
            (dump(list(add)), set_id),
        )
    }
    (number,) = db.execute("SELECT next_number FROM partition_sets WHERE id = ?", (set_id,)).fetchone()
    new: list[tuple[Any, ...]] = []
    replaced: list[tuple[Any, ...]] = []
    revived: list[tuple[Any, ...]] = []
    added: list[tuple[int, str]] = []
    for key, metadata in add.items():
        text = dump(metadata)
        if key not in known:
            new.append((set_id, number, key, text, now))
            added.append((number, key))
            number += 1
        elif known[key][1]:
            replaced.append((text, set_id, known[key][0]))
        else:
            revived.append((text, now, set_id, known[key][0]))
            added.append((known[key][0], key))
    if new:
        db.executemany("INSERT INTO partitions (set_id, number, key, metadata, added_at) VALUES (?, ?, ?, ?, ?)", new)
        db.execute("UPDATE partition_sets SET next_number = ? WHERE id = ?", (number, set_id))
    db.executemany("UPDATE partitions SET metadata = ? WHERE set_id = ? AND number = ?", replaced)
    _revive(db, set_id, revived)
    return added


def _revive(db: sqlite3.Connection, set_id: int, rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    db.executemany(
        """
        UPDATE partitions SET metadata = ?, added_at = ?, generation = generation + 1, deleted_at = NULL
        WHERE set_id = ? AND number = ?
        """,
        rows,
    )
    db.execute(
        """
        DELETE FROM asset_state WHERE asset_id IN (SELECT id FROM assets WHERE set_id = ?)
        AND partition IN (SELECT value FROM json_each(?))
        """,
        (set_id, dump([row[3] for row in rows])),
    )


def _delete(db: sqlite3.Connection, set_id: int, keys: Iterable[str], now: float) -> list[tuple[int, str]]:
    found = db.execute(
        """
        SELECT p.number, p.key FROM json_each(?) wanted CROSS JOIN partitions p ON p.set_id = ? AND p.key = wanted.value
        WHERE p.deleted_at IS NULL ORDER BY wanted.key
        """,
        (dump(list(dict.fromkeys(keys))), set_id),
    ).fetchall()
    db.executemany(
        "UPDATE partitions SET deleted_at = ? WHERE set_id = ? AND number = ?",
        [(now, set_id, number) for number, _ in found],
    )
    return found
