"""What a step in a session of its own is told while it runs: through a named pipe in its folder.

Whoever finds the folder may tell it something, also a daemon that did not start it. It is there, and read, from before
the step begins until its keeper ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import orjson

from freshet.host.messages import Cancel, CancelItem

__all__ = ["Orders", "tell"]

_NAME = "orders"
_CHUNK = 1 << 16


class Orders:
    """The keeper's end."""

    def __init__(self, folder: Path) -> None:
        os.mkfifo(folder / _NAME, 0o600)
        # Open for writing too: the pipe has no end while nobody else has it open.
        self.fd = os.open(folder / _NAME, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""

    def read(self) -> Iterator[Cancel | CancelItem]:
        """What has been told since."""
        try:
            data = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield orjson.loads(line)


def tell(folder: Path, said: Cancel | CancelItem) -> bool:
    """Tell the keeper of this folder; False where it does not listen (yet, or any more)."""
    try:
        pipe = os.open(folder / _NAME, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(pipe, orjson.dumps(said) + b"\n")  # in one piece: it is shorter than PIPE_BUF
    except OSError:  # full: it does not get to reading
        return False
    finally:
        os.close(pipe)
    return True
