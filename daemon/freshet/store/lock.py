"""Locks that die with their holder: `flock` on a file of the state directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from freshet.errors import StateDirectoryLocked
from freshet.store.statedir import prepare_state_dir

__all__ = ["FileLock", "lock_state_dir"]


class FileLock:
    """A lock on `path`, which is created and stays. It belongs to the open file: a child that inherits `fd` holds it
    too, until the last of them closes it or dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def fd(self) -> int:
        """The descriptor that holds the lock; not inherited unless asked for. Raises `ValueError` when not held."""
        if self._fd is None:
            raise ValueError(f"{self.path} is not held")
        return self._fd

    def acquire(self, *, shared: bool = False) -> bool:
        """Try to take the lock, without waiting; also changes a held one between shared and exclusive.

        Not atomic: a change that fails may have lost what was held, and then nothing is held.
        Raises `OSError` if the file cannot be opened.
        """
        fd = self._fd
        if fd is None:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._fd = None
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return True

    def release(self) -> None:
        """Let go. Where children inherited the descriptor they hold it on."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def lock_state_dir(state_dir: Path) -> FileLock:
    """Hold the state directory, which is created if it is not there, and write this process's id into its lock.

    Let go with `release()` or a `with` block. Raises `StateDirectoryLocked` naming the process that holds it, and
    `StoreError` where the directory cannot be used.
    """
    prepare_state_dir(state_dir)
    lock = FileLock(state_dir / "lock")
    if not lock.acquire():
        raise StateDirectoryLocked(
            f"{state_dir} is in use by {_holder(lock.path)}",
            hint="stop that daemon, or give this one a state_dir of its own",
        )
    os.ftruncate(lock.fd, 0)
    os.pwrite(lock.fd, f"{os.getpid()}\n".encode(), 0)
    return lock


def _holder(path: Path) -> str:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    return f"process {text}" if text.isdigit() else "another process"
