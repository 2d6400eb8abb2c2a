"""Ticks of schedules: many of them in one transaction, because many are due at one instant."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from freshet.store.admission import Admitting, admit_into
from freshet.store.codec import dump
from freshet.store.events import EventLog
from freshet.store.records.runs import InputNeed
from freshet.store.records.schedules import ScheduleCommit, ScheduleResult, ScheduleTickRow

__all__ = ["commit_schedules", "schedule_ticks"]

_TICK = """
INSERT INTO schedule_ticks (ticker_id, version, nominal, until, count, status, reason, tick_id, decided_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_REMEMBER = """
UPDATE tickers SET cursor = ?, last_tick = ?, last_tick_at = ?, last_ok_at = ?, ticks = ticks + 1, failures = 0,
    retry_at = NULL WHERE id = ?
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
    valid = [commit for commit in commits if revisions.get(commit.ticker) == commit.revision]
    refused = tuple(commit.ticker for commit in commits if revisions.get(commit.ticker) != commit.revision)
    db.executemany(_TICK, [row for commit in valid for row in _rows(commit, now)])
    db.executemany(_REMEMBER, [(dump(one.cursor), one.tick_id, now, now, one.ticker) for one in valid])
    db.executemany("UPDATE tickers SET refused = refused + 1 WHERE id = ?", [(ticker,) for ticker in refused])
    log = EventLog(db, now)
    runs = tuple(run for commit in valid for run in commit.runs)
    admitted, dropped = admit_into(db, log, runs, Admitting(start, needs, now, version))
    return ScheduleResult(refused, runs, admitted, dropped, log.write())


def _rows(commit: ScheduleCommit, now: float) -> list[tuple[object, ...]]:
    who, when = (commit.ticker, commit.version), (commit.tick_id, now)
    fired = [(*who, nominal, nominal, 1, "fired", None, *when) for nominal in commit.fired]
    skipped = [(*who, one.first, one.last, one.count, "skipped", one.reason, *when) for one in commit.skipped]
    return [*fired, *skipped]


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
