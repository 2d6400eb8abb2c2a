"""What the figures were measured on; nothing that names the machine."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["Others", "flush_milliseconds", "machine", "wait_for_calm"]

_TICK = os.sysconf("SC_CLK_TCK")
_CALM = 0.15
"""Cores that others may use while a machine counts as calm."""


def machine(scratch: Path) -> dict[str, Any]:
    """Cores, processor, memory, kernel, versions, and how long the disk takes to make 4 KiB durable."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _proc("cpuinfo", "model name") or platform.machine(),
        "memory_mib": int((_proc("meminfo", "MemTotal") or "0 kB").split()[0]) // 1024,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "flush_ms": round(statistics.median(flush_milliseconds(scratch, 50)), 3),
        "load": round(os.getloadavg()[0], 2),
        "python_start_ms": round(statistics.median(_python_start() for _ in range(5)) * 1000, 1),
    }


def flush_milliseconds(folder: Path, count: int) -> list[float]:
    """Append 4 KiB and fdatasync, `count` times; milliseconds each."""
    path, found = folder / "flush", list[float]()
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"\0" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            found.append((time.perf_counter() - began) * 1000)
    path.unlink()
    return found


class Others:
    """How many cores' worth of CPU other processes have used since this was made: what a figure had to share."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before = self._used()

    def cores(self) -> float:
        """On average. Our own children count as ours once they have ended."""
        return max(0.0, self._used() - self._before) / (time.monotonic() - self._began)

    def _used(self) -> float:
        try:
            busy = Path("/proc/stat").read_text().partition("\n")[0].split()
        except OSError:
            return 0.0
        everything = sum(map(int, (*busy[1:4], *busy[6:8]))) / _TICK  # user, nice, system, irq, softirq
        return everything - sum(os.times()[:4])


def wait_for_calm(patience: float) -> None:
    """Return once others leave the machine alone for a second, or after `patience` seconds."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        others = Others()
        time.sleep(1)
        if others.cores() < _CALM:
            return


def _python_start() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", ""], check=True)
    return time.perf_counter() - began


def _proc(file: str, key: str) -> str | None:
    try:
        lines = Path("/proc", file).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)
