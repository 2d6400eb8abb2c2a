"""All time comes from here. The engine never calls `time` and never sleeps on anything else."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from freshet.engine.alarm import Alarm, system_alarm
from freshet.engine.clocksteps import watch_steps

__all__ = ["Clock", "SimulatedClock", "SystemClock", "Timer"]


class Timer(Protocol):
    """A callback that is still to come."""

    def cancel(self) -> None:
        """It will not come."""
        ...


class Clock(Protocol):
    """Wall time for what has a date, monotonic time for what has a length."""

    @property
    def steady(self) -> bool:
        """Whether the wall clock never jumps, so that nobody has to look at it for that."""
        ...

    def now(self) -> float:
        """Seconds since 1970, UTC. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment. Never jumps."""
        ...

    def alarm(self, callback: Callable[[], None]) -> Alarm:
        """Call back at the monotonic instants that it will be set to, or a little before or after: the callback
        compares before it acts."""
        ...

    def watch_steps(self, callback: Callable[[], None]) -> Timer:
        """Call back whenever the wall clock has jumped, as far as the system tells."""
        ...


class SystemClock:
    """The machine's clocks, on the running event loop."""

    steady = False

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC."""
        return time.monotonic()

    def alarm(self, callback: Callable[[], None]) -> Alarm:
        """On the running event loop."""
        return system_alarm(callback)

    def watch_steps(self, callback: Callable[[], None]) -> Timer:
        """Told by the kernel; also when the machine wakes up."""
        return watch_steps(callback)


@dataclass
class _SimulatedTimer:
    when: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class _SimulatedAlarm:
    def __init__(self, clock: SimulatedClock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._callback = callback
        self._timer: Timer | None = None

    def set(self, when: float) -> None:
        self.clear()
        self._timer = self._clock.call_at(when, self._callback)

    def clear(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    close = clear


@dataclass
class SimulatedClock:
    """Virtual time: it stands still while anything works, and leaps to the next timer when all is idle.

    `idle` is awaited between leaps; the engine's `settled()` fits. `steady`: nobody will call `step_wall`.
    """

    start: float = 1_767_225_600.0
    steady: bool = False
    _elapsed: float = 0.0
    _step: float = 0.0
    _timers: list[tuple[float, int, _SimulatedTimer]] = field(default_factory=list[tuple[float, int, _SimulatedTimer]])
    _count: itertools.count[int] = field(default_factory=itertools.count)
    _watches: list[_SimulatedTimer] = field(default_factory=list[_SimulatedTimer])

    @classmethod
    def steadily(cls, begin: float) -> SimulatedClock:
        """A clock that reads `begin` and is never stepped: its monotonic time is its wall time, to the last digit."""
        return cls(start=0.0, steady=True, _elapsed=begin)

    def now(self) -> float:
        """The simulated wall clock."""
        return self.start + self._elapsed + self._step

    def monotonic(self) -> float:
        """Simulated seconds since the clock was made."""
        return self._elapsed

    def alarm(self, callback: Callable[[], None]) -> Alarm:
        """Rings inside `advance`."""
        return _SimulatedAlarm(self, callback)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Fires inside `advance`."""
        timer = _SimulatedTimer(when, callback)
        heapq.heappush(self._timers, (when, next(self._count), timer))
        return timer

    def watch_steps(self, callback: Callable[[], None]) -> Timer:
        """Called within `step_wall`."""
        watch = _SimulatedTimer(math.inf, callback)
        self._watches.append(watch)
        return watch

    def step_wall(self, seconds: float) -> None:
        """The wall clock jumps (positive: forward); monotonic time does not."""
        self._step += seconds
        for watch in [one for one in self._watches if not one.cancelled]:
            watch.callback()

    def next_due(self) -> float | None:
        """The monotonic instant of the next timer; None while there is none."""
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def leap(self, end: float) -> bool:
        """Go to the next timer and let it fire. Where none is due by monotonic `end`: go there, and return False."""
        when = self.next_due()
        if when is None or when > end:
            self._elapsed = max(self._elapsed, end)
            return False
        self._elapsed = max(self._elapsed, when)
        heapq.heappop(self._timers)[2].callback()
        return True

    async def advance(self, seconds: float, idle: Callable[[], Awaitable[None]]) -> None:
        """Let `seconds` pass: each timer fires at its instant, and `idle()` is awaited before time moves on."""
        end = self._elapsed + seconds
        await idle()
        while self.leap(end):
            await idle()
        await idle()
