"""All time comes from here. The engine never calls `time` and never sleeps on anything else."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Clock", "SimulatedClock", "SystemClock", "Timer"]


class Timer(Protocol):
    """A callback that is still to come."""

    def cancel(self) -> None:
        """It will not come."""
        ...


class Clock(Protocol):
    """Wall time for what has a date, monotonic time for what has a length."""

    def now(self) -> float:
        """Seconds since 1970, UTC. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment. Never jumps."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back at monotonic `when` or a little before or after it: the callback compares before it acts."""
        ...


class SystemClock:
    """The machine's clocks, on the running event loop."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC."""
        return time.monotonic()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """On the loop's own timer wheel."""
        return asyncio.get_running_loop().call_later(max(0.0, when - time.monotonic()), callback)


@dataclass
class _SimulatedTimer:
    when: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class SimulatedClock:
    """Virtual time: it stands still while anything works, and leaps to the next timer when all is idle.

    `idle` is awaited between leaps; the engine's `settled()` fits.
    """

    start: float = 1_767_225_600.0
    _elapsed: float = 0.0
    _step: float = 0.0
    _timers: list[tuple[float, int, _SimulatedTimer]] = field(default_factory=list[tuple[float, int, _SimulatedTimer]])
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def now(self) -> float:
        """The simulated wall clock."""
        return self.start + self._elapsed + self._step

    def monotonic(self) -> float:
        """Simulated seconds since the clock was made."""
        return self._elapsed

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Fires inside `advance`."""
        timer = _SimulatedTimer(when, callback)
        heapq.heappush(self._timers, (when, next(self._count), timer))
        return timer

    def step_wall(self, seconds: float) -> None:
        """The wall clock jumps (positive: forward); monotonic time does not."""
        self._step += seconds

    async def advance(self, seconds: float, idle: Callable[[], Awaitable[None]]) -> None:
        """Let `seconds` pass: each timer fires at its instant, and `idle()` is awaited before time moves on."""
        end = self._elapsed + seconds
        await idle()
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            if timer.cancelled:
                continue
            self._elapsed = max(self._elapsed, when)
            timer.callback()
            await idle()
        self._elapsed = end
        await idle()
