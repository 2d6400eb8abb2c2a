"""The kernel's timers as descriptors (timerfd_create(2)): readable at an instant, exact to some microseconds."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os

__all__ = ["TimerFd"]

_ABSTIME, _CANCEL_ON_SET = 1, 2
_NANO = 1_000_000_000


class _Spec(ctypes.Structure):
    """`struct itimerspec`."""

    _fields_ = (
        ("every_seconds", ctypes.c_long),
        ("every_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class TimerFd:
    """One timer on `clock` (`time.CLOCK_...`). Raises `OSError` where the kernel cannot, `AttributeError` where the
    system has no such timers."""

    def __init__(self, clock: int) -> None:
        self._libc = ctypes.PyDLL(None, use_errno=True)  # nothing of it blocks: Python's lock is kept
        self._file: int = self._libc.timerfd_create(clock, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Spec()
        self._at = ctypes.byref(self._spec)

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self._file

    def arm(self, at: float, *, cancel_on_set: bool = False) -> None:
        """Be readable from `at` on, in seconds of the clock, and never before; at once where that is before the clock
        began. `cancel_on_set`: or when the clock is set, or the machine wakes up."""
        at = max(at, 1 / _NANO)  # less than nothing is refused, and all zero would disarm it
        seconds = math.floor(at)
        nanoseconds = math.ceil((at - seconds) * _NANO)
        carried, self._spec.nanoseconds = divmod(nanoseconds, _NANO)
        self._spec.seconds = seconds + carried
        self._set(_ABSTIME | (_CANCEL_ON_SET if cancel_on_set else 0))

    def disarm(self) -> None:
        """Be readable no more."""
        self._spec.seconds = self._spec.nanoseconds = 0
        self._set(0)

    def clear(self) -> None:
        """Take note of what made it readable."""
        with contextlib.suppress(OSError):  # nothing any more, or ECANCELED: the clock was set
            os.read(self._file, 8)

    def _set(self, flags: int) -> None:
        if self._libc.timerfd_settime(self._file, flags, self._at, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        """Give the descriptor back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
