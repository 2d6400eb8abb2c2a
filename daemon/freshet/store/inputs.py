"""The values that a step takes: which references, and which keys have none."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from freshet.store.codec import load_value
from freshet.store.records import InputNeed, ValueRef

__all__ = ["Inputs", "gather_inputs", "read_inputs"]

Inputs = tuple[dict[str, dict[str | None, ValueRef]], dict[str, tuple[str | None, ...]], tuple[str, ...]]
"""By upstream: the values by key, the keys without one; and the upstreams left to `read_inputs`."""

_SINGLE = """
SELECT s.value FROM assets a JOIN asset_state s ON s.asset_id = a.id AND s.partition = 0 WHERE a.name = ?
"""
_SAME_KEY = """
SELECT s.value FROM assets a
JOIN partitions p ON p.set_id = a.set_id AND p.number = ?2 AND p.deleted_at IS NULL
JOIN asset_state s ON s.asset_id = a.id AND s.partition = p.number WHERE a.name = ?1
"""
_LAST = """
SELECT p.key, s.value FROM partition_sets ps JOIN partitions p ON p.set_id = ps.id
LEFT JOIN asset_state s ON s.asset_id = (SELECT id FROM assets WHERE name = ?1) AND s.partition = p.number
WHERE ps.name = ?2 AND p.deleted_at IS NULL ORDER BY p.number DESC LIMIT 1
"""
_ALL = """
SELECT p.key, s.value FROM partition_sets ps JOIN partitions p ON p.set_id = ps.id
LEFT JOIN asset_state s ON s.asset_id = (SELECT id FROM assets WHERE name = ?1) AND s.partition = p.number
WHERE ps.name = ?2 AND p.deleted_at IS NULL ORDER BY p.number
"""


def gather_inputs(db: sqlite3.Connection, needs: Sequence[InputNeed], partition: int, key: str | None) -> Inputs:
    """What a step of this partition takes from each upstream, as it stands now."""
    inputs: dict[str, dict[str | None, ValueRef]] = {}
    missing: dict[str, tuple[str | None, ...]] = {}
    bulk: list[str] = []
    for need in needs:
        if need.mapping == "all":
            bulk.append(need.asset)
            continue
        found: str | None = None
        if need.mapping == "last":
            row = db.execute(_LAST, (need.asset, need.set)).fetchone()
            if row is None:  # the set is empty: nothing is there, and nothing is missing
                inputs[need.asset], missing[need.asset] = {}, ()
                continue
            found, text = row
        else:
            found = None if need.set is None else key
            single = need.set is None
            row = db.execute(*((_SINGLE, (need.asset,)) if single else (_SAME_KEY, (need.asset, partition)))).fetchone()
            text = None if row is None else row[0]
        ref = load_value(text)
        inputs[need.asset] = {} if ref is None else {found: ref}
        missing[need.asset] = (found,) if ref is None else ()
    return inputs, missing, tuple(bulk)


def read_inputs(
    db: sqlite3.Connection, asset: str, set: str | None
) -> tuple[dict[str | None, ValueRef], tuple[str | None, ...]]:
    """All values of an upstream by key, in the order of its partitions, and the keys without one."""
    rows = (
        db.execute(_ALL, (asset, set)).fetchall()
        if set is not None
        else [(None, row[0]) for row in db.execute(_SINGLE, (asset,))] or [(None, None)]
    )
    values: dict[str | None, ValueRef] = {}
    missing: list[str | None] = []
    for key, text in rows:
        ref = load_value(text)
        if ref is None:
            missing.append(key)
        else:
            values[key] = ref
    return values, tuple(missing)
