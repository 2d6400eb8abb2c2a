"""Freshness policies as the definitions have them, put into the rows that remember where things stand."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict

from freshet.definitions.deadlines import counts_from
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions
from freshet.store.codec import dump
from freshet.store.freshness import policy_of

__all__ = ["register_policies"]


def register_policies(db: sqlite3.Connection, definitions: Definitions, now: float) -> None:
    """A policy counts from the last materialization, else from when the asset first had one. An edit keeps both, and
    the state: it moves the next deadline alone. Rows of partitions that the policy is not for any more go."""
    policies = {spec.name: spec.freshness for spec in definitions.assets if spec.freshness is not None}
    db.execute(
        """
        DELETE FROM freshness WHERE asset_id NOT IN
            (SELECT a.id FROM assets a JOIN json_each(?) kept ON kept.value = a.name)
        """,
        (dump(list(policies)),),
    )
    if not policies:
        return
    rows = db.execute(
        "SELECT a.name, a.id, f.policy FROM assets a LEFT JOIN freshness f ON f.asset_id = a.id AND f.partition = 0"
    )
    for name, asset_id, known in rows.fetchall():
        policy = policies.get(name)
        if policy is None:
            continue
        text = dump({key: value for key, value in asdict(policy).items() if value not in (None, False)})
        if known is None:
            _begin(db, asset_id, policy, text, now)
        elif text != known:
            _edit(db, asset_id, policy, text, policy_of(known))


def _begin(db: sqlite3.Connection, asset_id: int, policy: FreshnessSpec, text: str, now: float) -> None:
    seq, made_at, begun = _last(db, asset_id)
    counts = now if seq is None else counts_from(policy, made_at, begun, now)
    db.execute(
        """
        INSERT INTO freshness (asset_id, partition, policy, since, baseline_seq, baseline_at, counts_from, state)
        VALUES (?, 0, ?, ?, ?, ?, ?, 'fresh')
        """,
        (asset_id, text, now, seq or 0, now if seq is None else made_at, counts),
    )


def _edit(db: sqlite3.Connection, asset_id: int, policy: FreshnessSpec, text: str, before: FreshnessSpec) -> None:
    since, seq, at = db.execute(
        "SELECT since, baseline_seq, baseline_at FROM freshness WHERE asset_id = ? AND partition = 0", (asset_id,)
    ).fetchone()
    turned = policy.per_partition != before.per_partition
    last, made_at, begun = _last(db, asset_id)
    if turned and last is not None:
        seq, at = last, made_at
    counts = counts_from(policy, at, begun, since) if seq else since
    db.execute(
        """
        UPDATE freshness SET policy = ?2, baseline_seq = ?3, baseline_at = ?4, counts_from = ?5,
            state = CASE WHEN ?6 THEN 'fresh' ELSE state END WHERE asset_id = ?1 AND partition = 0
        """,
        (asset_id, text, seq, at, counts, turned),
    )
    if not policy.per_partition:
        db.execute("DELETE FROM freshness WHERE asset_id = ? AND partition > 0", (asset_id,))
    elif not turned:
        db.execute(_RECOUNTED, (asset_id, policy.window if policy.cron is not None else None))


_RECOUNTED = """
UPDATE freshness SET counts_from = CASE WHEN baseline_seq = 0 THEN since WHEN ?2 IS NULL THEN baseline_at
    ELSE max(since, ?2 + (SELECT coalesce(s.begun_at, baseline_at) FROM asset_state s
                          WHERE s.asset_id = freshness.asset_id AND s.partition = freshness.partition)) END
WHERE asset_id = ?1 AND partition > 0
"""


def _last(db: sqlite3.Connection, asset_id: int) -> tuple[int | None, float, float]:
    """Of all partitions: the last materialization's event, and the latest moments of being made and of being begun."""
    seq, made_at, begun = db.execute(
        """
        SELECT max(materialized_seq), max(materialized_at), max(coalesce(begun_at, materialized_at)) FROM asset_state
        WHERE asset_id = ? AND materialized_seq IS NOT NULL
        """,
        (asset_id,),
    ).fetchone()
    return seq, made_at or 0.0, begun or 0.0
