"""Partition keys: interned to numbers, added, deleted, and found again.

A key keeps its number for ever. Deleted, it is marked; added again, it is the same number in a new generation, and
what its assets remember of it is gone.

CROSS JOIN is SQLite's way to say that the keys asked for come first, each looked up: left to itself it may choose to
walk through the whole set.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from freshet.definitions.names import nearest_hint
from freshet.definitions.outcome import Json
from freshet.errors import Conflict, UnknownName
from freshet.store.codec import dump, load
from freshet.store.combinations import cascade_added, cascade_deleted
from freshet.store.events import EventLog
from freshet.store.records import BareKeys, Event, Pair, PartitionDelta
from freshet.store.renewal import renew_numbers

__all__ = [
    "FoundPartition",
    "apply_delta",
    "change_partitions",
    "live_numbers",
    "metadata_of",
    "partitions_of",
    "set_id_of",
]

_FEW = 16
"""How many partitions that come or go together are told each by an event of its own."""
_NOTHING: dict[str, Json] = {}
_Run = tuple[int, list[str]]
"""Keys of consecutive numbers, with the first of these."""
_KNOWN = """
INSERT INTO partitions (set_id, number, key, metadata, added_at)
SELECT ?1, w.value ->> 0, w.value ->> 1, w.value ->> 2, ?2 FROM json_each(?3) w WHERE true ON CONFLICT DO UPDATE
"""
"""Begins a change of known partitions, found by their numbers. (UPDATE ... FROM would walk through the whole set.)"""


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

    A key that is there gets its metadata replaced. Raises `UnknownName` for a set that nobody declares, and `Conflict`
    for one whose keys its definition gives.
    """
    set_id = set_id_of(db, delta.set)
    (kind,) = db.execute("SELECT kind FROM partition_sets WHERE id = ?", (set_id,)).fetchone()
    if kind != "dynamic":
        raise Conflict(
            f"the partition set {delta.set!r} has keys by its definition ({kind})",
            hint="only those of DynamicPartitions are added and deleted",
        )
    added = _add(db, set_id, _by_key(delta.add), now, log.txn) if delta.add else []
    _tell(log, "partition_added", delta.set, added, tick_id)
    if not delta.alone:
        cascade_added(db, log, set_id, _ranges(added), anew=now, tick_id=tick_id)
    deleted = _delete(db, set_id, delta.delete, now) if delta.delete else []
    _tell(log, "partition_deleted", delta.set, deleted, tick_id)
    if not delta.alone:
        cascade_deleted(db, log, set_id, _ranges(deleted), now, tick_id=tick_id)
    return sum(len(keys) for _, keys in added), sum(len(keys) for _, keys in deleted)


def _by_key(added: Sequence[Pair]) -> dict[str, dict[str, Json]]:
    return dict.fromkeys(added.names, _NOTHING) if isinstance(added, BareKeys) else dict(added)


def _runs(found: Sequence[tuple[int, str]]) -> list[_Run]:
    runs: list[_Run] = []
    following = 0
    for number, key in sorted(found):
        if number == following:
            runs[-1][1].append(key)
        else:
            runs.append((number, [key]))
        following = number + 1
    return runs


def _ranges(runs: list[_Run]) -> list[tuple[int, int]]:
    return [(first, first + len(keys) - 1) for first, keys in runs]


def _tell(
    log: EventLog,
    type: Literal["partition_added", "partition_deleted"],
    set: str,
    changed: list[_Run],
    tick_id: int | None,
) -> None:
    """An event for each of a few keys; of more, one for each run of consecutive numbers."""
    few = sum(len(keys) for _, keys in changed) <= _FEW
    for first, keys in changed:
        if few or len(keys) == 1:
            for number, key in enumerate(keys, first):
                log.add(type, set=set, partition=number, tick_id=tick_id, data={"key": key})
        else:
            data = {"last": first + len(keys) - 1, "count": len(keys)}
            log.add(type, set=set, partition=first, tick_id=tick_id, data=data)


def _add(db: sqlite3.Connection, set_id: int, add: dict[str, dict[str, Json]], now: float, txn: int) -> list[_Run]:
    """Returns the keys that were not there. A key that is there with this metadata costs no write. `txn`: of the
    events that are going to tell of them."""
    plain = not any(add.values())
    wanted: list[Any] = list(add) if plain else [[key, dump(metadata)] for key, metadata in add.items()]
    key_in, metadata_in = ("w.value", "'{}'") if plain else ("w.value ->> 0", "w.value ->> 1")
    count, moved = db.execute(
        f"""
        SELECT count(*), json_group_array(json_array(p.number, {key_in}, {metadata_in}, p.deleted_at IS NULL))
            FILTER (WHERE p.deleted_at IS NOT NULL OR p.metadata <> {metadata_in})
        FROM json_each(?) w CROSS JOIN partitions p ON p.set_id = ? AND p.key = {key_in}
        """,  # noqa: S608  # constants
        (dump(wanted), set_id),
    ).fetchone()
    new = wanted
    if count:
        new = [] if count == len(wanted) else [wanted[at] for at in _unknown(db, set_id, wanted, key_in)]
    known: list[tuple[int, str, str, int]] = load(moved)
    changed = [one for one in known if one[3]]
    revived = [one for one in known if not one[3]]
    if changed:
        db.execute(f"{_KNOWN} SET metadata = excluded.metadata", (set_id, now, dump(changed)))
    if revived:
        _revive(db, set_id, revived, now, txn)
    added = _runs([(number, key) for number, key, _, _ in revived])
    if new:
        (first,) = db.execute("SELECT next_number FROM partition_sets WHERE id = ?", (set_id,)).fetchone()
        db.execute(
            f"""
            INSERT INTO partitions (set_id, number, key, metadata, added_at)
            SELECT ?, ? + w.key, {key_in}, {metadata_in}, ? FROM json_each(?) w
            """,  # noqa: S608  # constants
            (set_id, first, now, dump(new)),
        )
        db.execute("UPDATE partition_sets SET next_number = ? WHERE id = ?", (first + len(new), set_id))
        added.append((first, new if plain else [key for key, _ in new]))
    return added


def _unknown(db: sqlite3.Connection, set_id: int, wanted: list[Any], key_in: str) -> list[int]:
    """Which of the keys have never been there, by their place in the list."""
    return _listed(
        db,
        f"""
        SELECT json_group_array(w.key) FROM json_each(?) w
        WHERE NOT EXISTS (SELECT 1 FROM partitions p WHERE p.set_id = ? AND p.key = {key_in})
        """,  # noqa: S608  # a constant
        (dump(wanted), set_id),
    )


def _revive(db: sqlite3.Connection, set_id: int, rows: list[tuple[int, str, str, int]], now: float, txn: int) -> None:
    db.execute(
        f"""
        {_KNOWN} SET metadata = excluded.metadata, added_at = excluded.added_at, generation = generation + 1,
            deleted_at = NULL, again = ?4, behind = (SELECT next_number - 1 FROM partition_sets WHERE id = ?1)
        """,  # noqa: S608  # a constant
        (set_id, now, dump(rows), txn),
    )
    renew_numbers(db, set_id, dump([number for number, *_ in rows]))


def _delete(db: sqlite3.Connection, set_id: int, keys: Iterable[str], now: float) -> list[_Run]:
    found = _listed(
        db,
        """
        SELECT json_group_array(json_array(p.number, p.key)) FROM json_each(?) w
        CROSS JOIN partitions p ON p.set_id = ? AND p.key = w.value WHERE p.deleted_at IS NULL
        """,
        (dump(list(dict.fromkeys(keys))), set_id),
    )
    db.execute(
        "UPDATE partitions SET deleted_at = ? WHERE set_id = ? AND number IN (SELECT value FROM json_each(?))",
        (now, set_id, dump([number for number, _ in found])),
    )
    return _runs([(number, key) for number, key in found])


def _listed(db: sqlite3.Connection, sql: str, values: tuple[Any, ...]) -> list[Any]:
    """The rows of a query that makes one JSON array of them: a cursor would ask for the interpreter at each row, and
    wait for it at each while the event loop is busy."""
    (text,) = db.execute(sql, values).fetchone()
    found: list[Any] = load(text)
    return found
