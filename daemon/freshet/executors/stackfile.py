"""The file into which an evaluator writes where its threads stand."""

from __future__ import annotations

import os

__all__ = ["StackFile"]

_READ = 1 << 20


class StackFile:
    """The daemon's end of one; empty, and never written to, until the evaluator has handed it over."""

    def __init__(self) -> None:
        self._fd = -1

    def __bool__(self) -> bool:
        return self._fd >= 0

    def take(self, fd: int) -> None:
        """Here it is."""
        self._fd = fd

    def size(self) -> int:
        """In bytes."""
        return os.fstat(self._fd).st_size if self else 0

    def read(self, start: int = 0) -> str:
        """What was written from `start` on."""
        return os.pread(self._fd, _READ, start).decode("utf-8", "replace") if self else ""

    def clear(self) -> None:
        """Forget what was written: the evaluator writes from the start on, since both share the position."""
        if self:
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)

    def close(self) -> None:
        """For good."""
        if self:
            os.close(self._fd)
            self._fd = -1
