"""Finding processes of ours that nobody answers for any more, by what the kernel knows of them.

By lock: who holds a file open. By mark: every process below a code host carries a word in its environment, which what
it starts inherits; `/proc` shows the environment a process began with. A process is killed through a pidfd opened
before the last look at it, so a number given to a stranger in between harms nobody.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["MARK", "holders", "kill_until_gone", "marked"]

MARK = "_FRESHET_CHILD_OF"
"""The environment variable. Its value is a token of the state directory, a dot, and one of the host."""


def _processes() -> list[int]:
    own = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own]  # noqa: PTH208


def holders(device: int, inode: int) -> list[int]:
    """The other processes of this user that have the file open."""
    return [pid for pid in _processes() if _holds(pid, device, inode)]


def _holds(pid: int, device: int, inode: int) -> bool:
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
        for fd in descriptors:
            with contextlib.suppress(OSError):
                found = fd.stat()  # follows the link, also to a file that has lost its name
                if found.st_ino == inode and found.st_dev == device:
                    return True
    return False


def marked(token: str) -> list[int]:
    """The other processes of this user whose mark begins with `token`."""
    wanted = f"{MARK}={token}".encode()
    return [pid for pid in _processes() if _has_mark(pid, wanted)]


def _has_mark(pid: int, wanted: bytes) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return any(entry.startswith(wanted) for entry in environment.split(b"\0"))


def kill_until_gone(find: Callable[[], list[int]], *, patience: float) -> list[int]:
    """SIGKILL what `find` finds until it finds nothing; what is left after `patience` seconds. Blocks: for a thread."""
    until = time.monotonic() + patience
    while found := find():
        for pid in found:
            _kill_if(pid, find)
        if time.monotonic() > until:
            return found
        time.sleep(0.005)
    return []


def _kill_if(pid: int, find: Callable[[], list[int]]) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if pid in find():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
