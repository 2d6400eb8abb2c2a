"""Where assets, and partitions of assets, stand under their freshness policies.

An asset under a policy has one row (partition 0). With `per_partition` each of its live partitions has one besides, and
the first only says since when there is a policy. A materialization moves its row and ends a warning or lapse in its own
transaction; what time alone makes worse is committed by the engine, once an episode.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from freshet.definitions.deadlines import Standing, when_made
from freshet.definitions.freshness import FreshnessSpec
from freshet.store.codec import load
from freshet.store.ending import set_of
from freshet.store.events import EventLog
from freshet.store.records import Event, EventType, FreshnessChange, FreshnessRow

__all__ = ["Fresh", "asset_freshness", "commit_freshness", "freshness_at", "freshness_rows", "keep_fresh"]

_RESTORED: EventType = "freshness_restored"


@dataclass(frozen=True, slots=True)
class Fresh:
    """A materialization, as policies see it: `seq` of its event, `at` when it was made, `begun` when the work began.
    `told`: a report said when."""

    asset_id: int
    asset: str
    set: str | None
    partition: int
    seq: int
    at: float
    begun: float
    told: bool


_ROWS = """
SELECT a.name, f.partition, f.policy, f.since, f.baseline_seq, f.baseline_at, f.state, f.counts_from
FROM assets a CROSS JOIN freshness f ON f.asset_id = a.id
"""


def asset_freshness(db: sqlite3.Connection) -> tuple[FreshnessRow, ...]:
    """Where each asset under a policy stands. Looks at no partitions."""
    return _rows(db.execute(f"{_ROWS} WHERE f.partition = 0 ORDER BY a.name"))


def freshness_rows(db: sqlite3.Connection) -> tuple[FreshnessRow, ...]:
    """Where each asset under a policy stands, and each partition that is not fresh under a policy for each."""
    return _rows(db.execute(f"{_ROWS} WHERE f.partition = 0 OR f.state <> 'fresh' ORDER BY a.name, f.partition"))


def freshness_at(db: sqlite3.Connection, asset: str, partition: int) -> FreshnessRow | None:
    """Where an asset (partition 0) or one of its partitions stands; None without a policy."""
    return next(iter(_rows(db.execute(f"{_ROWS} WHERE a.name = ? AND f.partition = ?", (asset, partition)))), None)


def _rows(rows: Iterable[Any]) -> tuple[FreshnessRow, ...]:
    return tuple(
        FreshnessRow(name, partition, load(policy) if policy else None, since, seq, at, state, counts_from=counts)
        for name, partition, policy, since, seq, at, state, counts in rows
    )


def keep_fresh(db: sqlite3.Connection, log: EventLog, made: Fresh) -> bool:
    """Move the rows that a materialization concerns; returns whether what they say stays warned or lapsed all the same.

    What it ends has its event, `freshness_restored`, in the same transaction.
    """
    rows = db.execute(
        """
        SELECT partition, policy, since, baseline_seq, baseline_at, counts_from, state FROM freshness
        WHERE asset_id = ? AND partition IN (0, ?) ORDER BY partition
        """,
        (made.asset_id, made.partition),
    ).fetchall()
    if not rows:
        return False
    policy = policy_of(rows[0][1])
    if policy.per_partition and made.set is not None:
        if len(rows) == 1:
            return False  # not there yet: the engine puts it there, with what is known then
        row = rows[1]
    else:
        row = rows[0]
    partition, _, since, seq, at, counts, state = row
    before = Standing(since, seq > 0, at, counts, state)
    after = when_made(policy, before, made_at=made.at, begun=made.begun, told=made.told, now=log.at)
    if after is None:
        return bool(state != "fresh")
    db.execute(
        """
        UPDATE freshness SET baseline_seq = ?, baseline_at = ?, counts_from = ?, state = ?
        WHERE asset_id = ? AND partition = ?
        """,
        (made.seq, after.made_at, after.counts, after.state, made.asset_id, partition),
    )
    if state != "fresh" and after.state == "fresh":
        set_name = made.set if partition else None
        log.add(_RESTORED, asset=made.asset, set=set_name, partition=partition)
    return after.state != "fresh"


@lru_cache(maxsize=4096)
def policy_of(text: str) -> FreshnessSpec:
    """A policy as it is stored."""
    return FreshnessSpec(**load(text))


def commit_freshness(db: sqlite3.Connection, changes: Sequence[FreshnessChange], at: float) -> tuple[Event, ...]:
    """Commit what has become worse; returns the events. Dropped with their events are a second lapse of the same
    episode, a change of an asset that has no policy any more, and what a materialization committed just before it has
    overtaken."""
    log = EventLog(db, at)
    for change in changes:
        row = change.row
        found = db.execute(
            """
            UPDATE freshness SET state = ?1 WHERE asset_id = (SELECT id FROM assets WHERE name = ?2) AND partition = ?3
            AND baseline_seq = ?4 AND state <> ?1 AND state <> 'lapsed' RETURNING asset_id
            """,
            (row.state, row.asset, row.partition, row.baseline_seq),
        ).fetchone()
        if found is not None and change.event is not None:
            _worse(db, log, change, found[0])
    return log.write()


def _worse(db: sqlite3.Connection, log: EventLog, change: FreshnessChange, asset_id: int) -> None:
    row, deadline = change.row, change.deadline
    place = (asset_id, row.partition, row.baseline_seq)
    if change.event == "freshness_lapsed":
        taken = db.execute(
            "INSERT OR IGNORE INTO lapses (asset_id, partition, baseline_seq, deadline, seq) VALUES (?, ?, ?, ?, 0)",
            (*place, log.at if deadline is None else deadline),
        )
        if taken.rowcount != 1:
            return
    set_name = set_of(db, asset_id, row.partition)
    data = None if deadline is None else {"deadline": deadline}
    kind = cast("EventType", change.event)
    seq = log.add(kind, asset=row.asset, set=set_name, partition=row.partition, data=data)
    if change.event == "freshness_lapsed":
        db.execute("UPDATE lapses SET seq = ? WHERE asset_id = ? AND partition = ? AND baseline_seq = ?", (seq, *place))
