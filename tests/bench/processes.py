"""What a tree of processes costs, as /proc tells it."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = [
    "alive",
    "cpu_seconds",
    "loop_seconds",
    "own_seconds",
    "proportional_bytes",
    "resident_bytes",
    "running_seconds",
    "tree",
]

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def tree(root: int) -> list[int]:
    """The process and all its descendants."""
    found, waiting = list[int](), [root]
    while waiting:
        pid = waiting.pop()
        try:
            tasks = list((_PROC / str(pid) / "task").iterdir())
        except OSError:
            continue
        found.append(pid)
        for task in tasks:
            try:
                waiting += map(int, (task / "children").read_text().split())
            except OSError:
                continue
    return found


def _stat(pid: int) -> list[str]:
    """The fields of stat after the command: [0] is the state."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def cpu_seconds(root: int) -> float:
    """CPU time of the tree so far, ended children that were waited for included."""
    total = 0
    for pid in tree(root):
        try:
            total += sum(map(int, _stat(pid)[11:15]))
        except OSError:
            continue
    return total / _TICK


def own_seconds(pid: int) -> float:
    """CPU time of all threads of one process so far. Raises `OSError` where it is gone."""
    return sum(map(int, _stat(pid)[11:13])) / _TICK


def running_seconds(root: int) -> float:
    """CPU time of all threads of the tree so far, to the nanosecond; what has ended is left out."""
    total = 0
    for pid in tree(root):
        for task in (_PROC / str(pid) / "task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                continue
    return total / 1e9


def loop_seconds(pid: int) -> float:
    """CPU time of a process's first thread so far, which is that of its event loop."""
    return int((_PROC / str(pid) / "task" / str(pid) / "schedstat").read_text().split()[0]) / 1e9


def proportional_bytes(root: int) -> dict[int, int]:
    """The proportional set size of each process of the tree, in bytes."""
    sizes = dict[int, int]()
    for pid in tree(root):
        try:
            text = (_PROC / str(pid) / "smaps_rollup").read_text()
        except OSError:
            continue
        match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        if match is not None:
            sizes[pid] = int(match[1]) * 1024
    return sizes


def resident_bytes(pid: int) -> tuple[int, int]:
    """The resident set size of a process, now and the greatest so far. Raises `OSError` where it is gone."""
    text = (_PROC / str(pid) / "status").read_text()
    now, most = (re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE) for name in ("VmRSS", "VmHWM"))
    assert now is not None and most is not None, "the kernel tells both"
    return int(now[1]) * 1024, int(most[1]) * 1024


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False
