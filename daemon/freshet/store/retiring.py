"""Keys that a set keeps no longer: the oldest beyond so many, and those beyond an age. Their history stays."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal

from freshet.store.codec import dump
from freshet.store.combinations import cascade_deleted, ranges
from freshet.store.ending import ACTIVE
from freshet.store.events import EventLog
from freshet.store.partitions import set_id_of
from freshet.store.records import Event

__all__ = ["Cut", "Retired", "cut_at", "retire"]

Reason = Literal["age", "count"]

_ACTIVE = "('queued', 'started', 'canceling', 'interrupted')"
_BY_AGE = """
SELECT number, key, added_at FROM partitions INDEXED BY partitions_by_age
WHERE set_id = ? AND deleted_at IS NULL ORDER BY added_at, number
"""
_BUSY = f"SELECT r.partition, r.id FROM runs r WHERE r.state IN {_ACTIVE} AND r.set_id = ? AND r.partition > 0"  # noqa: S608
_BUSY_PARTS = f"""
SELECT c.value, r.id FROM dimensions d CROSS JOIN runs r ON r.set_id = d.set_id AND r.state IN {_ACTIVE}
CROSS JOIN combinations c ON c.set_id = d.set_id AND c.number = r.partition AND c.position = d.position
WHERE d.of_set = ?
"""  # noqa: S608  # a constant
_OWN_PLACE = f"""
CROSS JOIN steps s INDEXED BY steps_active ON s.asset_id = a.id AND s.state IN {ACTIVE} AND +s.partition > 0
CROSS JOIN runs r ON r.id = s.run_id AND r.set_id IS NULL
"""
"""Steps of assets `a` with a partition of their own, in a run that has none."""
_BUSY_STEPS = f"SELECT s.partition, r.id FROM assets a {_OWN_PLACE} WHERE a.set_id = ?"  # noqa: S608
_BUSY_STEPS_PARTS = f"""
SELECT c.value, r.id FROM dimensions d CROSS JOIN assets a ON a.set_id = d.set_id {_OWN_PLACE}
CROSS JOIN combinations c ON c.set_id = d.set_id AND c.number = s.partition AND c.position = d.position
WHERE d.of_set = ?
"""  # noqa: S608  # a constant


Cut = tuple[float, int]
"""A key's place among those of its set, oldest first: when it was added, and its number."""


@dataclass(frozen=True, slots=True)
class Retired:
    """What a turn did. `more`: another one finds more at once. `held`: runs that are queued or under way and keep a key
    from going. `oldest`: when the oldest key that is not too old was added; None if there is none."""

    events: tuple[Event, ...]
    more: bool
    held: frozenset[int]
    oldest: float | None


def cut_at(db: sqlite3.Connection, set: str, count: int) -> Cut | None:
    """The youngest key of a set that is not among the `count` youngest; None if there are no more. It looks at `count`
    keys: not for the writer."""
    newest = f"{_BY_AGE.partition('ORDER BY')[0]} ORDER BY added_at DESC, number DESC LIMIT 1 OFFSET ?"
    found = db.execute(newest, (set_id_of(db, set), count)).fetchone()
    return None if found is None else (found[2], found[0])


def retire(db: sqlite3.Connection, set: str, *, age: float | None, cut: Cut | None, now: float, limit: int) -> Retired:
    """Delete the keys of a set that were added `age` seconds ago or longer, and those up to `cut`: at most `limit`, and
    none with a run that is queued or under way, be it of a combination that the key is a part of."""
    set_id = set_id_of(db, set)
    busy = _busy(db, set_id)
    gone: list[tuple[int, str, Reason]] = []
    held: list[int] = []
    more, oldest = False, None
    for number, key, added_at in db.execute(_BY_AGE, (set_id,)):
        aged = age is not None and added_at + age <= now  # as the due instant is reckoned
        if not aged and oldest is None:
            oldest = added_at
        if not aged and (cut is None or (added_at, number) > cut):
            break
        if number in busy:
            held += busy[number]
        elif len(gone) == limit:
            more = True
            break
        else:
            gone.append((number, key, "age" if aged else "count"))
    return Retired(_delete(db, set_id, set, gone, now), more, frozenset(held), oldest)


def _busy(db: sqlite3.Connection, set_id: int) -> dict[int, list[int]]:
    """The numbers with runs that are queued or under way, and those runs."""
    found: dict[int, list[int]] = {}
    for query in (_BUSY, _BUSY_PARTS, _BUSY_STEPS, _BUSY_STEPS_PARTS):
        for number, run_id in db.execute(query, (set_id,)):
            found.setdefault(number, []).append(run_id)
    return found


def _delete(
    db: sqlite3.Connection, set_id: int, set: str, gone: list[tuple[int, str, Reason]], now: float
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
            about = {"key": keys[first]} if first == last else {"last": last, "count": last - first + 1}
            log.add("partition_deleted", set=set, partition=first, data={**about, "reason": reason})
    cascade_deleted(db, log, set_id, ranges(sorted(keys)), now)
    return log.write()
