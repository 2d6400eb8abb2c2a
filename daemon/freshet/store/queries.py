"""Reads for the API, on read connections."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from freshet.definitions.deadlines import FreshState
from freshet.store.codec import dump, load, load_optional
from freshet.store.ending import ACTIVE
from freshet.store.freshness import asset_freshness
from freshet.store.partition_freshness import not_fresh
from freshet.store.partitions import set_id_of
from freshet.store.records import RunRow, RunState, StepRow
from freshet.store.sets import LIVE_STATE
from freshet.store.sub_runs import sub_runs
from freshet.store.tickers import load_tickers
from freshet.store.views import AssetSummary, Failures, PartitionRow, PartitionState, TickRow, Versions

__all__ = [
    "asset_summaries",
    "failures",
    "load_tickers",
    "numbered_partitions",
    "partition_rows",
    "run",
    "run_key_holders",
    "runs",
    "ticks",
]

_LAST_NUMBER = 2**62
_RUN = """
SELECT r.id, r.kind, r.target, ps.name, r.partition, p.key, r.state, r.priority, r.params, r.tags, r.run_key, r.origin,
       r.version, r.interruptions, r.created_at, r.started_at, r.ended_at, r.error, r.depth, r.condition,
       c.parent, EXISTS (SELECT 1 FROM sub_runs below WHERE below.parent = r.id AND below.waited)
FROM runs r LEFT JOIN sub_runs c ON c.run_id = r.id LEFT JOIN partition_sets ps ON ps.id = r.set_id
LEFT JOIN partitions p ON p.set_id = r.set_id AND p.number = r.partition
"""


def runs(
    db: sqlite3.Connection,
    *,
    state: RunState | None = None,
    target: str | None = None,
    step: str | None = None,
    limit: int = 50,
    before: int | None = None,
) -> tuple[RunRow, ...]:
    """Runs, newest first; `step`: only those that have a step of this name; `before`: only those with a smaller id."""
    filters = [
        ("r.id < ?", before),
        ("r.state = ?", state),
        ("r.target = ?", target),
        ("EXISTS (SELECT 1 FROM steps s WHERE s.run_id = r.id AND s.name = ?)", step),
    ]
    used = [(sql, value) for sql, value in filters if value is not None]
    where = f"WHERE {' AND '.join(sql for sql, _ in used)}" if used else ""
    rows = db.execute(
        f"{_RUN} {where} ORDER BY r.id DESC LIMIT ?",
        (*(value for _, value in used), limit),
    ).fetchall()
    return _with_steps(db, rows)


def run(db: sqlite3.Connection, run_id: int) -> RunRow | None:
    """One run, with the runs that its steps asked for; None if it never was."""
    found = _with_steps(db, db.execute(f"{_RUN} WHERE r.id = ?", (run_id,)).fetchall())
    return replace(found[0], sub_runs=sub_runs(db, run_id)) if found else None


def run_key_holders(
    db: sqlite3.Connection, keys: Sequence[tuple[str, str | None, str]]
) -> dict[tuple[str, str | None, str], int]:
    """Of run keys, each with its target and its partition's key: those that are taken, with the runs that hold them."""
    found: dict[tuple[str, str | None, str], int] = {}
    for name in keys:
        row = db.execute(
            "SELECT run_id FROM run_keys WHERE target = ? AND partition = ? AND run_key = ?",
            (name[0], name[1] or "", name[2]),
        ).fetchone()
        if row is not None:
            found[name] = row[0]
    return found


def _with_steps(db: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> tuple[RunRow, ...]:
    steps: dict[int, list[StepRow]] = {}
    for row in db.execute(
        """
        SELECT s.run_id, s.position, s.name, s.state, s.attempt, s.failures, s.not_before, s.started_at, s.ended_at,
               s.error, s.metadata, s.cached
        FROM json_each(?) wanted CROSS JOIN steps s ON s.run_id = wanted.value ORDER BY s.run_id, s.position
        """,
        (dump([row[0] for row in rows]),),
    ):
        told: list[Any] = [*row[:9], load_optional(row[9]), load_optional(row[10]), row[11]]
        steps.setdefault(row[0], []).append(StepRow(*told))
    return tuple(_run(row, tuple(steps.get(row[0], ()))) for row in rows)


def _run(row: Sequence[Any], steps: tuple[StepRow, ...]) -> RunRow:
    values: list[Any] = [
        *row[:8],
        load(row[8]),
        load(row[9]),
        *row[10:17],
        load_optional(row[17]),
        steps,
        *row[18:21],
        bool(row[21]),
    ]
    return RunRow(*values)


def ticks(
    db: sqlite3.Connection, *, sensor: str | None = None, limit: int = 50, before: int | None = None
) -> tuple[TickRow, ...]:
    """Ticks with effects or errors, newest first; `before`: only those with a smaller id."""
    used = [(sql, value) for sql, value in (("t.name = ?", sensor), ("k.id < ?", before)) if value is not None]
    where = "".join(f" AND {sql}" for sql, _ in used)
    rows = db.execute(
        f"""
        SELECT k.id, t.name, k.status, k.started_at, k.ended_at, k.cursor_before, k.cursor, k.skip, k.error, k.runs,
               k.partitions_added, k.ledger_added, k.dropped
        FROM ticks k JOIN tickers t ON t.id = k.ticker_id
        WHERE t.kind = 'sensor'{where} ORDER BY k.id DESC LIMIT ?
        """,  # noqa: S608  # constants; the values are bound
        (*(value for _, value in used), limit),
    )
    return tuple(map(_tick, rows))


def _tick(row: Sequence[Any]) -> TickRow:
    head: list[Any] = [*row[:5], *map(load_optional, row[5:7]), row[7], load_optional(row[8])]
    values: list[Any] = [*head, *row[9:12], load_optional(row[12])]
    return TickRow(*values)


def partition_rows(
    db: sqlite3.Connection,
    set: str,
    *,
    limit: int = 100,
    after: int = 0,
    assets: Iterable[str] = (),
    deleted: bool = False,
    keys: Callable[[int, int], Iterable[tuple[int, str]]] | None = None,
) -> tuple[PartitionRow, ...]:
    """Partitions of a set in order of their numbers, from beyond `after`, with their states for `assets`;
    `deleted`: those that were deleted, too. `keys`: of a set in time, the numbers and keys from one number to another,
    since most of its windows were never used; without it only used ones are found. Raises `UnknownName`."""
    set_id = set_id_of(db, set)
    kind, first, last = db.execute("SELECT kind, first, last FROM partition_sets WHERE id = ?", (set_id,)).fetchone()
    low, high = (max(after + 1, first or 1), last or 0) if kind == "time" else (after + 1, _LAST_NUMBER)
    if kind == "time" and keys is not None:
        high = min(high, low + limit - 1)
    rows: Sequence[tuple[Any, ...]] = db.execute(
        """
        SELECT number, key, metadata, added_at, deleted_at FROM partitions
        WHERE set_id = ? AND number BETWEEN ? AND ? AND (? OR deleted_at IS NULL) ORDER BY number LIMIT ?
        """,
        (set_id, low, high, deleted, limit),
    ).fetchall()
    if kind == "time" and keys is not None:
        used = {row[0]: row for row in rows}
        rows = [used.get(number, (number, key, "{}", None, None)) for number, key in keys(low, high)]
    return _partition_rows(db, rows, tuple(assets))


def numbered_partitions(
    db: sqlite3.Connection,
    set: str,
    numbers: Sequence[int],
    *,
    assets: Iterable[str] = (),
    keys: Callable[[int, int], Iterable[tuple[int, str]]] | None = None,
) -> tuple[PartitionRow, ...]:
    """The partitions of a set that have these numbers and are not deleted, in that order, as `partition_rows` has them.
    Raises `UnknownName`."""
    found = db.execute(
        """
        SELECT p.number, p.key, p.metadata, p.added_at, p.deleted_at FROM json_each(?) wanted
        CROSS JOIN partitions p ON p.set_id = ? AND p.number = wanted.value WHERE p.deleted_at IS NULL
        """,
        (dump(list(numbers)), set_id_of(db, set)),
    )
    used: dict[int, tuple[Any, ...]] = {row[0]: row for row in found}
    if keys is None:
        rows = [used[number] for number in numbers if number in used]
    else:
        rows = [used.get(number, (number, key, "{}", None, None)) for one in numbers for number, key in keys(one, one)]
    return _partition_rows(db, rows, tuple(assets))


def _partition_rows(
    db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], assets: tuple[str, ...]
) -> tuple[PartitionRow, ...]:
    states, versions = _states(db, assets, [row[0] for row in rows])
    return tuple(
        PartitionRow(
            number, key, load(metadata), added_at, deleted_at,
            {name: states.get((name, number), "missing") for name in assets},
            {name: versions[name, number] for name in assets if (name, number) in versions},
        )
        for number, key, metadata, added_at, deleted_at in rows
    )  # fmt: skip


def _states(
    db: sqlite3.Connection, assets: Sequence[str], numbers: Sequence[int]
) -> tuple[dict[tuple[str, int], PartitionState], dict[tuple[str, int], Versions]]:
    found: dict[tuple[str, int], PartitionState] = {}
    versions: dict[tuple[str, int], Versions] = {}
    asked = (dump(list(assets)), dump(list(numbers)))
    for name, number, failed, made, data, code in db.execute(
        """
        SELECT a.name, s.partition, s.failed_seq IS NOT NULL, s.materialized_seq IS NOT NULL, s.data_version,
            s.code_version FROM json_each(?1) one
        CROSS JOIN assets a ON a.name = one.value CROSS JOIN json_each(?2) number
        CROSS JOIN asset_state s ON s.asset_id = a.id AND s.partition = number.value
        """,
        asked,
    ):
        found[name, number] = "failed" if failed else "materialized"
        if made:
            versions[name, number] = Versions(data, code)
    for name, number in db.execute(
        f"""
        SELECT a.name, s.partition FROM json_each(?1) one
        CROSS JOIN assets a ON a.name = one.value CROSS JOIN json_each(?2) number
        CROSS JOIN steps s ON s.asset_id = a.id AND s.partition = number.value AND s.state IN {ACTIVE}
        """,  # noqa: S608  # a constant
        asked,
    ):
        found[name, number] = "in_progress"
    return found, versions


def failures(db: sqlite3.Connection, *, since: float) -> Failures:
    """What has failed for good: partitions, as they stand, and runs that ended after `since`."""
    partitions: dict[str, int] = dict(
        db.execute(
            f"""
            SELECT a.name, count(*) FROM asset_state s INDEXED BY asset_state_failed {LIVE_STATE}
                AND s.failed_seq IS NOT NULL GROUP BY a.name ORDER BY a.name
            """  # noqa: S608  # a constant
        )
    )
    runs: int = db.execute("SELECT count(*) FROM runs WHERE state = 'failed' AND ended_at > ?", (since,)).fetchone()[0]
    return Failures(partitions, runs)


def asset_summaries(db: sqlite3.Connection) -> tuple[AssetSummary, ...]:
    """Every asset that ever was declared, by name, with the partition that was made last: a report may be of one that
    was made long before others. Looks at no partitions besides, however many there are."""
    freshness = {row.asset: row for row in asset_freshness(db)}
    counts, none = not_fresh(db), dict[FreshState, int]()
    rows = db.execute(
        """
        SELECT a.name, ps.name, s.materialized_at, s.run_id, s.metadata, s.data_version, s.code_version
        FROM assets a LEFT JOIN partition_sets ps ON ps.id = a.set_id
        LEFT JOIN asset_state s ON s.asset_id = a.id AND s.partition =
            (SELECT m.partition FROM asset_state m INDEXED BY asset_state_made WHERE m.asset_id = a.id
             AND m.materialized_at IS NOT NULL ORDER BY m.materialized_at DESC, m.materialized_seq DESC LIMIT 1)
        ORDER BY a.name
        """
    )
    return tuple(
        AssetSummary(
            name,
            set_name,
            at,
            run_id,
            load_optional(metadata),
            freshness.get(name),
            Versions(data, code),
            counts.get(name, none).get("warn", 0),
            counts.get(name, none).get("lapsed", 0),
        )
        for name, set_name, at, run_id, metadata, data, code in rows
    )
