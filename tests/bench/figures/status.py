"""`freshet status`, the whole process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.figures.shipped import shipped_plugins

__all__ = ["FIGURE"]

_BAR = Bar(median=0.5)


def _measure(bench: Bench) -> Iterator[Row]:
    wall, cpu = list[float](), list[float]()
    with bench.lab("status", shipped_plugins(), workers=None) as lab:
        lab.settle()
        command = [sys.executable, "-m", "freshet", "status", "--config", str(lab.config)]
        for _ in range(bench.pick(15, 5)):
            seconds, used = _run(command)
            wall.append(seconds)
            cpu.append(used)
    yield Row.of("freshet status, whole process", "s", wall, _BAR)
    yield Row.of("  of it: CPU of the command", "s", cpu)


def _run(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds from start to end."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.stderr is not None
    with process.stderr as errors:
        assert process.returncode == 0, f"it ended with {process.returncode}: {errors.read().decode(errors='replace')}"
    return seconds, usage.ru_utime + usage.ru_stime


FIGURE = Figure("status", "freshet status from the start of the process to its end", _measure)
