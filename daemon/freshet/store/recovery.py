"""Start-up: nothing stays 'started' for ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from freshet.store.codec import dump
from freshet.store.ending import end_run, release
from freshet.store.events import EventLog
from freshet.store.finishing import INTERRUPTION_BUDGET, give_up
from freshet.store.records import Recovery
from freshet.store.steps import cancel_called

__all__ = ["recover"]

_CUT_OFF = """
SELECT r.id FROM runs r WHERE r.state IN ('queued', 'started', 'interrupted')
AND EXISTS (SELECT 1 FROM steps s WHERE s.run_id = r.id AND s.state IN ('started', 'interrupted')
            AND s.run_id || '.' || s.position || '.' || s.attempt NOT IN (SELECT value FROM json_each(:kept)))
"""
_GOING_ON = """
SELECT s.run_id, s.position FROM json_each(:kept) k
JOIN steps s ON s.run_id || '.' || s.position || '.' || s.attempt = k.value
JOIN runs r ON r.id = s.run_id WHERE s.state = 'started' AND r.state = 'started'
"""


def recover(
    db: sqlite3.Connection,
    now: float,
    budget: int = INTERRUPTION_BUDGET,
    *,
    going_on: Sequence[tuple[int, int, int]] = (),
) -> Recovery:
    """Take in hand what the end of the daemon, the host or the machine cut off.

    Steps under way are queued again and their runs counted as interrupted, up to `budget` times; then the run fails,
    saying so. Back-offs go on. What was being canceled is canceled. Only valid while no worker is left, other than
    those of `going_on` (run, position, attempt): of these, `kept` are as they were.
    """
    log = EventLog(db, now)
    kept = {"kept": dump([f"{run}.{position}.{attempt}" for run, position, attempt in going_on])}
    _finish_canceling(db, log, now)
    counted = db.execute(
        f"UPDATE runs SET interruptions = interruptions + 1 WHERE id IN ({_CUT_OFF}) RETURNING id, interruptions",  # noqa: S608
        kept,
    ).fetchall()
    failed: list[int] = []
    for run_id, interruptions in sorted(counted):
        log.add("run_interrupted", run_id=run_id, data={"interruptions": interruptions})
        if interruptions > budget:
            _give_up(db, log, run_id, interruptions, now)
            failed.append(run_id)
    if failed:
        _finish_canceling(db, log, now)  # what these had asked for
    requeued = db.execute(
        f"""
        UPDATE steps SET state = 'queued', started_at = NULL
        WHERE state IN ('started', 'interrupted') AND run_id IN ({_CUT_OFF})
        AND run_id || '.' || position || '.' || attempt NOT IN (SELECT value FROM json_each(:kept))
        """,  # noqa: S608  # a constant
        kept,
    ).rowcount
    db.execute(
        """
        UPDATE runs SET state = 'queued', started_at = NULL WHERE state IN ('started', 'interrupted')
        AND NOT EXISTS (SELECT 1 FROM steps s WHERE s.run_id = runs.id AND s.state <> 'queued')
        """
    )
    left = [(run, position) for run, position in db.execute(_GOING_ON, kept)]
    return Recovery(requeued, tuple(failed), log.write(), tuple(left))


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
    for (position,) in started:
        cancel_called(db, log, run_id, position, now)
    end_run(db, log, run_id, now)
