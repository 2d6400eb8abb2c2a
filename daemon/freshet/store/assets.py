"""What the engine remembers of assets: states over partitions, freshness, and what its conditions have seen."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import cast

from pyroaring import BitMap

from freshet.store.admission import Admitting, admit_into
from freshet.store.codec import load
from freshet.store.ending import ACTIVE, set_of
from freshet.store.events import EventLog
from freshet.store.records import (
    Admitted,
    AssetBits,
    AutomationCommit,
    ConditionChunk,
    Event,
    EventType,
    FreshnessChange,
    FreshnessRow,
)
from freshet.store.sets import read_numbers

__all__ = [
    "asset_bits",
    "automation_seq",
    "commit_automation",
    "commit_freshness",
    "condition_chunks",
    "freshness_rows",
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


def freshness_rows(db: sqlite3.Connection) -> tuple[FreshnessRow, ...]:
    """Where each asset under a policy stands.

    The baseline is the latest materialization even where no change of state was committed for it: `state` is as last
    committed, to be recomputed by the reader.
    """
    rows = db.execute(
        """
        SELECT a.name, f.partition, f.policy, f.since, f.state, f.baseline_seq, f.baseline_at,
               s.materialized_seq, s.materialized_at
        FROM freshness f JOIN assets a ON a.id = f.asset_id
        LEFT JOIN asset_state s INDEXED BY asset_state_latest ON s.asset_id = f.asset_id AND s.materialized_seq =
            (SELECT max(m.materialized_seq) FROM asset_state m WHERE m.asset_id = f.asset_id)
        ORDER BY a.name, f.partition
        """
    )
    found: list[FreshnessRow] = []
    for name, partition, policy, since, state, seq, at, made_seq, made_at in rows:
        base_seq, base_at = seq, at
        if made_seq is not None and made_seq > seq:
            base_seq, base_at = made_seq, max(made_at, at)
        found.append(FreshnessRow(name, partition, load(policy), since, base_seq, base_at, state, seq))
    return tuple(found)


def commit_freshness(db: sqlite3.Connection, changes: Sequence[FreshnessChange], at: float) -> tuple[Event, ...]:
    """Commit transitions; returns their events. Dropped with their events are a second lapse of the same episode, a
    change of an asset that has no policy any more, a worsening that a materialization committed just before it has
    overtaken, and the restoration of what was never seen to worsen."""
    log = EventLog(db, at)
    for change in changes:
        row = change.row
        if _overtaken(db, change):
            continue
        found = db.execute(
            """
            UPDATE freshness SET baseline_seq = ?, baseline_at = ?, state = ?
            WHERE asset_id = (SELECT id FROM assets WHERE name = ?) AND partition = ? RETURNING asset_id
            """,
            (row.baseline_seq, row.baseline_at, row.state, row.asset, row.partition),
        ).fetchone()
        if found is not None and change.event is not None:
            _transition(db, log, change, found[0], at)
    return log.write()


def _overtaken(db: sqlite3.Connection, change: FreshnessChange) -> bool:
    row = change.row
    if change.event in ("freshness_warned", "freshness_lapsed"):
        (newest,) = db.execute(
            "SELECT max(s.materialized_seq) FROM assets a JOIN asset_state s ON s.asset_id = a.id WHERE a.name = ?",
            (row.asset,),
        ).fetchone()
        return newest is not None and newest > row.baseline_seq
    if change.event == "freshness_restored":
        state = db.execute(
            "SELECT state FROM freshness f JOIN assets a ON a.id = f.asset_id WHERE a.name = ? AND f.partition = ?",
            (row.asset, row.partition),
        ).fetchone()
        return state is None or state[0] == "fresh"
    return False


def _transition(db: sqlite3.Connection, log: EventLog, change: FreshnessChange, asset_id: int, at: float) -> None:
    row = change.row
    data = None if change.deadline is None else {"deadline": change.deadline}
    place = (asset_id, row.partition, row.baseline_seq)
    if change.event == "freshness_lapsed":
        taken = db.execute(
            "INSERT OR IGNORE INTO lapses (asset_id, partition, baseline_seq, deadline, seq) VALUES (?, ?, ?, ?, 0)",
            (*place, at if change.deadline is None else change.deadline),
        )
        if taken.rowcount != 1:
            return
    kind = cast("EventType", change.event)
    seq = log.add(kind, asset=row.asset, set=set_of(db, asset_id, row.partition), partition=row.partition, data=data)
    if change.event == "freshness_lapsed":
        db.execute("UPDATE lapses SET seq = ? WHERE asset_id = ? AND partition = ? AND baseline_seq = ?", (seq, *place))


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
    """Commit one evaluation: how far it looked, what its nodes remember, and the runs it asks for."""
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_SEQ, str(commit.seq)))
    _write_chunks(db, commit.chunks)
    log = EventLog(db, commit.at)
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
