"""The partition sets that the plugins declare, as remembered: what their numbers mean, and what of them is live."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import MultiPartitions, PartitionsSpec, StaticPartitions, TimePartitions
from freshet.store.codec import dump
from freshet.store.combinations import cascade_added, cascade_deleted, ranges
from freshet.store.events import EventLog
from freshet.store.partitions import set_id_of
from freshet.store.records import EventType

__all__ = ["register_sets"]

_COMPUTED = ("time", "multi")
"""The kinds whose numbers are no mere order of arrival: between them and others a set is never the same."""


def register_sets(db: sqlite3.Connection, log: EventLog, definitions: Definitions, now: float) -> dict[str, str]:
    """Remember all sets, with what of them is live from now on. Returns, by name, those whose numbers mean something
    else than before: such a set is a new one, and the old one is kept under the name given."""
    renumbered: dict[str, str] = {}
    for spec in definitions.sensors:
        if spec.partitions is not None and spec.partitions not in definitions.partition_set:
            _keep(db, spec.partitions, "dynamic", None, renumbered)
    several = [spec for spec in definitions.partition_set.values() if isinstance(spec, MultiPartitions)]
    for one in definitions.partition_set.values():
        if not isinstance(one, MultiPartitions):
            _keep(db, one.name, one.kind, one.numbering if isinstance(one, TimePartitions) else None, renumbered)
    for one in several:
        _dimensions(db, one, renumbered)
    for one in definitions.partition_set.values():
        set_id = set_id_of(db, one.name)
        gone, came = _live(db, log, one, set_id, now)
        cascade_deleted(db, log, set_id, gone, now)
        cascade_added(db, log, set_id, came, anew=None)
    return renumbered


def _keep(db: sqlite3.Connection, name: str, kind: str, numbering: str | None, renumbered: dict[str, str]) -> None:
    known = db.execute("SELECT id, kind, numbering FROM partition_sets WHERE name = ?", (name,)).fetchone()
    if known is not None and not _same(known[1:], (kind, numbering)):
        renumbered[name] = f"{name}@{known[0]}"  # no set can be declared under such a name
        db.execute("UPDATE partition_sets SET name = ? WHERE id = ?", (renumbered[name], known[0]))
        known = None
    if known is None:
        db.execute("INSERT INTO partition_sets (name, kind, numbering) VALUES (?, ?, ?)", (name, kind, numbering))
    elif known[1:] != (kind, numbering):
        db.execute("UPDATE partition_sets SET kind = ?, numbering = ? WHERE id = ?", (kind, numbering, known[0]))


def _same(known: tuple[str, str | None], declared: tuple[str, str | None]) -> bool:
    """Whether the numbers still mean the same. What an earlier release remembered has no numbering."""
    if known[0] != declared[0]:
        return known[0] not in _COMPUTED and declared[0] not in _COMPUTED
    return known[1] is None or known[1] == declared[1]


def _dimensions(db: sqlite3.Connection, spec: MultiPartitions, renumbered: dict[str, str]) -> None:
    parts = [(one.name, set_id_of(db, one.set.name)) for one in spec.dimensions]
    _keep(db, spec.name, spec.kind, dump([list(part) for part in parts]), renumbered)
    set_id = set_id_of(db, spec.name)
    db.executemany(
        "INSERT INTO dimensions (set_id, position, name, of_set) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(set_id, position, *part) for position, part in enumerate(parts)],
    )


_Ranges = list[tuple[int, int]]


def _live(
    db: sqlite3.Connection, log: EventLog, spec: PartitionsSpec, set_id: int, now: float
) -> tuple[_Ranges, _Ranges]:
    """Let what is declared be live; returns which numbers are no more, and which have come."""
    if isinstance(spec, StaticPartitions):
        return _static_keys(db, log, spec, set_id, now)
    if isinstance(spec, TimePartitions):
        return _windows(db, log, spec, set_id, now)
    return [], []


def _static_keys(
    db: sqlite3.Connection, log: EventLog, spec: StaticPartitions, set_id: int, now: float
) -> tuple[_Ranges, _Ranges]:
    (number,) = db.execute("SELECT next_number FROM partition_sets WHERE id = ?", (set_id,)).fetchone()
    known = {
        key: (number_, deleted_at)
        for key, number_, deleted_at in db.execute(
            "SELECT key, number, deleted_at FROM partitions WHERE set_id = ?", (set_id,)
        )
    }
    shown = {key: known[key][0] for key in spec.keys if key in known and known[key][1] is not None}
    new = {key: number + index for index, key in enumerate(key for key in spec.keys if key not in known)}
    declared = {*spec.keys}
    hidden = {key: at[0] for key, at in known.items() if at[1] is None and key not in declared}
    db.executemany(
        "INSERT INTO partitions (set_id, number, key, added_at) VALUES (?, ?, ?, ?)",
        [(set_id, number, key, now) for key, number in new.items()],
    )
    _mark(db, set_id, shown, None)
    _mark(db, set_id, hidden, now)
    if new:
        db.execute("UPDATE partition_sets SET next_number = ? WHERE id = ?", (number + len(new), set_id))
    came = {**shown, **new}
    for key in spec.keys:
        if key in came:
            log.add("partition_added", set=spec.name, partition=came[key], data={"key": key})
    for key, one in hidden.items():
        log.add("partition_deleted", set=spec.name, partition=one, data={"key": key})
    return list(ranges(sorted(hidden.values()))), list(ranges(sorted(came.values())))


def _mark(db: sqlite3.Connection, set_id: int, numbers: Mapping[str, int], deleted_at: float | None) -> None:
    db.executemany(
        "UPDATE partitions SET deleted_at = ? WHERE set_id = ? AND number = ?",
        [(deleted_at, set_id, number) for number in numbers.values()],
    )


def _windows(
    db: sqlite3.Connection, log: EventLog, spec: TimePartitions, set_id: int, now: float
) -> tuple[_Ranges, _Ranges]:
    """A clock that stepped back closes nothing again; another `start` or `end_offset` counts from now on."""
    declared = dump({"start": spec.start, "end_offset": spec.end_offset})
    before, old_first, old_last = db.execute(
        "SELECT declared, first, last FROM partition_sets WHERE id = ?", (set_id,)
    ).fetchone()
    live = spec.live(now)
    first, last = live.start, live.stop - 1
    if before == declared:
        last = max(last, old_last)
    if (before, old_first, old_last) != (declared, first, last):
        db.execute(
            "UPDATE partition_sets SET declared = ?, first = ?, last = ? WHERE id = ?", (declared, first, last, set_id)
        )
    old = (old_first, old_last) if before is not None else (first, first - 1)
    gone, came = _less(old, (first, last)), _less((first, last), old)
    _tell(log, spec, "partition_deleted", gone)
    _tell(log, spec, "partition_added", came)
    return gone, came


def _less(these: tuple[int, int], those: tuple[int, int]) -> _Ranges:
    """A range without another: at most two."""
    if those[0] > those[1]:
        return [these] if these[0] <= these[1] else []
    pieces = [(these[0], min(these[1], those[0] - 1)), (max(these[0], those[1] + 1), these[1])]
    return [piece for piece in pieces if piece[0] <= piece[1]]


def _tell(log: EventLog, spec: TimePartitions, type: EventType, found: Iterable[tuple[int, int]]) -> None:
    for first, last in found:
        data = {"last": last} if first < last else {"key": spec.key(first)}
        log.add(type, set=spec.name, partition=first, data=data)
