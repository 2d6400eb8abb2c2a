"""A store as a long time of work leaves it: a set of very many keys, and assets that were made for nearly all of them.

Made by SQL in bulk, in the file of a daemon that has registered its definitions and ended: through the daemon it would
take hours. Of each asset every partition has a row of its own with the number of the event that made it, as runs end:
not in the order of the keys. Conditions are left without memory: the first start after it looks at everything once.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Filled", "fill"]

_BLOCK, _SCATTER = 1_000, 619
"""Runs end in order by and large: of so many keys, which come together, in an order that looks like none."""
_FAILED = 1_000
"""Of so many partitions of the first asset one failed when it was tried last."""
_NEVER = 10_000
"""And of so many one was never made, nor what lies below it."""
_KEYS_AT_ONCE = 10_000
_FAST = ("journal_mode = OFF", "synchronous = OFF", "cache_size = -300000", "temp_store = MEMORY")
_NUMBERS = "WITH RECURSIVE n(p) AS (SELECT 1 UNION ALL SELECT p + 1 FROM n WHERE p < :count)"


@dataclass(frozen=True)
class Filled:
    """What is in it. `made`: partitions of each asset; `failed`: of the first."""

    partitions: int
    made: int
    failed: int


def fill(state: Path, set_name: str, assets: Sequence[str], count: int, *, history: bool) -> Filled:
    """Give a set `count` keys, whole thousands, `batch-00000001` and so on, and the states of a chain of assets over
    it, the first made by hand and the others after it. `history`: with the runs, steps and events that made the first;
    else as if they had been cleared away."""
    with closing(sqlite3.connect(state / "freshet.db", isolation_level=None)) as db:
        for pragma in _FAST:
            db.execute(f"PRAGMA {pragma}").fetchall()
        db.execute("BEGIN")
        indexes = _without_indexes(db, ("asset_state", "events", "runs", "steps"))
        values = _values(db, set_name, assets, count)
        _keys(db, values)
        for position, name in enumerate(assets):
            (asset_id,) = db.execute("SELECT id FROM assets WHERE name = ?", (name,)).fetchone()
            db.execute(_STATES, {**values, "asset": asset_id, "position": position, "name": name})
        if history:
            for statement in _HISTORY:
                db.execute(statement, {**values, "name": assets[0]})
        else:
            runs = values["runs"] * count + count // _FAILED
            db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('runs', ?)", (runs,))
        for statement in indexes:
            db.execute(statement)
        last = values["base"] + values["each"] * count + 3 * (count // _FAILED)
        db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'events'", (last,))
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('automation_seq', ?)", (str(last),))
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL").fetchall()
    with (state / "freshet.db").open("rb") as file:
        os.fsync(file.fileno())
    return Filled(count, count - count // _NEVER, count // _FAILED)


def _without_indexes(db: sqlite3.Connection, tables: Sequence[str]) -> list[str]:
    """Drop the tables' indexes; returns the statements that make them again, which is faster than to keep them."""
    places = ", ".join("?" * len(tables))
    found = db.execute(
        f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ({places})",
        tuple(tables),
    ).fetchall()
    for name, _ in found:
        db.execute(f"DROP INDEX {name}")
    return [sql for _, sql in found]


def _values(db: sqlite3.Connection, set_name: str, assets: Sequence[str], count: int) -> dict[str, int]:
    """What the statements name. `each`: events of one partition, from its first run to the last; `base`: the last
    event before them."""
    (set_id,) = db.execute("SELECT id FROM partition_sets WHERE name = ?", (set_name,)).fetchone()
    (seq,) = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    (first,) = db.execute("SELECT id FROM assets WHERE name = ?", (assets[0],)).fetchone()
    return {
        "set": set_id,
        "first": first,
        "count": count,
        "before": seq,
        "base": seq + -(-count // _KEYS_AT_ONCE),
        "each": 3 if len(assets) == 1 else 2 + 2 * len(assets),
        "runs": min(2, len(assets)),
        "block": _BLOCK,
        "scatter": _SCATTER,
        "failed": _FAILED,
        "never": _NEVER,
        "since": int(time.time()) - count - count // _FAILED,
        "at_once": _KEYS_AT_ONCE,
    }


def _keys(db: sqlite3.Connection, values: dict[str, int]) -> None:
    db.execute(
        f"""
        {_NUMBERS} INSERT INTO partitions (set_id, number, key, added_at)
        SELECT :set, p, printf('batch-%08d', p), :since FROM n
        """,
        values,
    )
    db.execute("UPDATE partition_sets SET next_number = :count + 1 WHERE id = :set", values)
    db.execute(
        f"""
        {_NUMBERS} INSERT INTO events (seq, txn, at, type, set_id, partition, data)
        SELECT :before + 1 + p / :at_once, :before + 1 + p / :at_once, :since, 'partition_added', :set, p,
               json_object('last', min(p + :at_once - 1, :count), 'count', min(:at_once, :count - p + 1))
        FROM n WHERE p % :at_once = 1
        """,
        values,
    )


_ORDER = "((p - 1) / :block * :block + (p - 1) * :scatter % :block)"
"""The place of a partition among those made, from 0 on."""
_AGAIN = ":base + :each * :count + 3 * (p / :failed - 1)"
"""The last event before a partition of the first asset failed."""

# The events of a partition: started, materialized, run_succeeded of the first asset; then in a second run started and
# materialized of each other, and run_succeeded. After all of them those that fail: started, failed, run_failed.
_STATES = f"""
{_NUMBERS}
INSERT INTO asset_state
    (asset_id, partition, materialized_seq, materialized_at, run_id, value, metadata, failed_seq, failed_run)
SELECT :asset, p, iif(made, :base + :each * k + iif(:position, 3 + 2 * :position, 2), NULL),
    iif(made, :since + k + 0.01 * :position + 0.005, NULL), iif(made, run, NULL),
    iif(made, printf('["%s/batch-%08d/%d-1.json","json",1,"cea3878a334b240469d159ff840b6434"]', :name, p, run), NULL),
    iif(made AND :position = 0, '{{"rows":3}}', NULL),
    iif(fails, {_AGAIN} + 2, NULL), iif(fails, :runs * :count + p / :failed, NULL)
FROM (
    SELECT p, {_ORDER} AS k, 1 + :runs * {_ORDER} + (:position > 0) AS run,
        p % :never <> 0 AS made, :position = 0 AND p % :failed = 0 AS fails FROM n
) WHERE made OR fails
"""

_HISTORY = (
    f"""
    {_NUMBERS}
    INSERT INTO runs (id, kind, target, set_id, partition, generation, state, origin, created_at, started_at, ended_at)
    SELECT 1 + :runs * {_ORDER}, 'asset', :name, :set, p, 1, iif(p % :never, 'succeeded', 'failed'), 'manual',
        :since + {_ORDER}, :since + {_ORDER}, :since + {_ORDER} + 0.005 FROM n
    """,
    f"""
    {_NUMBERS}
    INSERT INTO runs (id, kind, target, set_id, partition, generation, state, origin, created_at, started_at, ended_at)
    SELECT :runs * :count + p / :failed, 'asset', :name, :set, p, 1, 'failed', 'manual',
        :since + :count + p / :failed, :since + :count + p / :failed, :since + :count + p / :failed + 0.005
    FROM n WHERE p % :failed = 0
    """,
    """
    INSERT INTO steps (run_id, position, name, asset_id, partition, state, attempt, failures, started_at, ended_at,
        error, metadata, generation)
    SELECT id, 0, target, :first, partition, state, 1, state = 'failed', started_at, ended_at,
        iif(state = 'failed', '{"type":"ValueError","message":"no rows"}', NULL),
        iif(state = 'failed', NULL, '{"rows":3}'), 1
    FROM runs
    """,
    f"""
    {_NUMBERS}
    INSERT INTO events (seq, txn, at, type, asset_id, set_id, partition, run_id, idle, data)
    SELECT :base + :each * {_ORDER} + e.i, :base + :each * {_ORDER} + min(e.i, 2), :since + {_ORDER},
        iif(p % :never OR e.i = 1, e.type, iif(e.i = 2, 'failed', 'run_failed')),
        iif(e.i = 3, NULL, :first), iif(e.i = 3, NULL, :set), iif(e.i = 3, NULL, p), 1 + :runs * {_ORDER}, 1,
        iif(e.i = 3, json_object('kind', 'asset', 'target', :name), NULL)
    FROM n, (SELECT 1 AS i, 'started' AS type UNION ALL SELECT 2, 'materialized' UNION ALL SELECT 3, 'run_succeeded') e
    """,
    f"""
    {_NUMBERS}
    INSERT INTO events (seq, txn, at, type, asset_id, set_id, partition, run_id, idle, data)
    SELECT {_AGAIN} + e.i, {_AGAIN} + min(e.i, 2), :since + :count + p / :failed, e.type,
        iif(e.i = 3, NULL, :first), iif(e.i = 3, NULL, :set), iif(e.i = 3, NULL, p),
        :runs * :count + p / :failed, 1, iif(e.i = 3, json_object('kind', 'asset', 'target', :name), NULL)
    FROM n, (SELECT 1 AS i, 'started' AS type UNION ALL SELECT 2, 'failed' UNION ALL SELECT 3, 'run_failed') e
    WHERE p % :failed = 0
    """,
)
