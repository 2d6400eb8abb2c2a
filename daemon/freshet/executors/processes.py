"""What the kernel says about a process and its threads. Where it says nothing, that is allowed for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Vitals", "running_threads", "vitals"]


@dataclass(frozen=True, slots=True)
class Vitals:
    """`used`: seconds of processor time, of all threads. Of the main thread: seconds it `waited` for a processor, and
    whether it wants one now."""

    used: float = 0.0
    waited: float = 0.0
    runnable: bool = False


def vitals(pid: int) -> Vitals:
    """Of a process now; all zero where that is not known."""
    used, waited = 0, 0
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            ran, delayed, _ = (thread / "schedstat").read_text().split()
            used += int(ran)
            if thread.name == str(pid):
                waited = int(delayed)
    except (OSError, ValueError):
        return Vitals()
    return Vitals(used / 1e9, waited / 1e9, _state(pid, pid) == "R")


def running_threads(pid: int, threads: frozenset[int]) -> frozenset[int]:
    """Those of `threads` (kernel numbers) that run or want to run now."""
    return frozenset(thread for thread in threads if _state(pid, thread) == "R")


def _state(pid: int, thread: int) -> str:
    try:
        text = Path(f"/proc/{pid}/task/{thread}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]
