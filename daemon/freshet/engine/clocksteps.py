"""Noticing at once that the wall clock was set, or that the machine slept: the kernel tells, nobody has to look.

A timer on the wall clock that is never due, asked for with TFD_TIMER_CANCEL_ON_SET, makes its descriptor readable when
the clock jumps; the kernel counts waking up from suspend as such.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from freshet.engine.timerfd import TimerFd

__all__ = ["StepWatch", "watch_steps"]

_NEVER = 2**40
"""An instant in a far future, in seconds since 1970."""


class StepWatch:
    """Calls back after each jump of the wall clock, until it is canceled. Raises `OSError` where the kernel cannot."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._timer = TimerFd(time.CLOCK_REALTIME)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._timer.fileno(), self._stepped)
        self._arm()

    def cancel(self) -> None:
        """Call back no more."""
        if self._timer.fileno() >= 0:
            self._loop.remove_reader(self._timer.fileno())
            self._timer.close()

    def _arm(self) -> None:
        self._timer.arm(_NEVER, cancel_on_set=True)

    def _stepped(self) -> None:
        self._timer.clear()
        self._arm()
        self._callback()


class _Nothing:
    def cancel(self) -> None:
        pass


def watch_steps(callback: Callable[[], None]) -> StepWatch | _Nothing:
    """A watch; one that never calls back where the system has no such timer, so that who waits must look by itself."""
    try:
        return StepWatch(callback)
    except (OSError, AttributeError, NotImplementedError):
        return _Nothing()
