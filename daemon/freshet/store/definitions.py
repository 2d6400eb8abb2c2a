"""What the plugins declare, interned: assets, partition sets, static keys, freshness policies. Ids are never reused."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict

from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import StaticPartitions
from freshet.store.codec import dump
from freshet.store.events import EventLog
from freshet.store.records import Event

__all__ = ["register_definitions"]


def register_definitions(db: sqlite3.Connection, definitions: Definitions, now: float) -> tuple[Event, ...]:
    """Put definitions in force; doing it twice changes nothing. Returns the events.

    Names that are gone keep their ids and history. A key taken out of a static set is hidden, and shown again as it
    was if it comes back: an edit loses nothing. An asset that moves to another set loses its state, because its
    numbers would mean other keys.
    """
    log = EventLog(db, now)
    _sets(db, definitions)
    for spec in definitions.partition_set.values():
        if isinstance(spec, StaticPartitions):
            _static_keys(db, spec, now, log)
    _assets(db, definitions)
    _policies(db, definitions, now)
    _version(db, definitions.version, log)
    return log.write()


def _sets(db: sqlite3.Connection, definitions: Definitions) -> None:
    kinds = {spec.partitions: "dynamic" for spec in definitions.sensors if spec.partitions is not None}
    kinds |= {name: spec.kind for name, spec in definitions.partition_set.items()}
    db.executemany(
        """
        INSERT INTO partition_sets (name, kind) VALUES (?, ?)
        ON CONFLICT (name) DO UPDATE SET kind = excluded.kind WHERE kind <> excluded.kind
        """,
        kinds.items(),
    )


def _static_keys(db: sqlite3.Connection, spec: StaticPartitions, now: float, log: EventLog) -> None:
    set_id, number = db.execute("SELECT id, next_number FROM partition_sets WHERE name = ?", (spec.name,)).fetchone()
    known = {
        key: (number_, deleted_at)
        for key, number_, deleted_at in db.execute(
            "SELECT key, number, deleted_at FROM partitions WHERE set_id = ?", (set_id,)
        )
    }
    for key in spec.keys:
        if key not in known:
            db.execute(
                "INSERT INTO partitions (set_id, number, key, added_at) VALUES (?, ?, ?, ?)", (set_id, number, key, now)
            )
            log.add("partition_added", set=spec.name, partition=number, data={"key": key})
            number += 1
        elif known[key][1] is not None:
            db.execute(
                "UPDATE partitions SET deleted_at = NULL WHERE set_id = ? AND number = ?", (set_id, known[key][0])
            )
            log.add("partition_added", set=spec.name, partition=known[key][0], data={"key": key})
    for key, (gone, deleted_at) in known.items():
        if deleted_at is None and key not in spec.keys:
            db.execute("UPDATE partitions SET deleted_at = ? WHERE set_id = ? AND number = ?", (now, set_id, gone))
            log.add("partition_deleted", set=spec.name, partition=gone, data={"key": key})
    db.execute("UPDATE partition_sets SET next_number = ? WHERE id = ?", (number, set_id))


def _assets(db: sqlite3.Connection, definitions: Definitions) -> None:
    ids: dict[str, int] = dict(db.execute("SELECT name, id FROM partition_sets"))
    before: dict[str, int | None] = dict(db.execute("SELECT name, set_id FROM assets"))
    sets = {spec.name: None if spec.partitions is None else ids[spec.partitions.name] for spec in definitions.assets}
    db.executemany(
        "INSERT INTO assets (name, set_id) VALUES (?, ?)",
        [(name, set_id) for name, set_id in sets.items() if name not in before],
    )
    moved = [(set_id, name) for name, set_id in sets.items() if name in before and before[name] != set_id]
    db.executemany("UPDATE assets SET set_id = ? WHERE name = ?", moved)
    for table in ("asset_state", "condition_state"):
        db.executemany(
            f"DELETE FROM {table} WHERE asset_id = (SELECT id FROM assets WHERE name = ?)",  # noqa: S608  # two constants
            [(name,) for _, name in moved],
        )


def _policies(db: sqlite3.Connection, definitions: Definitions, now: float) -> None:
    """A policy counts from the last materialization, else from when the asset first had one. An edit keeps both."""
    policies = [(spec.name, dump(asdict(spec.freshness))) for spec in definitions.assets if spec.freshness is not None]
    db.execute(
        """
        DELETE FROM freshness WHERE asset_id NOT IN
            (SELECT a.id FROM assets a JOIN json_each(?) kept ON kept.value = a.name)
        """,
        (dump([name for name, _ in policies]),),
    )
    db.executemany(
        """
        INSERT INTO freshness (asset_id, partition, policy, since, baseline_seq, baseline_at, state)
        SELECT a.id, 0, ?2, ?3, coalesce(max(s.materialized_seq), 0), coalesce(max(s.materialized_at), ?3), 'fresh'
        FROM assets a LEFT JOIN asset_state s ON s.asset_id = a.id WHERE a.name = ?1 GROUP BY a.id
        ON CONFLICT (asset_id, partition) DO UPDATE SET policy = excluded.policy WHERE policy <> excluded.policy
        """,
        [(name, policy, now) for name, policy in policies],
    )


def _version(db: sqlite3.Connection, version: str, log: EventLog) -> None:
    known = db.execute("SELECT value FROM meta WHERE key = 'definitions_version'").fetchone()
    if known is None or known[0] != version:
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('definitions_version', ?)", (version,))
        log.add("definitions_loaded", data={"version": version})
