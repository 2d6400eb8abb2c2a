"""What the engine remembers of assets: states over partitions, and what its conditions have seen."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from pyroaring import BitMap

from freshet.store.admission import Admitting, admit_into
from freshet.store.ending import ACTIVE
from freshet.store.events import EventLog
from freshet.store.records import (
    Admitted,
    AssetBits,
    AutomationCommit,
    ConditionChunk,
)
from freshet.store.sets import read_numbers

__all__ = [
    "asset_bits",
    "automation_seq",
    "commit_automation",
    "condition_chunks",
]

_SEQ = "automation_seq"


def asset_bits(db: sqlite3.Connection) -> dict[str, AssetBits]:
    """The states of all assets' partitions: those made, failed, and waiting or under way."""
    gone: dict[int, BitMap] = {}
    for (set_id,) in db.execute("SELECT id FROM partition_sets"):
        rows = "FROM partitions INDEXED BY partitions_deleted WHERE set_id = ? AND deleted_at IS NOT NULL"
        gone[set_id] = read_numbers(db, f"number {rows}", set_id)
    found: dict[str, AssetBits] = {}
    for asset_id, name, set_id in db.execute("SELECT id, name, set_id FROM assets"):
        made, failed, active = (read_numbers(db, f"partition {rows}", asset_id) for rows in _BITS)
        if set_id is not None:
            made, failed, active = made - gone[set_id], failed - gone[set_id], active - gone[set_id]
        (latest,) = db.execute(
            "SELECT coalesce(max(materialized_seq), 0) FROM asset_state WHERE asset_id = ?", (asset_id,)
        ).fetchone()
        found[name] = AssetBits(made, failed, active, latest)
    return found


_BITS = (
    "FROM asset_state INDEXED BY asset_state_latest WHERE asset_id = ? AND materialized_seq IS NOT NULL",
    """FROM asset_state INDEXED BY asset_state_failed
        WHERE asset_id = ? AND failed_seq IS NOT NULL AND failed_seq > coalesce(materialized_seq, 0)""",
    f"FROM steps INDEXED BY steps_active WHERE asset_id = ? AND state IN {ACTIVE}",
)


def automation_seq(db: sqlite3.Connection) -> int:
    """Up to and including which event the conditions have looked; 0 at first."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (_SEQ,)).fetchone()
    return 0 if row is None else int(row[0])


def condition_chunks(db: sqlite3.Connection) -> tuple[ConditionChunk, ...]:
    """The memory of all condition nodes."""
    rows = db.execute(
        """
        SELECT a.name, c.node, c.chunk, c.bits FROM condition_state c JOIN assets a ON a.id = c.asset_id
        ORDER BY c.asset_id, c.node, c.chunk
        """
    )
    return tuple(ConditionChunk(*row) for row in rows)


def commit_automation(db: sqlite3.Connection, commit: AutomationCommit) -> Admitted:
    """Commit one evaluation: how far it looked, what its nodes remember, what it tells and the runs it asks for."""
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_SEQ, str(commit.seq)))
    _write_chunks(db, commit.chunks)
    db.executemany("INSERT OR IGNORE INTO conditions (digest, expression) VALUES (?, ?)", commit.conditions.items())
    log = EventLog(db, commit.at)
    for told in commit.told:
        for partition in told.partitions:
            log.add(told.type, asset=told.asset, set=told.set, partition=partition)
    how = Admitting(commit.start, commit.needs, commit.at, commit.version)
    admitted, _ = admit_into(db, log, commit.runs, how)
    return Admitted(admitted, log.write())


def _write_chunks(db: sqlite3.Connection, chunks: Iterable[ConditionChunk]) -> None:
    put = [(one.asset, one.node, one.chunk, one.bits) for one in chunks if one.bits]
    gone = [(one.asset, one.node, one.chunk) for one in chunks if not one.bits]
    db.executemany(
        """
        INSERT OR REPLACE INTO condition_state (asset_id, node, chunk, bits)
        VALUES ((SELECT id FROM assets WHERE name = ?), ?, ?, ?)
        """,
        put,
    )
    db.executemany(
        """
        DELETE FROM condition_state
        WHERE asset_id = (SELECT id FROM assets WHERE name = ?) AND node = ? AND chunk = ?
        """,
        gone,
    )
