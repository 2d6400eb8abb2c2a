"""Events as sensors see them: with the keys of partitions, and what is known of their runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from freshet.definitions.listen import RUN_TYPES
from freshet.definitions.outcome import Json
from freshet.store.codec import dump, load, load_optional
from freshet.store.events import last_seq

__all__ = ["HappenedPage", "HappenedRow", "happened"]

_SPAN = 20_000
"""Events that one answer looks through at the most, so that rare ones do not hold a reader for long."""
_MESSAGE_MAX = 4_000
"""Characters of an error's message."""

_Run = tuple[str | None, int, str | None, float | None, dict[str, Any]]

_SELECT = """
SELECT e.seq, e.at, e.type, a.name, s.name, e.partition, p.key, p.deleted_at, e.run_id, e.data,
    coalesce((SELECT r.depth + 1 FROM runs r WHERE r.id = e.run_id),
             (SELECT t.depth FROM ticks t WHERE t.id = e.tick_id), 0)
FROM events e LEFT JOIN assets a ON a.id = e.asset_id LEFT JOIN partition_sets s ON s.id = e.set_id
LEFT JOIN partitions p ON p.set_id = e.set_id AND p.number = e.partition
WHERE e.seq > ?1 AND e.seq <= ?2 AND e.type IN (SELECT value FROM json_each(?3))
AND (?4 IS NULL OR CASE WHEN e.asset_id IS NULL THEN json_extract(e.data, '$.target') ELSE a.name END
     IN (SELECT value FROM json_each(?4)))
ORDER BY e.seq LIMIT ?5
"""


@dataclass(frozen=True, slots=True)
class HappenedRow:
    """An event. `set` and `number`: its partition, or its run's; `key`: None also for a window that was never
    used. `depth`: how many runs led to it, its own among them."""

    seq: int
    at: float
    type: str
    asset: str | None
    set: str | None
    number: int | None
    key: str | None
    live: bool
    run: int | None
    data: Json
    depth: int = 0


@dataclass(frozen=True, slots=True)
class HappenedPage:
    """Some rows, in order; up to `seq` all were looked at, `last` is the newest that there is."""

    rows: tuple[HappenedRow, ...]
    seq: int
    last: int


def happened(
    db: sqlite3.Connection, after: int | None, types: Sequence[str], names: Sequence[str] | None, limit: int
) -> HappenedPage:
    """Events after `after` (None: none, only how far they go) of these types, and of these assets or targets of runs,
    in order and in whole transactions: `limit` is exceeded to end the last one begun."""
    last = last_seq(db)
    if after is None or after >= last:
        return HappenedPage((), last, last)
    end = _end_of_transaction(db, min(after + _SPAN, last), last)
    given = (dump(list(types)), None if names is None else dump(list(names)))
    rows = db.execute(_SELECT, (after, end, *given, limit)).fetchall()
    if len(rows) >= limit:
        end = _end_of_transaction(db, rows[-1][0], last)
        rows += db.execute(_SELECT, (rows[-1][0], end, *given, -1)).fetchall()
    return HappenedPage(_described(db, rows), end, last)


def _end_of_transaction(db: sqlite3.Connection, seq: int, last: int) -> int:
    """The last event of the transaction that `seq` belongs to: the next one's first has its own number as `txn`."""
    row = db.execute("SELECT seq FROM events WHERE seq > ? AND txn = seq ORDER BY seq LIMIT 1", (seq,)).fetchone()
    return last if row is None else row[0] - 1


def _described(db: sqlite3.Connection, rows: Sequence[Any]) -> tuple[HappenedRow, ...]:
    ended = {row[8] for row in rows if row[2] in RUN_TYPES and row[8] is not None}
    failed = {row[8] for row in rows if row[2] in ("run_failed", "failed") and row[8] is not None}
    runs, errors = _runs(db, ended), _errors(db, failed)
    found = list[HappenedRow]()
    for seq, at, type_, asset, set_, number, key, deleted, run, data, depth in rows:
        told: dict[str, Any] | None = load_optional(data)
        if type_ in RUN_TYPES and run in runs:
            set_, number, key, deleted, about = runs[run]
            told = {**(told or {}), **about}
        error = errors.get((run, asset)) if type_ in ("run_failed", "failed") else None
        if error is not None:
            told = {**(told or {}), "error": error}
        partition = number if set_ is not None else None
        found.append(HappenedRow(seq, at, type_, asset, set_, partition, key, deleted is None, run, told, depth))
    return tuple(found)


def _runs(
    db: sqlite3.Connection, ids: Iterable[int]
) -> dict[int, tuple[str | None, int, str | None, float | None, Any]]:
    rows = db.execute(
        """
        SELECT r.id, s.name, r.partition, p.key, p.deleted_at, r.origin, r.tags
        FROM runs r LEFT JOIN partition_sets s ON s.id = r.set_id
        LEFT JOIN partitions p ON p.set_id = r.set_id AND p.number = r.partition
        WHERE r.id IN (SELECT value FROM json_each(?))
        """,
        (dump(list(ids)),),
    )
    return {
        run: (set_, number, key, deleted, {"origin": origin, "tags": load(tags)})
        for run, set_, number, key, deleted, origin, tags in rows
    }


def _errors(db: sqlite3.Connection, ids: Iterable[int]) -> dict[tuple[int, str | None], dict[str, Any]]:
    """The first error of each run (None), and of each asset in it."""
    rows = db.execute(
        """
        SELECT run_id, name, error FROM steps
        WHERE run_id IN (SELECT value FROM json_each(?)) AND state = 'failed' ORDER BY run_id, position
        """,
        (dump(list(ids)),),
    )
    found: dict[tuple[int, str | None], dict[str, Any]] = {}
    for run, name, error in rows:
        said: Any = load_optional(error) or {}
        told = {"type": said.get("type", ""), "message": str(said.get("message", ""))[:_MESSAGE_MAX], "step": name}
        found.setdefault((run, None), told)
        found.setdefault((run, name), told)
    return found
