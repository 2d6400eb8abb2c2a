"""`state_dir/children.lock`: no step starts while a process of an earlier daemon still lives.

Code hosts and all their children inherit one descriptor of it, with a shared lock. A new daemon takes the lock
exclusively first: while it waits, what is left of its predecessor ends by itself; after two seconds it is killed. What
a step started and left behind does not hold the lock, but carries the mark that the lock file holds (see `strays`).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from freshet.errors import HostError
from freshet.executors.strays import holders, kill_until_gone, marked

__all__ = ["ChildrenLock"]

_POLL = 0.01
_KILL_PATIENCE = 5.0


class ChildrenLock:
    """Held by a daemon from before its first step until its end. `fd` is for hosts to inherit; `token` marks what
    they start."""

    def __init__(self, fd: int, token: str) -> None:
        self.fd = fd
        self.token = token

    @classmethod
    async def acquire(cls, state_dir: Path, *, patience: float = 2.0) -> ChildrenLock:
        """Wait `patience` seconds for the last daemon's processes, kill those that still live, and take the lock.

        To be called by the one who holds the lock on the state directory. Raises `HostError` where a process cannot
        be killed.
        """
        fd = os.open(state_dir / "children.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            return await asyncio.to_thread(_take, fd, patience)
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Let go. Children that live on still hold it."""
        os.close(self.fd)


def _take(fd: int, patience: float) -> ChildrenLock:
    if not _lock_within(fd, patience):
        found = os.fstat(fd)
        _kill(lambda: holders(found.st_dev, found.st_ino))
        if not _lock_within(fd, _KILL_PATIENCE):
            raise HostError("children.lock is held, and not by a process that can be seen", hint="look with `lslocks`")
    token = os.pread(fd, 64, 0).decode("ascii", "replace").strip()
    if token:
        _kill(lambda: marked(f"{token}."))
    else:
        token = secrets.token_hex(16)
        os.pwrite(fd, f"{token}\n".encode(), 0)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return ChildrenLock(fd, token)


def _lock_within(fd: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_POLL)
        else:
            return True


def _kill(find: Callable[[], list[int]]) -> None:
    left = kill_until_gone(find, patience=_KILL_PATIENCE)
    if left:
        raise HostError(
            f"processes of an earlier daemon on this state directory cannot be ended: {left}",
            hint="see what they wait for with `ps -o pid,stat,wchan,args`; a dead network mount is the usual reason",
        )
