"""What the plugins declare, interned: assets, their partition sets, freshness policies. Ids are never reused."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple

from freshet.definitions.asset import AssetSpec
from freshet.definitions.graph import Definitions
from freshet.store.events import EventLog
from freshet.store.policies import register_policies
from freshet.store.records import Event
from freshet.store.registry import register_sets
from freshet.store.renaming import rename

__all__ = ["register_definitions"]


def register_definitions(db: sqlite3.Connection, definitions: Definitions, now: float) -> tuple[Event, ...]:
    """Put definitions in force; doing it twice changes nothing. Returns the events.

    What `was` called otherwise goes by its new name from now on. Names that are gone keep their ids and history. A key
    taken out of a static set is hidden, and shown again as it was if it comes back, and so are windows of time before
    `start`: an edit loses nothing. An asset that moves to another set loses its state, because its numbers would mean
    other keys; so do all assets of a set whose numbers mean something else than before. Of those the event
    `definitions_loaded` has `data["renumbered"]`.
    An asset whose code is another than that of the definitions before, however long ago, has one event `code_changed`;
    one that depends on others, or otherwise on them, or whose freshness policy came, went or holds for partitions now,
    one event `rewired`.
    """
    log = EventLog(db, now)
    rename(db, definitions)
    renumbered = register_sets(db, log, definitions, now)
    known = _known(db)
    wiring = {spec.name: _wiring(definitions, spec) for spec in definitions.assets}
    _assets(db, definitions, known, wiring)
    _code(db, definitions, known, log)
    _rewire(db, definitions, known, wiring, log)
    register_policies(db, definitions, now)
    _gates(db, definitions)
    _version(db, definitions.version, log, renumbered)
    return log.write()


class _Known(NamedTuple):
    """What was noted of an asset; None for what never was."""

    set_id: int | None
    code_version: str | None
    wiring: str | None


def _known(db: sqlite3.Connection) -> dict[str, _Known]:
    rows = db.execute("SELECT name, set_id, code_version, wiring FROM assets")
    return {name: _Known(set_id, code, wiring) for name, set_id, code, wiring in rows}


def _assets(
    db: sqlite3.Connection, definitions: Definitions, known: Mapping[str, _Known], wiring: Mapping[str, str]
) -> None:
    ids: dict[str, int] = dict(db.execute("SELECT name, id FROM partition_sets"))
    sets = {spec.name: None if spec.partitions is None else ids[spec.partitions.name] for spec in definitions.assets}
    db.executemany(
        "INSERT INTO assets (name, set_id, code_version, wiring) VALUES (?, ?, ?, ?)",
        (
            (spec.name, sets[spec.name], spec.code_version, wiring[spec.name])
            for spec in definitions.assets
            if spec.name not in known
        ),
    )
    moved = [(set_id, name) for name, set_id in sets.items() if name in known and known[name].set_id != set_id]
    db.executemany("UPDATE assets SET set_id = ? WHERE name = ?", moved)
    for table in ("asset_state", "condition_state", "check_results"):
        db.executemany(
            f"DELETE FROM {table} WHERE asset_id = (SELECT id FROM assets WHERE name = ?)",  # noqa: S608  # constants
            [(name,) for _, name in moved],
        )
    db.executemany(
        "DELETE FROM freshness WHERE asset_id = (SELECT id FROM assets WHERE name = ?) AND partition > 0",
        [(name,) for _, name in moved],
    )


def _code(db: sqlite3.Connection, definitions: Definitions, known: Mapping[str, _Known], log: EventLog) -> None:
    """What was never told is known from now on, and is no change."""
    changed = [
        (spec, before.code_version)
        for spec in definitions.assets
        if (before := known.get(spec.name)) is not None and spec.code_version not in (None, before.code_version)
    ]
    db.executemany(
        "UPDATE assets SET code_version = ? WHERE name = ?", [(spec.code_version, spec.name) for spec, _ in changed]
    )
    for spec, noted in changed:
        if noted is not None:
            name = None if spec.partitions is None else spec.partitions.name
            log.add("code_changed", asset=spec.name, set=name, data={"code_version": spec.code_version})


def _rewire(
    db: sqlite3.Connection,
    definitions: Definitions,
    known: Mapping[str, _Known],
    wiring: Mapping[str, str],
    log: EventLog,
) -> None:
    """What was never noted is known from now on, and is no change."""
    changed = [
        (spec, before.wiring)
        for spec in definitions.assets
        if (before := known.get(spec.name)) is not None and before.wiring != wiring[spec.name]
    ]
    db.executemany(
        "UPDATE assets SET wiring = ? WHERE name = ?", [(wiring[spec.name], spec.name) for spec, _ in changed]
    )
    for spec, noted in changed:
        if noted is not None:
            log.add("rewired", asset=spec.name, set=None if spec.partitions is None else spec.partitions.name)


def _wiring(definitions: Definitions, spec: AssetSpec) -> str:
    parts = ["" if spec.partitions is None else spec.partitions.name]
    if spec.freshness is not None:
        parts.append("each" if spec.freshness.per_partition else "whole")
    for dep in sorted(spec.deps, key=lambda dep: dep.asset):
        above = definitions.asset[dep.asset].partitions
        if above is None and spec.partitions is None:
            parts.append(dep.asset)
        else:
            name = "" if above is None else above.name
            parts.append(f"{dep.asset} {name} {definitions.mapping(spec, dep)!r}")
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def _gates(db: sqlite3.Connection, definitions: Definitions) -> None:
    """What blocking checks held is let go where there are none any more."""
    for asset_id, name in db.execute(
        """
        SELECT a.id, a.name FROM asset_state s INDEXED BY asset_state_held JOIN assets a ON a.id = s.asset_id
        WHERE s.held > 0 GROUP BY a.id
        """
    ).fetchall():
        if name not in definitions.gates:
            db.execute("UPDATE asset_state SET held = 0 WHERE asset_id = ? AND held > 0", (asset_id,))


def _version(db: sqlite3.Connection, version: str, log: EventLog, renumbered: dict[str, str]) -> None:
    known = db.execute("SELECT value FROM meta WHERE key = 'definitions_version'").fetchone()
    if known is None or known[0] != version or renumbered:
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('definitions_version', ?)", (version,))
        data: dict[str, Any] = {"version": version}
        log.add("definitions_loaded", data={**data, "renumbered": renumbered} if renumbered else data)
