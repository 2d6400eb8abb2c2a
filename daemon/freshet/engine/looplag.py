"""Whether the daemon's own event loop is held: by what, and for how long.

The loop beats; a thread beside it looks whether a beat is overdue, and if so where the loop's thread stands. An idle
daemon beats seldom, one that works ten times a second. A loop that waits for events, and is late because the machine is
busy, is not held.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

import structlog

__all__ = ["HELD_AFTER", "Beats", "Held", "LoopHolds", "LoopWatch", "SayHeld", "frame_of", "where"]

HELD_AFTER = 0.1
"""Seconds that a beat may be late."""
_SHORT, _LONG = 0.1, 5.0
"""Seconds between two beats, of a loop that works and of one that rests."""
_WORK = 0.001
"""Seconds of processor time between two beats that count as work."""
_FRAMES = 12
_WAITING = {asyncio.runners.__file__, selectors.__file__}
"""Where a loop stands that waits for events: its own code is no Python, or calls the selector."""

_log = structlog.get_logger("freshet.engine")


@dataclass(frozen=True, slots=True)
class Held:
    """The loop was held for so many seconds; `stack`: where it stood, the innermost call last."""

    seconds: float
    stack: tuple[str, ...]


@dataclass(slots=True)
class Beats:
    """When the loop beats. Pure: times are arguments."""

    used: float
    """Seconds of processor time of the process at the last beat."""
    interval: float = _SHORT

    def next(self, used: float) -> float:
        """Seconds to the beat after this one."""
        worked, self.used = used - self.used >= _WORK, used
        self.interval = _SHORT if worked else min(2 * self.interval, _LONG)
        return self.interval


class LoopWatch:
    """Watches the loop that `run` is awaited on; `told` is called there, after each time that it was held."""

    def __init__(self, told: Callable[[Held], None]) -> None:
        self._told = told
        self._due = float("inf")
        self._stack: tuple[str, ...] = ()
        self._changed = threading.Condition()
        self._over = False

    async def run(self) -> NoReturn:
        """Beat until cancelled."""
        beats = Beats(time.process_time())
        thread = threading.Thread(target=self._look, args=(threading.get_ident(),), name="freshet-pulse", daemon=True)
        thread.start()
        try:
            while True:
                interval = beats.next(time.process_time())
                due = time.monotonic() + interval
                self._expect(due)
                await asyncio.sleep(interval)
                stack, late = self._expect(float("inf")), time.monotonic() - due
                if stack:
                    self._told(Held(late, stack))
        finally:
            self._over = True
            self._expect(0.0)

    def _expect(self, due: float) -> tuple[str, ...]:
        """The next beat is due then; what was seen since the last."""
        with self._changed:
            seen, self._stack, self._due = self._stack, (), due
            self._changed.notify()
        return seen

    def _look(self, loop_thread: int) -> None:
        """In a thread: sleep until a beat is overdue, and say where the loop stands."""
        with self._changed:
            while not self._over:
                wait = self._due + HELD_AFTER - time.monotonic()
                if wait > 0:
                    self._changed.wait(None if wait == float("inf") else wait)
                    continue
                self._stack = where(frame_of(loop_thread))
                self._changed.wait(None if self._stack else HELD_AFTER)


def frame_of(thread: int) -> FrameType | None:
    """Where another thread is."""
    frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]  # documented, and the only way
    return frames.get(thread)


def where(frame: FrameType | None) -> tuple[str, ...]:
    """Where a loop stands, as lines, the innermost call last; empty where it waits for events."""
    if frame is None or frame.f_code.co_filename in _WAITING:
        return ()
    found = traceback.extract_stack(frame, limit=_FRAMES)
    return tuple(f"{one.filename}:{one.lineno} {one.name}" for one in found)


@dataclass(slots=True)
class LoopHolds:
    """How often the loop was held since the start, for how many seconds in all and at the most; the last time, and when
    that was, in seconds since 1970."""

    times: int = 0
    seconds: float = 0.0
    worst: float = 0.0
    last: Held | None = None
    last_at: float | None = None

    def add(self, held: Held, now: float) -> None:
        """It was held, until now."""
        self.times, self.seconds = self.times + 1, self.seconds + held.seconds
        self.worst = max(self.worst, held.seconds)
        self.last, self.last_at = held, now


class SayHeld:
    """Logs it at most once in `quiet` seconds, with how often it was since, and for how long at most."""

    def __init__(self, *, quiet: float = 60.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._monotonic = monotonic
        self._next = float("-inf")
        self._times = 0
        self._longest = 0.0

    def __call__(self, held: Held) -> None:
        """The loop was held, and goes on."""
        self._times, self._longest = self._times + 1, max(self._longest, held.seconds)
        if (now := self._monotonic()) < self._next:
            return
        seconds, longest = round(held.seconds, 3), round(self._longest, 3)
        _log.warning(
            "the event loop was held", seconds=seconds, times=self._times, longest=longest, at=list(held.stack)
        )
        self._next, self._times, self._longest = now + self._quiet, 0, 0.0
