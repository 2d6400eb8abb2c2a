"""Start-up: nothing stays 'started' for ever."""

from __future__ import annotations

import sqlite3

from freshet.store.ending import end_run, release
from freshet.store.events import EventLog
from freshet.store.finishing import INTERRUPTION_BUDGET, give_up
from freshet.store.records import Recovery

__all__ = ["recover"]

_CUT_OFF = """
SELECT r.id FROM runs r WHERE r.state IN ('queued', 'started', 'interrupted')
AND EXISTS (SELECT 1 FROM steps s WHERE s.run_id = r.id AND s.state IN ('started', 'interrupted'))
"""


def recover(db: sqlite3.Connection, now: float, budget: int = INTERRUPTION_BUDGET) -> Recovery:
    """Take in hand what the end of the daemon, the host or the machine cut off.

    Steps under way are queued again and their runs counted as interrupted, up to `budget` times; then the run fails,
    saying so. Back-offs go on. What was being canceled is canceled. Only valid while no worker is left.
    """
    log = EventLog(db, now)
    _finish_canceling(db, log, now)
    counted = db.execute(
        f"UPDATE runs SET interruptions = interruptions + 1 WHERE id IN ({_CUT_OFF}) RETURNING id, interruptions"  # noqa: S608
    ).fetchall()
    failed: list[int] = []
    for run_id, interruptions in sorted(counted):
        log.add("run_interrupted", run_id=run_id, data={"interruptions": interruptions})
        if interruptions > budget:
            _give_up(db, log, run_id, interruptions, now)
            failed.append(run_id)
    requeued = db.execute(
        f"""
        UPDATE steps SET state = 'queued', started_at = NULL
        WHERE state IN ('started', 'interrupted') AND run_id IN ({_CUT_OFF})
        """  # noqa: S608  # a constant
    ).rowcount
    db.execute(
        """
        UPDATE runs SET state = 'queued', started_at = NULL WHERE state IN ('started', 'interrupted')
        AND NOT EXISTS (SELECT 1 FROM steps s WHERE s.run_id = runs.id AND s.state <> 'queued')
        """
    )
    return Recovery(requeued, tuple(failed), log.write())


def _finish_canceling(db: sqlite3.Connection, log: EventLog, now: float) -> None:
    rows = db.execute(
        """
        SELECT r.id, s.position FROM runs r JOIN steps s ON s.run_id = r.id
        WHERE r.state IN ('queued', 'started', 'canceling', 'interrupted') AND r.state = 'canceling'
        AND s.state IN ('queued', 'started', 'retrying', 'interrupted')
        """
    ).fetchall()
    active: dict[int, list[int]] = {}
    for run_id, position in rows:
        active.setdefault(run_id, []).append(position)
    for run_id, positions in active.items():
        release(db, log, run_id, positions, "canceled", now)
        end_run(db, log, run_id, now)


def _give_up(db: sqlite3.Connection, log: EventLog, run_id: int, interruptions: int, now: float) -> None:
    started = db.execute(
        "SELECT position FROM steps WHERE run_id = ? AND state IN ('started', 'interrupted')", (run_id,)
    ).fetchall()
    give_up(db, log, run_id, [position for (position,) in started], interruptions, now)
    end_run(db, log, run_id, now)
