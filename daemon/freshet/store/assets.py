"""What the engine remembers of assets: states over partitions, and what its conditions have seen."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pyroaring import BitMap

from freshet.store.admission import Admitting, admit_into
from freshet.store.chains import caused
from freshet.store.checks import checked_bits
from freshet.store.codec import dump
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
_MANY = 1_000
"""Chunks from which on the ids of all assets are looked up together."""


def asset_bits(db: sqlite3.Connection) -> dict[str, AssetBits]:
    """The states of assets' partitions: those made, failed, and waiting or under way; nothing of an asset that has none
    of them."""
    gone: dict[int, BitMap] = {}
    for (set_id,) in db.execute("SELECT id FROM partition_sets"):
        rows = "FROM partitions INDEXED BY partitions_deleted WHERE set_id = ? AND deleted_at IS NOT NULL"
        gone[set_id] = read_numbers(db, f"number {rows}", set_id)
    found = _whole_bits(db)
    for asset_id, name, set_id in db.execute("SELECT id, name, set_id FROM assets WHERE set_id IS NOT NULL"):
        made, failed, active = (read_numbers(db, f"partition {rows}", asset_id) - gone[set_id] for rows in _BITS)
        (latest,) = db.execute(
            "SELECT coalesce(max(materialized_seq), 0) FROM asset_state WHERE asset_id = ?", (asset_id,)
        ).fetchone()
        found[name] = AssetBits(made, failed, active, latest)
    nothing = AssetBits(BitMap(), BitMap(), BitMap())
    for name, checked in checked_bits(db).items():
        found[name] = replace(found.get(name, nothing), checked=checked)
    return found


def _whole_bits(db: sqlite3.Connection) -> dict[str, AssetBits]:
    """Those of assets without partitions, of which there may be many."""
    states: dict[str, tuple[bool, bool, int]] = {
        name: (made is not None, failed is not None and failed > (made or 0), made or 0)
        for name, made, failed in db.execute(
            """
            SELECT a.name, s.materialized_seq, s.failed_seq
            FROM assets a CROSS JOIN asset_state s ON s.asset_id = a.id AND s.partition = 0
            WHERE a.set_id IS NULL AND (s.materialized_seq IS NOT NULL OR s.failed_seq IS NOT NULL)
            """
        )
    }
    active = {
        name
        for (name,) in db.execute(
            f"""
            SELECT a.name FROM steps INDEXED BY steps_active CROSS JOIN assets a ON a.id = steps.asset_id
            WHERE steps.state IN {ACTIVE} AND steps.partition = 0 AND a.set_id IS NULL
            """  # noqa: S608  # a constant
        )
    }
    nothing = (False, False, 0)
    found: dict[str, AssetBits] = {}
    for name in states.keys() | active:
        made, failed, latest = states.get(name, nothing)
        found[name] = AssetBits(_one(made), _one(failed), _one(name in active), latest)
    return found


def _one(there: bool) -> BitMap:
    return BitMap([0]) if there else BitMap()


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


def commit_automation(db: sqlite3.Connection, commits: Sequence[AutomationCommit]) -> tuple[Admitted, ...]:
    """Commit evaluations in their order: how far each looked, what its nodes remember, what it tells and the runs it
    asks for."""
    return tuple([_commit_one(db, commit) for commit in commits])


def _commit_one(db: sqlite3.Connection, commit: AutomationCommit) -> Admitted:
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_SEQ, str(commit.seq)))
    _write_chunks(db, commit.chunks)
    db.executemany("INSERT OR IGNORE INTO conditions (digest, expression) VALUES (?, ?)", commit.conditions.items())
    log = EventLog(db, commit.at)
    for told in commit.told:
        for partition in told.partitions:
            log.add(told.type, asset=told.asset, set=told.set, partition=partition)
    how = Admitting(commit.start, commit.needs, commit.at, commit.version)
    admitted, _ = admit_into(db, log, caused(db, commit.runs, commit.by, commit.later), how)
    return Admitted(admitted, log.write())


def _write_chunks(db: sqlite3.Connection, chunks: Sequence[ConditionChunk]) -> None:
    if len(chunks) > _MANY:
        _write_alike(db, [one for one in chunks if one.bits])
        chunks = [one for one in chunks if not one.bits]
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


def _write_alike(db: sqlite3.Connection, chunks: Iterable[ConditionChunk]) -> None:
    """Many that are equal but for the asset, in a statement for all assets of each."""
    ids: dict[str, int] = dict(db.execute("SELECT name, id FROM assets"))
    groups: dict[tuple[str, int, bytes], list[int]] = {}
    for asset, node, chunk, bits in chunks:
        groups.setdefault((node, chunk, bits), []).append(ids[asset])
    db.executemany(
        """
        INSERT OR REPLACE INTO condition_state (asset_id, node, chunk, bits)
        SELECT value, ?1, ?2, ?3 FROM json_each(?4)
        """,
        ((*key, dump(sorted(assets))) for key, assets in groups.items()),
    )
