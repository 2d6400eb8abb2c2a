"""Schedules: how late a single one is, and ten thousand that are due at one instant."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.lab import Lab
from tests.bench.processes import cpu_seconds
from tests.bench.waiting import until

__all__ = ["FIGURE"]

_LATE = Bar(median=3, p99=15)
_TOGETHER = Bar(median=0.5)
_MANY = 10_000
_EVERY = 0.5
_MINUTE = 60.0

_SINGLE = f"""\
import time
from pathlib import Path

from freshet import Schedule, job


@job
def note() -> None:
    with Path("late.txt").open("a") as file:
        file.write(f"{{time.time() % {_EVERY}}}\\n")


often = Schedule("often", every="{_EVERY * 1000:g}ms", target=note)
"""

_CROWD = f"""\
from freshet import Schedule, job


@job
def note() -> None: ...


# One run of each at a time: what a turn leaves in the queue is not added to by the next.
crowd = [
    Schedule(f"s{{number}}", cron="0 * * * * *", target=note, overlap="skip", misfire="skip")
    for number in range({_MANY})
]
"""


def _measure(bench: Bench) -> Iterator[Row]:
    with bench.lab("schedules-single", {"often.py": _SINGLE}) as lab:
        late = _lateness(lab, bench.pick(300, 20))
    yield Row.of("a schedule: instant -> its code runs", "ms", late, _LATE, note="as its worker reads the clock")
    seconds, cpu = list[float](), list[float]()
    for _ in range(bench.pick(3, 1)):
        with bench.lab("schedules-crowd", {"crowd.py": _CROWD}) as lab:
            whole, spent = _crowd(lab)
            seconds.append(whole)
            cpu.append(spent)
    what = f"{_MANY:,} schedules at one instant -> all durable"
    yield Row.of(what, "s", seconds, _TOGETHER, note="as a reader of the database sees it; 2 workers run meanwhile")
    yield Row.of("  CPU of all processes for it", "s", cpu, note="what other work on the machine does not change")


def _lateness(lab: Lab, count: int) -> list[float]:
    file = lab.root / "late.txt"

    def lines() -> list[str]:
        return file.read_text().splitlines() if file.exists() else []

    until(lambda: len(lines()) > count, f"{count} instants", timeout=30 + 2 * count * _EVERY, every=0.25)
    return [float(line) * 1000 for line in lines()[1 : count + 1]]  # the first comes while the daemon still starts


def _crowd(lab: Lab) -> tuple[float, float]:
    """Seconds from the instant to the last commit, and of CPU."""
    with closing(sqlite3.connect(f"file:{lab.root / 'state' / 'freshet.db'}?mode=ro", uri=True)) as db:
        if time.time() % _MINUTE > _MINUTE - 3:
            time.sleep(4)  # the daemon is still busy with its start
        instant = (time.time() // _MINUTE + 1) * _MINUTE
        time.sleep(max(0.0, instant - time.time() - 0.05))
        before = cpu_seconds(lab.pid)

        def decided() -> bool:
            found = db.execute("SELECT total(ticks) FROM tickers WHERE kind = 'schedule'").fetchone()
            return bool(found[0] >= 2 * _MANY)  # the first of each is that it came into force

        until(decided, f"{_MANY} schedules to be decided", timeout=30, every=0.01)
        took = time.time() - instant
        spent = cpu_seconds(lab.pid) - before
        (fired,) = db.execute("SELECT count(*) FROM schedule_ticks WHERE nominal = ?", (instant,)).fetchone()
        (runs,) = db.execute("SELECT count(*) FROM runs").fetchone()
        assert fired == runs == _MANY, f"{fired} fired, {runs} runs"
        return took, spent


FIGURE = Figure("schedules", "how late a schedule is, and 10,000 due at one instant", _measure)
