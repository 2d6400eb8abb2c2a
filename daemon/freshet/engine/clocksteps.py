"""Noticing at once that the wall clock was set, or that the machine slept: the kernel tells, nobody has to look.

A timer on the wall clock that is never due, asked for with TFD_TIMER_CANCEL_ON_SET, makes its descriptor readable when
the clock jumps; the kernel counts waking up from suspend as such.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import time
from collections.abc import Callable

__all__ = ["StepWatch", "watch_steps"]

_ABSTIME, _CANCEL_ON_SET = 1, 2
_NEVER = 2**40
"""An instant in a far future, in seconds since 1970."""


class _Spec(ctypes.Structure):
    """`struct itimerspec`."""

    _fields_ = (
        ("every_seconds", ctypes.c_long),
        ("every_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class StepWatch:
    """Calls back after each jump of the wall clock, until it is canceled. Raises `OSError` where the kernel cannot."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file: int = self._libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._file, self._stepped)
        self._arm()

    def cancel(self) -> None:
        """Call back no more."""
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _arm(self) -> None:
        spec = _Spec(0, 0, _NEVER, 0)
        self._libc.timerfd_settime(self._file, _ABSTIME | _CANCEL_ON_SET, ctypes.byref(spec), None)

    def _stepped(self) -> None:
        with contextlib.suppress(OSError):  # ECANCELED: that is the news
            os.read(self._file, 8)
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
