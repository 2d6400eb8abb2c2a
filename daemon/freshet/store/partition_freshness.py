"""Policies that hold for each live partition: one row a partition, by the moment from which its deadline counts.

The next deadline of an asset is the first row of an index, whatever the number of partitions; what has lapsed is not
looked at again until it is made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from pyroaring import BitMap

from freshet.definitions.deadlines import (
    FreshState,
    counts_from,
    lapse_deadline,
    next_deadline,
    state_at,
    warn_deadline,
)
from freshet.definitions.freshness import FreshnessSpec
from freshet.store.codec import dump, load
from freshet.store.events import EventLog
from freshet.store.freshness import policy_of
from freshet.store.records import Event, EventType
from freshet.store.sets import read_numbers

__all__ = ["PIECE", "Worsened", "look_at_partitions", "not_fresh", "pieces", "tracked", "untrack"]

PIECE = 500
"""The most partitions that one transaction takes: more are done in several."""

_NAMES: dict[FreshState, EventType] = {"warn": "freshness_warned", "lapsed": "freshness_lapsed"}


@dataclass(frozen=True, slots=True)
class Worsened:
    """What a transaction found: its events, and when the next deadline is, None if there is none. A deadline that has
    passed says that there is more."""

    events: tuple[Event, ...]
    next: float | None


def tracked(db: sqlite3.Connection, asset: str) -> BitMap:
    """The partitions of an asset that have a row."""
    found = db.execute("SELECT id FROM assets WHERE name = ?", (asset,)).fetchone()
    rows = "FROM freshness WHERE asset_id = ? AND partition > 0"
    return BitMap() if found is None else read_numbers(db, f"partition {rows}", found[0])


def look_at_partitions(
    db: sqlite3.Connection, asset: str, set_name: str, live: BitMap, added: list[int], now: float
) -> Worsened:
    """Begin rows for partitions that came, and commit what has become worse by `now`, of up to `PIECE` partitions, each
    with an event of its own. Where the lapse has passed too, the warning is left out. `live`: rows of others go,
    and those of what was deleted meanwhile.
    """
    if added:
        _keep(db, asset, added, now)
    return _lapse(db, asset, set_name, live, now)


def _keep(db: sqlite3.Connection, asset: str, numbers: Iterable[int], now: float) -> None:
    """Begin rows for live partitions that have none: from their last materialization, else from when they were added,
    or from when the asset first had a policy where that is later."""
    found = db.execute(
        "SELECT a.id, a.set_id, f.policy, f.since FROM assets a JOIN freshness f ON f.asset_id = a.id "
        "AND f.partition = 0 WHERE a.name = ?",
        (asset,),
    ).fetchone()
    if found is None:
        return
    asset_id, set_id, text, first = found
    policy = policy_of(text)
    rows = db.execute(
        """
        SELECT w.value, p.added_at, s.materialized_seq, s.materialized_at, coalesce(s.begun_at, s.materialized_at)
        FROM json_each(?) w LEFT JOIN partitions p ON p.set_id = ? AND p.number = w.value
        LEFT JOIN asset_state s ON s.asset_id = ? AND s.partition = w.value AND s.materialized_seq IS NOT NULL
        """,
        (dump(list(numbers)), set_id, asset_id),
    )
    put: list[tuple[object, ...]] = []
    for number, added_at, seq, made_at, begun in rows:
        since = max(now if added_at is None else added_at, first)
        if seq is None:
            put.append((asset_id, number, since, 0, since, since))
        else:
            put.append((asset_id, number, since, seq, made_at, counts_from(policy, made_at, begun, since)))
    db.executemany(
        """
        INSERT OR IGNORE INTO freshness (asset_id, partition, policy, since, baseline_seq, baseline_at, counts_from,
            state) VALUES (?, ?, '', ?, ?, ?, ?, 'fresh')
        """,
        put,
    )


def untrack(db: sqlite3.Connection, asset: str, numbers: Iterable[int]) -> None:
    """Forget partitions that are not live any more."""
    db.execute(
        """
        DELETE FROM freshness WHERE asset_id = (SELECT id FROM assets WHERE name = ?)
        AND partition IN (SELECT value FROM json_each(?)) AND partition > 0
        """,
        (asset, dump(list(numbers))),
    )


def _lapse(db: sqlite3.Connection, asset: str, set_name: str, live: BitMap, now: float, limit: int = PIECE) -> Worsened:
    found = db.execute(
        "SELECT f.asset_id, f.policy FROM freshness f JOIN assets a ON a.id = f.asset_id "
        "WHERE a.name = ? AND f.partition = 0",
        (asset,),
    ).fetchone()
    if found is None:
        return Worsened((), None)
    asset_id, policy = found[0], policy_of(found[1])
    log = EventLog(db, now)
    gone: list[int] = []
    begun: tuple[FreshState, ...] = ("warn", "fresh")
    for state in begun:
        due = [row for row in _first(db, asset_id, state, limit) if state_at(policy, row[2], now, state) != state]
        limit -= len(due)
        deleted = _deleted(db, asset_id, [partition for partition, _, _ in due]) if due else BitMap()
        for partition, seq, counts in due:
            after = state_at(policy, counts, now, state)
            if partition not in live or partition in deleted:
                gone.append(partition)
                continue
            deadline = lapse_deadline(policy, counts) if after == "lapsed" else warn_deadline(policy, counts)
            _worsen(
                db, log, (asset_id, partition, seq), (asset, set_name), after, now if deadline is None else deadline
            )
    if gone:
        untrack(db, asset, gone)
    return Worsened(log.write(), _next(db, asset_id, policy))


def _first(db: sqlite3.Connection, asset_id: int, state: FreshState, limit: int) -> list[tuple[int, int, float]]:
    return db.execute(
        """
        SELECT partition, baseline_seq, counts_from FROM freshness INDEXED BY freshness_due
        WHERE asset_id = ? AND state = ? AND partition > 0 ORDER BY counts_from LIMIT ?
        """,
        (asset_id, state, limit),
    ).fetchall()


def _deleted(db: sqlite3.Connection, asset_id: int, numbers: list[int]) -> BitMap:
    """Those of these partitions that are deleted; of what follows from a definition, none is."""
    (text,) = db.execute(
        """
        SELECT json_group_array(p.number) FROM assets a CROSS JOIN json_each(?) w
        CROSS JOIN partitions p ON p.set_id = a.set_id AND p.number = w.value
        WHERE a.id = ? AND p.deleted_at IS NOT NULL
        """,
        (dump(numbers), asset_id),
    ).fetchone()
    return BitMap(load(text))


def _next(db: sqlite3.Connection, asset_id: int, policy: FreshnessSpec) -> float | None:
    states: tuple[FreshState, ...] = ("warn", "fresh")
    whens: list[float] = []
    for state in states:
        for _, _, counts in _first(db, asset_id, state, 1):
            when = next_deadline(policy, counts, state)
            whens += [] if when is None else [when]
    return min(whens, default=None)


def _worsen(
    db: sqlite3.Connection,
    log: EventLog,
    place: tuple[int, int, int],
    names: tuple[str, str],
    state: FreshState,
    deadline: float,
) -> None:
    """Change a row's state and tell it: a lapse once for each baseline."""
    db.execute("UPDATE freshness SET state = ? WHERE asset_id = ? AND partition = ?", (state, *place[:2]))
    if state == "lapsed":
        taken = db.execute(
            "INSERT OR IGNORE INTO lapses (asset_id, partition, baseline_seq, deadline, seq) VALUES (?, ?, ?, ?, ?)",
            (*place, deadline, log.next_seq),
        )
        if taken.rowcount != 1:
            return
    asset, set_name = names
    log.add(_NAMES[state], asset=asset, set=set_name, partition=place[1], data={"deadline": deadline})


def not_fresh(db: sqlite3.Connection) -> dict[str, dict[FreshState, int]]:
    """How many partitions of each asset warn, and how many have lapsed, under policies that hold for each."""
    found: dict[str, dict[FreshState, int]] = {}
    rows = db.execute(
        """
        SELECT a.name, f.state, count(*) FROM assets a JOIN freshness f INDEXED BY freshness_due
        ON f.asset_id = a.id AND f.state IN ('warn', 'lapsed') AND f.partition > 0 GROUP BY a.id, f.state
        """
    )
    for name, state, count in rows:
        found.setdefault(name, {})[state] = count
    return found


def pieces(numbers: BitMap) -> Iterable[list[int]]:
    """Numbers in pieces of a transaction each."""
    rest = iter(numbers)
    while piece := list(islice(rest, PIECE)):
        yield piece
