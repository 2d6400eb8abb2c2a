"""Ticks of schedules: many of them in one transaction, because many are due at one instant."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from freshet.store.admission import Admitting, admit_into
from freshet.store.alike import insert_alike
from freshet.store.codec import dump
from freshet.store.events import EventLog
from freshet.store.overlap import settle_overlaps
from freshet.store.records.runs import InputNeed
from freshet.store.records.schedules import (
    LastTicks,
    ScheduleCommit,
    ScheduleResult,
    ScheduleTickRow,
    SkippedInstants,
)
from freshet.store.steps import cancel_into

__all__ = ["commit_schedules", "last_ticks", "schedule_ticks"]

_TICK = """INSERT INTO schedule_ticks
(ticker_id, version, nominal, until, count, status, reason, tick_id, decided_at)"""
_REMEMBER = """
UPDATE tickers SET cursor = known.value ->> '$[1]', last_tick = known.value ->> '$[2]', last_tick_at = ?2,
    last_ok_at = ?2, ticks = ticks + 1, failures = 0, retry_at = NULL
FROM json_each(?1) known WHERE tickers.id = known.value ->> '$[0]'
"""


def commit_schedules(
    db: sqlite3.Connection,
    commits: Sequence[ScheduleCommit],
    *,
    start: int,
    needs: Mapping[str, Sequence[InputNeed]],
    now: float,
    version: str,
) -> ScheduleResult:
    """Commit what schedules decided: ticks, cursors and runs of those that nobody changed meanwhile.

    An instant of a schedule's version is decided once: a second decision is an `IntegrityError`, a bug of ours.
    """
    revisions = dict(
        db.execute(
            "SELECT id, revision FROM tickers WHERE id IN (SELECT value FROM json_each(?))",
            (dump([commit.ticker for commit in commits]),),
        )
    )
    current = [revisions.get(commit.ticker) == commit.revision for commit in commits]
    refused = tuple(commit.ticker for commit, valid in zip(commits, current, strict=True) if not valid)
    settled = settle_overlaps(db, [commit for commit, valid in zip(commits, current, strict=True) if valid])
    valid = settled.commits
    insert_alike(db, _TICK, "(?, ?, ?, ?, ?, ?, ?, ?, ?)", _rows(valid, now))
    cursors = {id(one.cursor): one.cursor for one in valid}  # those that are alike share one
    texts = {known: dump(cursor) for known, cursor in cursors.items()}
    db.execute(_REMEMBER, (dump([(one.ticker, texts[id(one.cursor)], one.tick_id) for one in valid]), now))
    if refused:
        db.executemany("UPDATE tickers SET refused = refused + 1 WHERE id = ?", [(ticker,) for ticker in refused])
    log = EventLog(db, now)
    for run_id in settled.cancel:
        cancel_into(db, log, run_id, now)
    runs = tuple(run for commit in valid for asked in commit.runs for run in asked)
    admitted, dropped = admit_into(db, log, runs, Admitting(start, needs, now, version))
    return ScheduleResult(refused, runs, admitted, dropped, log.write(), settled.overlapped, settled.cancel)


def _rows(commits: Sequence[ScheduleCommit], now: float) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        (one.ticker, one.version, nominal, nominal, 1, "fired", None, one.tick_id, now)
        for one in commits
        for nominal in one.fired
    ]
    rows += [
        (one.ticker, one.version, left.first, left.last, left.count, "skipped", left.reason, one.tick_id, now)
        for one in commits
        for left in one.skipped
    ]
    return rows


def last_ticks(db: sqlite3.Connection) -> dict[str, LastTicks]:
    """Of each schedule, when it fired and what it skipped last."""
    fired: dict[str, float | None] = dict(
        db.execute(
            """
            SELECT t.name, (SELECT s.nominal FROM schedule_ticks s WHERE s.ticker_id = t.id
                AND s.version = t.cursor ->> '$.version' AND s.status = 'fired' ORDER BY s.nominal DESC LIMIT 1)
            FROM tickers t WHERE t.kind = 'schedule'
            """
        )
    )
    skipped = {
        name: SkippedInstants(*rest)
        for name, *rest in db.execute(
            """
            SELECT t.name, s.nominal, s.until, s.count, s.reason FROM tickers t JOIN schedule_ticks s
            ON s.ticker_id = t.id AND (s.version, s.nominal) = (
                SELECT version, nominal FROM schedule_ticks INDEXED BY schedule_ticks_skipped
                WHERE ticker_id = t.id AND status = 'skipped' ORDER BY nominal DESC LIMIT 1)
            WHERE t.kind = 'schedule'
            """
        )
    }
    return {name: LastTicks(at, skipped.get(name)) for name, at in fired.items()}


def schedule_ticks(db: sqlite3.Connection, name: str, limit: int) -> tuple[ScheduleTickRow, ...]:
    """The last decided instants of a schedule, latest first."""
    rows = db.execute(
        """
        SELECT s.nominal, s.until, s.count, s.status, s.reason, s.tick_id, s.decided_at, s.version
        FROM schedule_ticks s JOIN tickers t ON t.id = s.ticker_id
        WHERE t.kind = 'schedule' AND t.name = ? ORDER BY s.nominal DESC LIMIT ?
        """,
        (name, limit),
    )
    return tuple(ScheduleTickRow(*row) for row in rows)
