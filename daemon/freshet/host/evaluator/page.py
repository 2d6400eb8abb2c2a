"""The page of memory that an evaluator shares with the daemon: who holds its loop right now.

The evaluator writes, the daemon reads whenever it likes: also while the evaluator is stuck, and after it died. Words of
eight bytes in the machine's order:

    0       the owner of the step that runs on the loop now, 0 between steps
    1       how many steps have begun: while it moves, the loop is alive
    2       the owner of the last step that held the loop for `HELD_AFTER` or more; 3: for how many microseconds;
            4: how many such steps there were
    8 + 3n  thread n of the pool for `def` sensors, from 32 on of the loop's default executor: owner of the call it
            runs (0: none), Python's and the kernel's number of the thread

An owner is a tick id, or `BACKGROUND` and the number of a sensor whose `open()`, `close()` or `wakes()` runs.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass

__all__ = [
    "BACKGROUND",
    "EXECUTOR_THREADS",
    "FIRST_THREAD",
    "HELD",
    "HELD_AFTER",
    "THREADS",
    "THREAD_WORDS",
    "HeldStep",
    "PageView",
    "ThreadView",
    "read_held",
    "read_page",
]

BACKGROUND = 1 << 63
THREADS = 32
"""How many threads the pool may have."""
EXECUTOR_THREADS = 32
"""How many threads the default executor may have."""
HELD = 2
HELD_AFTER = 0.1
"""Seconds that a step may take."""
FIRST_THREAD = 8
THREAD_WORDS = 3

_HEAD = struct.Struct("=QQ")
_HELD = struct.Struct("=QQQ")
_THREAD = struct.Struct("=QQQ")


@dataclass(frozen=True, slots=True)
class ThreadView:
    """A thread of the pool that runs a call: its owner, and its number for Python (`ident`) and the kernel (`tid`)."""

    owner: int
    ident: int
    tid: int


@dataclass(frozen=True, slots=True)
class HeldStep:
    """The last step that held the loop too long, and how many did."""

    owner: int = 0
    seconds: float = 0.0
    count: int = 0


@dataclass(frozen=True, slots=True)
class PageView:
    """The page at one moment."""

    owner: int
    steps: int
    threads: tuple[ThreadView, ...] = ()


def read_page(page: mmap.mmap) -> PageView:
    """What the page says now."""
    owner, steps = _HEAD.unpack_from(page, 0)
    threads: list[ThreadView] = []
    for number in range(THREADS + EXECUTOR_THREADS):
        busy, ident, tid = _THREAD.unpack_from(page, 8 * (FIRST_THREAD + THREAD_WORDS * number))
        if busy:
            threads.append(ThreadView(busy, ident, tid))
    return PageView(owner, steps, tuple(threads))


def read_held(page: mmap.mmap) -> HeldStep:
    """Which step held the loop too long, the last time that one did."""
    owner, microseconds, count = _HELD.unpack_from(page, 8 * HELD)
    return HeldStep(owner, microseconds / 1e6, count)
