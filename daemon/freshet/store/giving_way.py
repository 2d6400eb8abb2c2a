"""Runs that give way to others of the same target and partition, whoever asked for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from freshet.store.ending import ACTIVE
from freshet.store.events import EventLog
from freshet.store.records import RunToAdmit
from freshet.store.steps import cancel_into

__all__ = ["GivingWay"]

_RUNS = "('queued', 'started', 'canceling', 'interrupted')"
# Who makes, or is to make, this partition of an asset; and of which run it is the target.
_OF_ASSET = f"""
SELECT r.id, r.state, r.target = a.name FROM assets a CROSS JOIN steps s ON s.asset_id = a.id AND s.partition = ?2
CROSS JOIN runs r ON r.id = s.run_id
WHERE a.name = ?1 AND s.state IN {ACTIVE} AND r.state IN {_RUNS} ORDER BY r.id
"""  # noqa: S608  # constants
_OF_JOB = f"""
SELECT r.id, r.state, 1 FROM runs r INDEXED BY runs_alone WHERE r.target = ?1 AND r.kind = 'job' AND ?2 = 0
AND r.overlap <> 'allow' AND r.state IN {_RUNS} ORDER BY r.id
"""  # noqa: S608  # constants


class GivingWay:
    """Applies the `policy` of runs that are admitted together, in order, each with the number of its partition."""

    def __init__(
        self, db: sqlite3.Connection, log: EventLog, now: float, runs: Sequence[tuple[RunToAdmit, int]]
    ) -> None:
        self._db = db
        self._log = log
        self._now = now
        self._runs = runs
        self._first: dict[tuple[str, str, int], int] = {}
        self._last: dict[tuple[str, str, int], int] = {}
        for at, (run, number) in enumerate(runs):
            if run.policy != "allow":
                self._first.setdefault((run.kind, run.target, number), at)
                self._last[run.kind, run.target, number] = at

    def to(self, at: int) -> int | None:
        """The run that this one comes to nothing for (0: another that is asked for with it); None: it is admitted."""
        run, number = self._runs[at]
        group = run.kind, run.target, number
        if run.policy != "skip":
            return None if self._last[group] == at else 0
        if self._first[group] != at:
            return 0
        return max((one for one, _, _ in self._others(run, number)), default=None)

    def make_way(self, at: int) -> tuple[int, ...]:
        """Cancel the runs that give way to this one, which is admitted; returns those whose end is to come."""
        run, number = self._runs[at]
        if run.policy not in ("latest", "cancel"):
            return ()
        states = ("queued", "interrupted") if run.policy == "latest" else ("queued", "interrupted", "started")
        others = [one for one, state, same in self._others(run, number) if same and state in states]
        for one in others:
            cancel_into(self._db, self._log, one, self._now)
        return tuple(others)

    def _others(self, run: RunToAdmit, number: int) -> list[tuple[int, str, bool]]:
        found = _OF_JOB if run.kind == "job" else _OF_ASSET
        return self._db.execute(found, (run.target, number)).fetchall()
