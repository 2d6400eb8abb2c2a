"""Keys that a set keeps no longer: the oldest beyond so many, and those beyond an age. Their history stays.

`cut_at` and `look` are read off the writer, and find what is to go; `retire` is a transaction for a small piece of it.
It asks again of each key of its piece, and of nothing else, whether that still holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from freshet.store.codec import dump, load
from freshet.store.combinations import cascade_deleted, ranges
from freshet.store.ending import ACTIVE
from freshet.store.events import EventLog, last_seq
from freshet.store.partitions import set_id_of
from freshet.store.records import Event

__all__ = ["Cut", "Due", "Looked", "Place", "Retired", "cut_at", "look", "retire"]

Reason = Literal["age", "count"]

_ACTIVE = "('queued', 'started', 'canceling', 'interrupted')"
_ITSELF = "SELECT p.set_id, p.number"
_AS_A_PART = """
SELECT c.set_id, c.number FROM dimensions d
CROSS JOIN combinations c ON c.set_id = d.set_id AND c.position = d.position AND c.value = p.number
WHERE d.of_set = p.set_id
"""
_RUN = f"""
CROSS JOIN runs r INDEXED BY runs_of_partition
    ON r.set_id = at.set_id AND r.partition = at.number AND r.state IN {_ACTIVE}
"""
_STEP = f"""
CROSS JOIN assets a ON a.set_id = at.set_id
CROSS JOIN steps s INDEXED BY steps_active ON s.asset_id = a.id AND s.partition = at.number AND s.state IN {ACTIVE}
CROSS JOIN runs r ON r.id = s.run_id AND r.set_id IS NULL
"""
_BUSY = f"""
coalesce((SELECT r.id FROM ({_ITSELF}) at {_RUN} LIMIT 1), (SELECT r.id FROM ({_ITSELF}) at {_STEP} LIMIT 1),
    (SELECT r.id FROM ({_AS_A_PART}) at {_RUN} LIMIT 1), (SELECT r.id FROM ({_AS_A_PART}) at {_STEP} LIMIT 1))
"""  # noqa: S608  # constants
"""A run that is queued or under way of the partition `p`, or of a combination that it is a part of: of all of the run,
or of a step with a partition of its own in a run that has none. NULL if there is none."""
_HANGING = """
(SELECT count(*) FROM dimensions d CROSS JOIN combinations c
    ON c.set_id = d.set_id AND c.position = d.position AND c.value = p.number WHERE d.of_set = p.set_id)
"""
_LOOK = f"""
SELECT p.number, p.added_at, {_HANGING}, {_BUSY} FROM (
    SELECT p.set_id, p.number, p.added_at FROM partitions p INDEXED BY partitions_by_age
    WHERE p.set_id = ?1 AND p.deleted_at IS NULL AND (p.added_at, p.number) > (?2, ?3)
    AND (p.added_at, p.number) <= (?8, ?9) AND (p.added_at + ?4 <= ?5 OR (p.added_at, p.number) <= (?6, ?7))
    ORDER BY p.added_at, p.number LIMIT ?10) p
"""  # noqa: S608  # constants
"""Rows, no JSON: that would round the instants."""
_AMONG = f"""
SELECT p.number, p.added_at, {_HANGING}, {_BUSY} FROM json_each(?2) wanted
CROSS JOIN partitions p ON p.set_id = ?1 AND p.number = wanted.value AND p.deleted_at IS NULL
    AND (p.added_at + ?3 <= ?4 OR (p.added_at, p.number) <= (?5, ?6))
"""  # noqa: S608  # constants
_OLDEST = """
SELECT added_at FROM partitions INDEXED BY partitions_by_age WHERE set_id = ?1 AND deleted_at IS NULL
AND added_at > ?2 - ?3 - 1 AND added_at + ?3 > ?2 ORDER BY added_at LIMIT 1
"""
_PIECE = f"""
SELECT json_group_array(json_array(p.number, p.key, coalesce(p.added_at + ?3 <= ?4, false),
    (p.added_at, p.number) <= (?5, ?6), {_BUSY})) FROM json_each(?2) wanted
CROSS JOIN partitions p ON p.set_id = ?1 AND p.number = wanted.value AND p.deleted_at IS NULL
"""  # noqa: S608  # constants

Place = tuple[float, int]
"""A key's place among those of its set, oldest first: when it was added, and its number."""
_FIRST: Place = (-1e300, 0)
_LAST = 2**62


class Cut(NamedTuple):
    """Up to which key there are too many, as of the event with the number `seq`."""

    place: Place
    seq: int


@dataclass(frozen=True, slots=True)
class Due:
    """A key that is to go. `rows`: how many rows that takes, with the combinations that it is a part of."""

    number: int
    rows: int


@dataclass(frozen=True, slots=True)
class Looked:
    """What is to go: at once, and (by number) when a run has ended. `upto`: the place of the last key that was looked
    at; None where there was none. `oldest`: when the oldest key that is not too old was added; None if there is none.
    """

    due: tuple[Due, ...]
    held: dict[int, int]
    upto: Place | None
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Retired:
    """What a transaction did. `held`: as in `Looked`. `outdated`: keys stayed, since younger ones were deleted after
    the cut was found."""

    events: tuple[Event, ...]
    held: dict[int, int]
    outdated: bool


def cut_at(db: sqlite3.Connection, set: str, count: int) -> Cut | None:
    """The youngest key of a set that is not among the `count` youngest; None if there are no more. It looks at `count`
    keys: not for the writer."""
    found = db.execute(
        """
        SELECT added_at, number FROM partitions INDEXED BY partitions_by_age WHERE set_id = ? AND deleted_at IS NULL
        ORDER BY added_at DESC, number DESC LIMIT 1 OFFSET ?
        """,
        (set_id_of(db, set), count),
    ).fetchone()
    return None if found is None else Cut((found[0], found[1]), last_seq(db))


def look(
    db: sqlite3.Connection,
    set: str,
    *,
    age: float | None,
    cut: Cut | None,
    now: float,
    after: Place | None = None,
    among: Sequence[int] | None = None,
    limit: int,
) -> Looked:
    """Of `limit` keys of a set that follow upon the place `after`, or of those with the numbers `among`: what was
    added `age` seconds ago or longer, and what stands at `cut` or before. Not for the writer."""
    set_id = set_id_of(db, set)
    until = cut.place if cut is not None else _FIRST
    if among is not None:
        rows = db.execute(_AMONG, (set_id, dump(list(among)), age, now, *until)).fetchall()
    else:
        end = until if age is None else max(until, (now - age + 1.0, _LAST))  # 1.0: far more than is rounded away
        rows = db.execute(_LOOK, (set_id, *(after or _FIRST), age, now, *until, *end, limit)).fetchall()
    last = max(((added_at, number) for number, added_at, _, _ in rows), default=None)
    due = tuple(Due(number, 1 + hanging) for number, _, hanging, run_id in rows if run_id is None)
    held = {number: run_id for number, _, _, run_id in rows if run_id is not None}
    oldest = None if age is None else db.execute(_OLDEST, (set_id, now, age)).fetchone()
    return Looked(due, held, last, None if oldest is None else oldest[0])


def retire(
    db: sqlite3.Connection, set: str, numbers: Sequence[int], *, age: float | None, cut: Cut | None, now: float
) -> Retired:
    """Delete those of these keys that were added `age` seconds ago or longer or stand at `cut` or before, as long as
    that is valid, and have no run that is queued or under way, be it of a combination that the key is a part of."""
    set_id = set_id_of(db, set)
    outdated = cut is not None and _deleted_since(db, set_id, cut.seq)
    until = cut.place if cut is not None else _FIRST
    (text,) = db.execute(_PIECE, (set_id, dump(list(numbers)), age, now, *until)).fetchone()
    rows: list[tuple[int, str, int, int, int | None]] = load(text)
    gone: list[tuple[int, str, Reason]] = []
    held: dict[int, int] = {}
    stayed = False
    for number, key, aged, many, run_id in rows:
        if not aged and (outdated or not many):
            stayed = stayed or bool(many)
        elif run_id is not None:
            held[number] = run_id
        else:
            gone.append((number, key, "age" if aged else "count"))
    return Retired(_delete(db, set_id, set, gone, now), held, stayed)


def _deleted_since(db: sqlite3.Connection, set_id: int, seq: int) -> bool:
    """Whether keys of the set were deleted after this event, other than those that are not kept."""
    row = db.execute(
        """
        SELECT 1 FROM events WHERE seq > ? AND set_id = ? AND type = 'partition_deleted'
        AND data ->> '$.reason' IS NULL LIMIT 1
        """,
        (seq, set_id),
    ).fetchone()
    return row is not None


def _delete(
    db: sqlite3.Connection, set_id: int, set: str, gone: Sequence[tuple[int, str, Reason]], now: float
) -> tuple[Event, ...]:
    if not gone:
        return ()
    log = EventLog(db, now)
    db.execute(
        "UPDATE partitions SET deleted_at = ? WHERE set_id = ? AND number IN (SELECT value FROM json_each(?))",
        (now, set_id, dump([number for number, _, _ in gone])),
    )
    keys = {number: key for number, key, _ in gone}
    for reason in ("age", "count"):
        for first, last in ranges(sorted(number for number, _, why in gone if why == reason)):
            about: dict[str, Any] = {"key": keys[first]} if first == last else {"last": last, "count": last - first + 1}
            log.add("partition_deleted", set=set, partition=first, data={**about, "reason": reason})
    cascade_deleted(db, log, set_id, ranges(sorted(keys)), now)
    return log.write()
