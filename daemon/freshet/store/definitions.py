"""What the plugins declare, interned: assets, their partition sets, freshness policies. Ids are never reused."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from typing import Any

from freshet.definitions.graph import Definitions
from freshet.store.codec import dump
from freshet.store.events import EventLog
from freshet.store.records import Event
from freshet.store.registry import register_sets

__all__ = ["register_definitions"]


def register_definitions(db: sqlite3.Connection, definitions: Definitions, now: float) -> tuple[Event, ...]:
    """Put definitions in force; doing it twice changes nothing. Returns the events.

    Names that are gone keep their ids and history. A key taken out of a static set is hidden, and shown again as it
    was if it comes back, and so are windows of time before `start`: an edit loses nothing. An asset that moves to
    another set loses its state, because its numbers would mean other keys; so do all assets of a set whose numbers
    mean something else than before. Of those the event `definitions_loaded` has `data["renumbered"]`.
    An asset whose code is another than that of the definitions before, however long ago, has one event `code_changed`.
    """
    log = EventLog(db, now)
    renumbered = register_sets(db, log, definitions, now)
    _assets(db, definitions)
    _code(db, definitions, log)
    _policies(db, definitions, now)
    _version(db, definitions.version, log, renumbered)
    return log.write()


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


def _code(db: sqlite3.Connection, definitions: Definitions, log: EventLog) -> None:
    """What was never told is known from now on, and is no change."""
    known: dict[str, str | None] = dict(db.execute("SELECT name, code_version FROM assets"))
    given = [(spec, spec.code_version) for spec in definitions.assets if spec.code_version is not None]
    changed = [(spec, version) for spec, version in given if known[spec.name] != version]
    db.executemany(
        "UPDATE assets SET code_version = ? WHERE name = ?", [(version, spec.name) for spec, version in changed]
    )
    for spec, version in changed:
        if known[spec.name] is not None:
            name = None if spec.partitions is None else spec.partitions.name
            log.add("code_changed", asset=spec.name, set=name, data={"code_version": version})


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
        SELECT a.id, 0, ?2, ?3, coalesce(s.materialized_seq, 0), coalesce(s.materialized_at, ?3), 'fresh'
        FROM assets a
        LEFT JOIN asset_state s INDEXED BY asset_state_latest ON s.asset_id = a.id AND s.materialized_seq =
            (SELECT max(m.materialized_seq) FROM asset_state m WHERE m.asset_id = a.id)
        WHERE a.name = ?1
        ON CONFLICT (asset_id, partition) DO UPDATE SET policy = excluded.policy WHERE policy <> excluded.policy
        """,
        [(name, policy, now) for name, policy in policies],
    )


def _version(db: sqlite3.Connection, version: str, log: EventLog, renumbered: dict[str, str]) -> None:
    known = db.execute("SELECT value FROM meta WHERE key = 'definitions_version'").fetchone()
    if known is None or known[0] != version or renumbered:
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('definitions_version', ?)", (version,))
        data: dict[str, Any] = {"version": version}
        log.add("definitions_loaded", data={**data, "renumbered": renumbered} if renumbered else data)
