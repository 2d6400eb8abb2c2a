"""How much memory a step's processes use together, watched from outside.

A resource limit of the kernel counts each process by itself, and address space rather than memory: threads, numpy and
pyarrow reserve far more of that than they use. So the processes are looked at, the more often the nearer they are: one
that filled memory as fast as it could was ended at 516 to 622 MiB where 512 MiB were allowed, on two busy cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from freshet.host.loop import Loop, Timer
from freshet.host.process import tree_of

__all__ = ["MemoryWatch", "memory_of"]

_GROWTH = 4 * 2**30
"""Bytes that processes can fill in a second: to fill pages, the kernel must clear them first."""
_OFTEN, _SELDOM = 0.005, 0.25
"""Seconds between two looks, at the least and at the most."""
_SHARE = 50
"""A look is followed by so many times as long without one."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class MemoryWatch:
    """Tells `over` once how many bytes the process and all below it have, when these are more than `limit`."""

    def __init__(self, loop: Loop, pid: int, limit: int, over: Callable[[int], None]) -> None:
        self._loop = loop
        self._pid = pid
        self._limit = limit
        self._over = over
        self._timer: Timer = loop.later(_OFTEN, self._look)

    def cancel(self) -> None:
        """Watch no longer."""
        self._timer.cancel()

    def _look(self) -> None:
        begun = self._loop.clock()
        used = memory_of(self._pid, at_least=self._limit)
        if used > self._limit:
            self._over(used)
            return
        cost = self._loop.clock() - begun
        rest = min(max((self._limit - used) / _GROWTH, _OFTEN, cost * _SHARE), _SELDOM)
        self._timer = self._loop.later(rest, self._look)


def memory_of(pid: int, *, at_least: int = 0) -> int:
    """Bytes of the process and of all below it. What they share among themselves counts once, what they share with
    others (the host that they were forked from) in part; up to `at_least`, the cheaper sum that counts all of it in
    each is near enough."""
    pids = tree_of(pid)
    resident = sum(map(_resident, pids))
    return resident if resident <= at_least else sum(map(_proportional, pids))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError):  # it has ended
        return 0


def _proportional(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, IndexError):  # it has ended, or has become somebody else's
        pass
    return 0
