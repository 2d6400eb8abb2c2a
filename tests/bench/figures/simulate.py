"""`freshet simulate` over a year: the shipped plugins, and an hourly and a daily schedule on partitions in time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.figures.shipped import shipped_plugins
from tests.bench.machine import wait_for_calm

__all__ = ["FIGURE"]

_BAR = Bar(median=10)
_HOURS, _DAYS = 365 * 24, 365
_TICKS = {"every_morning": _DAYS, "hourly": _HOURS, "nightly": _DAYS}
_SALES = {"sales": _DAYS, "sales.not_negative": _DAYS}
_RUNS = {"visits": _HOURS - 1, "takings": _DAYS - 1, "total": _DAYS - 1, **_SALES, "flatline": 1, "pulse": 1}
"""Of steps. At the first instant no window has closed: there is nothing to make. What lapses is made once by its
condition."""

_PLUGIN = """\
from freshet import AutomationCondition, Freshness, Schedule, TimePartitions, asset

days = TimePartitions("daily", start="2026-01-01", name="days")
hours = TimePartitions("hourly", start="2026-01-01", name="hours")


@asset(partitions=hours)
def visits(): ...


@asset(partitions=days, freshness=Freshness(within="26h"))
def takings(): ...


@asset(automation=AutomationCondition.eager())
def total(takings): ...


Schedule("hourly", cron="0 * * * *", target=visits)
Schedule("nightly", cron="0 0 * * *", target=takings)
"""


def _measure(bench: Bench) -> Iterator[Row]:
    wall, cpu = list[float](), list[float]()
    with tempfile.TemporaryDirectory(prefix="simulate-", dir=bench.scratch) as folder:
        command = [*_laid_out(Path(folder)), "--from", "2026-01-01", "--until", "2027-01-01", "--json"]
        for _ in range(bench.pick(5, 1)):
            wait_for_calm(bench.calm)
            seconds, used = _run(command, Path(folder, "out.jsonl"))
            wall.append(seconds)
            cpu.append(used)
    note = f"{sum(_TICKS.values()):,} ticks, {sum(_RUNS.values()):,} steps"
    yield Row.of("a year of hourly and daily schedules, simulated", "s", wall, _BAR, note=note)
    yield Row.of("  of it: CPU of the command", "s", cpu)


def _laid_out(root: Path) -> list[str]:
    """The command, on a folder with the plugins."""
    (root / "plugins").mkdir()
    for file, text in {**shipped_plugins(), "year.py": _PLUGIN}.items():
        (root / "plugins" / file).write_text(text)
    config = root / "freshet.toml"
    config.write_text('state_dir = "state"\nplugins_dir = "plugins"\ntimezone = "Europe/Berlin"\n')
    return [sys.executable, "-m", "freshet", "simulate", "--config", str(config)]


def _run(command: list[str], told: Path) -> tuple[float, float]:
    """Wall and CPU seconds of the whole process; what it told must be the whole year."""
    began = time.perf_counter()
    with told.open("wb") as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"it ended with {process.returncode}"
    summary = json.loads(told.read_bytes().splitlines()[-1])
    assert summary["ticks"] == _TICKS, summary["ticks"]
    assert not summary["skipped"], summary["skipped"]
    runs = {name: found["runs"] for name, found in summary["runs"].items()}
    assert runs == _RUNS, runs
    return seconds, usage.ru_utime + usage.ru_stime


FIGURE = Figure("simulate", "a year of schedules in virtual time, from the start of the process to its end", _measure)
