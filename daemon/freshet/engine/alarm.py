"""Waking at an instant. The event loop's own timers count in milliseconds, and come one late in the mean half of them;
the kernel's come some microseconds late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from freshet.engine.timerfd import TimerFd

__all__ = ["Alarm", "system_alarm"]


class Alarm(Protocol):
    """Calls back at the instant that it was set to last; once, and then waits to be set again."""

    def set(self, when: float) -> None:
        """To a monotonic instant; what it was set to before is forgotten."""
        ...

    def clear(self) -> None:
        """Do not call back."""
        ...

    def close(self) -> None:
        """Do not call back, and give back what it holds. It is not set again."""
        ...


class _KernelAlarm:
    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._timer = TimerFd(time.CLOCK_MONOTONIC)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._timer.fileno(), self._ring)
        self._set = False

    def set(self, when: float) -> None:
        self._set = True
        self._timer.arm(when)

    def clear(self) -> None:
        if self._set:
            self._set = False
            self._timer.disarm()

    def close(self) -> None:
        if self._timer.fileno() >= 0:
            self._set = False
            self._loop.remove_reader(self._timer.fileno())
            self._timer.close()

    def _ring(self) -> None:
        self._timer.clear()
        if self._set:
            self._set = False
            self._callback()


class _LoopAlarm:
    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._timer: asyncio.TimerHandle | None = None

    def set(self, when: float) -> None:
        self.clear()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, when - time.monotonic()), self._callback)

    def clear(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    close = clear


def system_alarm(callback: Callable[[], None]) -> Alarm:
    """An alarm on the running event loop, as exact as the system allows."""
    try:
        return _KernelAlarm(callback)
    except (OSError, AttributeError, NotImplementedError):
        return _LoopAlarm(callback)
