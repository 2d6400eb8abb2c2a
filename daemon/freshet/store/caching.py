"""What was made of which inputs, to be taken again: kept for assets that say so, and a bounded number for each
partition."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from pyroaring import BitMap

from freshet.definitions.outcome import Json
from freshet.errors import UnknownName
from freshet.store.codec import dump_optional, dump_value, load_optional, load_value
from freshet.store.made import Made
from freshet.store.records import ValueRef

__all__ = ["KEPT", "CachedValue", "clear_cache", "find_cached", "generation_of", "keep_cached", "versions_of"]

KEPT = 100
"""So many makings of one partition of an asset are known, the latest."""


@dataclass(frozen=True, slots=True)
class CachedValue:
    """What the run `run_id` made."""

    run_id: int
    value: ValueRef | None
    version: str | None
    code: str | None
    metadata: dict[str, Json] = field(default_factory=dict[str, Json])


def keep_cached(db: sqlite3.Connection, made: Made, key: str) -> None:
    """What a step has made can be taken again by those with the same key."""
    db.execute(
        """
        INSERT OR REPLACE INTO cached (asset_id, partition, key, at, run_id, value, metadata, data_version,
            code_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            *(made.asset_id, made.partition, key, made.begun, made.run_id, dump_value(made.value)),
            *(dump_optional(made.metadata or None), made.version, made.code),
        ),
    )
    db.execute(
        """
        DELETE FROM cached WHERE asset_id = ?1 AND partition = ?2 AND key IN (
            SELECT key FROM cached WHERE asset_id = ?1 AND partition = ?2
            ORDER BY at DESC, run_id DESC LIMIT -1 OFFSET ?3)
        """,
        (made.asset_id, made.partition, KEPT),
    )


def find_cached(
    db: sqlite3.Connection, asset: str, partition: int, key: str, since: float | None
) -> CachedValue | None:
    """What was made with this key, its work begun after `since`."""
    row = db.execute(
        """
        SELECT c.run_id, c.value, c.data_version, c.code_version, c.metadata FROM assets a
        JOIN cached c ON c.asset_id = a.id AND c.partition = ?2 AND c.key = ?3 AND (?4 IS NULL OR c.at > ?4)
        WHERE a.name = ?1
        """,
        (asset, partition, key, since),
    ).fetchone()
    if row is None:
        return None
    run_id, value, version, code, metadata = row
    return CachedValue(run_id, load_value(value), version, code, load_optional(metadata) or {})


def versions_of(db: sqlite3.Connection, asset: str, numbers: BitMap) -> list[tuple[int, str]]:
    """By partition, in order: the version of its data, else the event of its last materialization. Those that never
    were made are left out."""
    if not numbers:
        return []
    found: Iterable[tuple[int, str | None, int]] = db.execute(
        """
        SELECT partition, data_version, materialized_seq FROM asset_state
        WHERE asset_id = (SELECT id FROM assets WHERE name = ?1) AND partition BETWEEN ?2 AND ?3
        AND materialized_seq IS NOT NULL ORDER BY partition
        """,
        (asset, numbers.min(), numbers.max()),
    )
    return [
        (number, f"at {seq}" if version is None else version) for number, version, seq in found if number in numbers
    ]


def generation_of(db: sqlite3.Connection, set: str | None, partition: int) -> int:
    """How often the key was deleted and added again."""
    row = db.execute(
        """
        SELECT p.generation FROM partitions p
        WHERE p.set_id = (SELECT id FROM partition_sets WHERE name = ?) AND p.number = ?
        """,
        (set, partition),
    ).fetchone()
    return 0 if row is None else int(row[0])


def clear_cache(db: sqlite3.Connection, asset: str, key: str | None) -> int:
    """Forget what was made of an asset, or of one partition of it, by its key; returns how many makings. Raises
    `UnknownName`."""
    found = db.execute("SELECT id, set_id FROM assets WHERE name = ?", (asset,)).fetchone()
    if found is None:
        raise UnknownName(f"there is no asset {asset!r}", hint="freshet assets lists them")
    asset_id, set_id = found
    if key is None:
        return db.execute("DELETE FROM cached WHERE asset_id = ?", (asset_id,)).rowcount
    row = db.execute("SELECT number FROM partitions WHERE set_id = ? AND key = ?", (set_id, key)).fetchone()
    if row is None:
        raise UnknownName(f"asset {asset!r} has no partition {key!r}", hint="freshet partitions SET lists them")
    return db.execute("DELETE FROM cached WHERE asset_id = ? AND partition = ?", (asset_id, row[0])).rowcount
