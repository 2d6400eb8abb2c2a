"""A daemon that kills itself at a named boundary, or writes down which ones it passed.

`python -m tests.crash.child POINT|record REPORT --config FILE`. The production code has no hooks: the functions at the
boundaries are wrapped here. A line in REPORT says what was passed (record), or where it was killed.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.crash.points import Boundary, Point, kind_of, started_by

from freshet.configuration import load_settings
from freshet.engine.answers import EngineAnswers
from freshet.engine.bus import Bus
from freshet.engine.daemon import run_daemon
from freshet.engine.launcher import Launcher
from freshet.executors.base import StepEnd
from freshet.executors.codehost import ProcessCodeHost
from freshet.store import batch, writer
from freshet.store.batch import Outcome, Transaction
from freshet.store.records import Event, StepToRun
from freshet.store.store import Store, StoreOptions

MIGRATION = "migration"


class Watch:
    """Counts passages; at the point it was given the process ends, as if the power had gone."""

    def __init__(self, point: Point | None, report: Path) -> None:
        self._point = point
        self._report = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._counts: Counter[tuple[Boundary, str]] = Counter()
        self._lock = threading.Lock()
        self.batch: Sequence[str] = (MIGRATION,)
        self.by_seq: dict[int, str] = {}
        self.by_step: dict[tuple[int, int, int], str] = {}

    def passes(self, boundary: Boundary, kinds: Sequence[str]) -> None:
        """These transactions, together, are at this boundary."""
        with self._lock:
            for kind in kinds:
                self._counts[boundary, kind] += 1
                here = Point(boundary, kind, self._counts[boundary, kind])
                if self._point is None:
                    os.write(self._report, f"{here}\n".encode())
                elif here == self._point:
                    os.write(self._report, f"{here}\n".encode())
                    os.kill(os.getpid(), signal.SIGKILL)

    def begun(self, kinds: Sequence[str]) -> None:
        """The batch that the writer's thread works on from now on."""
        self.batch = kinds

    def ended(self, kinds: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """What the batch published and started will be known by its kind."""
        for kind, (ok, result) in zip(kinds, outcomes, strict=False):
            if not ok:
                continue
            for events in _events_of(result):
                self.by_seq.update((event.seq, kind) for event in events)
            for step in started_by(result):
                self.by_step[step.run_id, step.position, step.attempt] = kind


def _events_of(result: Any) -> list[tuple[Event, ...]]:
    parts: list[Any] = [result, *(result if isinstance(result, tuple) else ())]
    found: list[Any] = [*parts, *(getattr(part, "events", ()) for part in parts)]
    return [one for one in found if isinstance(one, tuple) and one and isinstance(one[0], Event)]


def wrap_store(watch: Watch) -> None:
    """BEGIN and COMMIT, on the connection's thread."""
    run_batch, open_store = batch.run_batch, Store.open

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE":
                watch.passes("before BEGIN", watch.batch)
            elif sql == "COMMIT":
                watch.passes("before COMMIT", watch.batch)
                done = super().execute(sql, parameters)
                watch.passes("after COMMIT", watch.batch)
                return done
            return super().execute(sql, parameters)

    def watched_batch(
        db: sqlite3.Connection, transactions: Sequence[Transaction], number: int, **how: Any
    ) -> list[Outcome]:
        kinds = [kind_of(transaction) for transaction in transactions]
        watch.begun(kinds)
        outcomes = run_batch(db, transactions, number, **how)
        watch.ended(kinds, outcomes)
        return outcomes

    async def watched_open(path: Path, *, now: float) -> Store:
        return await open_store(path, now=now, options=StoreOptions(factory=Connection))

    _put(writer, "run_batch", watched_batch)
    _put(Store, "open", watched_open)


def wrap_engine(watch: Watch) -> None:
    """What follows a commit, on the event loop's thread."""
    publish, run = Bus.publish, ProcessCodeHost.run
    received, ended = EngineAnswers.step_received, Launcher.ended

    def watched_publish(self: Bus, events: tuple[Event, ...]) -> None:
        if events:
            watch.passes("before publish", [watch.by_seq[events[0].seq]])
        publish(self, events)

    def watched_run(self: ProcessCodeHost, step: StepToRun) -> None:
        watch.passes("before launch", [watch.by_step[step.run_id, step.position, step.attempt]])
        run(self, step)

    def watched_received(self: EngineAnswers, run_id: int, position: int, attempt: int, pid: int) -> None:
        watch.passes("after receipt", [watch.by_step[run_id, position, attempt]])
        received(self, run_id, position, attempt, pid)

    def watched_ended(self: Launcher, end: StepEnd) -> None:
        watch.passes("before result", [watch.by_step[end.run_id, end.position, end.attempt]])
        ended(self, end)

    _put(Bus, "publish", watched_publish)
    _put(ProcessCodeHost, "run", watched_run)
    _put(EngineAnswers, "step_received", watched_received)
    _put(Launcher, "ended", watched_ended)


def _put(owner: type | ModuleType, name: str, function: Callable[..., Any]) -> None:
    assert callable(getattr(owner, name)), f"{owner.__name__}.{name} is gone: the crash tests have lost a boundary"
    setattr(owner, name, function)


def main() -> int:
    """Install the watch, then run as `freshet run` does."""
    wanted, report, _, config = sys.argv[1:]
    watch = Watch(None if wanted == "record" else Point.parse(wanted), Path(report))
    wrap_store(watch)
    wrap_engine(watch)
    return run_daemon(load_settings(Path(config)))


if __name__ == "__main__":
    sys.exit(main())
