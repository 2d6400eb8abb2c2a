"""Partitions whose numbers are made when they are first used: windows of time, and combinations.

A window's number follows from its key; it gets a row when it is first used, and shows its set up to itself. A
combination gets the next number of its set, and stays where it lies.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from freshet.definitions.partitions import MultiPartitions, TimePartitions
from freshet.errors import PartitionKeyError, UnknownName
from freshet.store.codec import dump
from freshet.store.combinations import DimensionRow, cascade_added, dimensions_of, reveal
from freshet.store.events import EventLog
from freshet.store.partitions import FoundPartition, live_numbers, set_id_of
from freshet.store.records import Event, PartitionRef

__all__ = ["intern", "number_places", "open_sets", "open_windows"]

_Place = tuple[int, ...]


# --- windows of time -------------------------------------------------------------------------------------------


def open_sets(db: sqlite3.Connection, wanted: Mapping[str, int], now: float) -> tuple[Event, ...]:
    """Show sets in time up to and including a window each; none shrinks. Returns the events."""
    log = EventLog(db, now)
    for name, last in wanted.items():
        open_windows(db, log, name, last)
    return log.write()


def open_windows(db: sqlite3.Connection, log: EventLog, set: str, last: int, *, tick_id: int | None = None) -> None:
    """Show a set in time up to and including window `last`, with one event for all that is new; it never shrinks."""
    set_id = set_id_of(db, set)
    first, before = db.execute("SELECT first, last FROM partition_sets WHERE id = ?", (set_id,)).fetchone()
    if before is None or last <= before or last < first:
        return
    db.execute("UPDATE partition_sets SET last = ? WHERE id = ?", (last, set_id))
    came = (before + 1, last)
    log.add("partition_added", set=set, partition=came[0], tick_id=tick_id, data={"last": last})
    cascade_added(db, log, set_id, [came], anew=None, tick_id=tick_id)


# --- by name ---------------------------------------------------------------------------------------------------


def intern(
    db: sqlite3.Connection, log: EventLog, refs: Iterable[PartitionRef], now: float, *, tick_id: int | None = None
) -> dict[PartitionRef, FoundPartition]:
    """The live partitions that are meant; windows and combinations are numbered where they were not.

    Raises `UnknownName` for a set, or a key that its set (or that of a dimension) does not have.
    """
    by_set: dict[str, list[PartitionRef]] = {}
    for ref in dict.fromkeys(refs):
        by_set.setdefault(ref.set, []).append(ref)
    found: dict[PartitionRef, FoundPartition] = {}
    for name, wanted in by_set.items():
        plain = [ref for ref in wanted if ref.number is None and not ref.parts]
        if plain:
            numbers = live_numbers(db, name, [ref.key for ref in plain])
            found.update({ref: numbers[ref.key] for ref in plain})
        windows = [ref for ref in wanted if ref.number is not None]
        if windows:
            found.update(_windows(db, log, name, windows, now, tick_id))
        several = [ref for ref in wanted if ref.parts]
        if several:
            found.update(_combinations(db, log, name, several, now, tick_id))
    return found


def _windows(
    db: sqlite3.Connection, log: EventLog, set: str, refs: Sequence[PartitionRef], now: float, tick_id: int | None
) -> dict[PartitionRef, FoundPartition]:
    set_id = set_id_of(db, set)
    numbers = {ref: ref.number or 0 for ref in refs}
    db.executemany(
        "INSERT INTO partitions (set_id, number, key, added_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(set_id, number, ref.key, now) for ref, number in numbers.items()],
    )
    open_windows(db, log, set, max(numbers.values()), tick_id=tick_id)
    generations: dict[int, int] = dict(
        db.execute(
            """
            SELECT p.number, p.generation FROM json_each(?) wanted
            CROSS JOIN partitions p ON p.set_id = ? AND p.number = wanted.value
            """,
            (dump(list(numbers.values())), set_id),
        )
    )
    return {ref: FoundPartition(number, ref.key, generations[number]) for ref, number in numbers.items()}


def _combinations(
    db: sqlite3.Connection, log: EventLog, set: str, refs: Sequence[PartitionRef], now: float, tick_id: int | None
) -> dict[PartitionRef, FoundPartition]:
    set_id = set_id_of(db, set)
    dimensions = dimensions_of(db, set_id)
    parts: dict[PartitionRef, FoundPartition] = {}
    for index, dimension in enumerate(dimensions):
        try:
            parts.update(intern(db, log, [ref.parts[index] for ref in refs], now, tick_id=tick_id))
        except UnknownName as error:
            raise UnknownName(f"the dimension {dimension.name!r}: {error.message}", hint=error.hint) from None
    places = {ref.key: tuple(parts[part].number for part in ref.parts) for ref in refs}
    known = _known(db, set_id, places)
    if hidden := _hidden(db, set_id, known.values()):  # their part is back, and they are about to follow
        reveal(db, log, (set_id, set), hidden, now, tick_id=tick_id)
        known = _known(db, set_id, places)
    _add(db, log, (set_id, set), {key: place for key, place in places.items() if key not in known}, now, tick_id)
    known |= _known(db, set_id, [key for key in places if key not in known])
    return {ref: known[ref.key] for ref in refs}


def _known(db: sqlite3.Connection, set_id: int, keys: Iterable[str]) -> dict[str, FoundPartition]:
    rows = db.execute(
        """
        SELECT p.number, p.key, p.generation FROM json_each(?) wanted
        CROSS JOIN partitions p ON p.set_id = ? AND p.key = wanted.value
        """,
        (dump(list(keys)), set_id),
    )
    return {row[1]: FoundPartition(*row) for row in rows}


def _hidden(db: sqlite3.Connection, set_id: int, known: Iterable[FoundPartition]) -> dict[int, str]:
    return dict(
        db.execute(
            """
            SELECT p.number, p.key FROM json_each(?) wanted
            CROSS JOIN partitions p ON p.set_id = ? AND p.number = wanted.value WHERE p.deleted_at IS NOT NULL
            """,
            (dump([one.number for one in known]), set_id),
        )
    )


# --- by their parts -------------------------------------------------------------------------------------------


def number_places(
    db: sqlite3.Connection, spec: MultiPartitions, places: Iterable[_Place], now: float
) -> tuple[Event, ...]:
    """Number combinations, given by the numbers of their parts in order; returns the events. Left out are those that
    have a number, those with a part that is not live (any more), and those whose key would be too long."""
    log = EventLog(db, now)
    set_id = set_id_of(db, spec.name)
    dimensions = dimensions_of(db, set_id)
    wanted = list(dict.fromkeys(places))
    keys = [
        _part_keys(db, spec, dimension, {place[index] for place in wanted})
        for index, dimension in enumerate(dimensions)
    ]
    by_key: dict[str, _Place] = {}
    for place in wanted:
        if all(number in known for number, known in zip(place, keys, strict=True)):
            parts = {one.name: keys[index][place[index]] for index, one in enumerate(dimensions)}
            with contextlib.suppress(PartitionKeyError):
                by_key[spec.key(parts)] = place
    known = _known(db, set_id, by_key)
    _add(db, log, (set_id, spec.name), {key: at for key, at in by_key.items() if key not in known}, now, None)
    return log.write()


def _part_keys(
    db: sqlite3.Connection, spec: MultiPartitions, dimension: DimensionRow, numbers: Iterable[int]
) -> dict[int, str]:
    """The keys of a dimension's numbers, those that are live."""
    windows = spec.dimension(dimension.name)
    if isinstance(windows, TimePartitions):
        first, last = db.execute("SELECT first, last FROM partition_sets WHERE id = ?", (dimension.set_id,)).fetchone()
        return {number: windows.key(number) for number in numbers if first <= number <= last}
    return dict(
        db.execute(
            """
            SELECT p.number, p.key FROM json_each(?) wanted
            CROSS JOIN partitions p ON p.set_id = ? AND p.number = wanted.value WHERE p.deleted_at IS NULL
            """,
            (dump(list(numbers)), dimension.set_id),
        )
    )


def _add(
    db: sqlite3.Connection,
    log: EventLog,
    of: tuple[int, str],
    new: Mapping[str, _Place],
    now: float,
    tick_id: int | None,
) -> None:
    """Give combinations that have none the next numbers of their set. `of`: its id and name."""
    if not new:
        return
    set_id, name = of
    (next_number,) = db.execute(
        "UPDATE partition_sets SET next_number = next_number + ? WHERE id = ? RETURNING next_number",
        (len(new), set_id),
    ).fetchone()
    numbered = [(next_number - len(new) + index, key, place) for index, (key, place) in enumerate(new.items())]
    db.executemany(
        "INSERT INTO partitions (set_id, number, key, added_at) VALUES (?, ?, ?, ?)",
        [(set_id, number, key, now) for number, key, _ in numbered],
    )
    db.executemany(
        "INSERT INTO combinations (set_id, position, value, number) VALUES (?, ?, ?, ?)",
        [(set_id, position, value, number) for number, _, place in numbered for position, value in enumerate(place)],
    )
    for number, key, place in numbered:
        log.add("partition_added", set=name, partition=number, tick_id=tick_id, data={"key": key, "place": list(place)})
