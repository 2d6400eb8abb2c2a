"""Which errors are the world's (disk, lock, memory) and not the caller's, and what to tell about them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from freshet.errors import StoreUnavailable

__all__ = ["is_environmental", "unavailable"]

_HINTS = {
    sqlite3.SQLITE_FULL: "free space on the disk of {directory}; Freshet goes on by itself",
    sqlite3.SQLITE_IOERR: "check the disk of {directory}, its quota and the kernel's log",
    sqlite3.SQLITE_READONLY: "make {directory} writable for the daemon's user",
    sqlite3.SQLITE_CANTOPEN: "make {directory} writable for the daemon's user",
    sqlite3.SQLITE_PERM: "make {directory} writable for the daemon's user",
    sqlite3.SQLITE_BUSY: "another process holds a lock on {path}; end it",
    sqlite3.SQLITE_LOCKED: "another process holds a lock on {path}; end it",
    sqlite3.SQLITE_PROTOCOL: "another process holds a lock on {path}; end it",
    sqlite3.SQLITE_CORRUPT: "{path} is damaged: stop the daemon and put a backup in its place",
    sqlite3.SQLITE_NOTADB: "{path} is no database: stop the daemon and put a backup in its place",
    sqlite3.SQLITE_NOMEM: "the machine is out of memory",
    sqlite3.SQLITE_INTERRUPT: "try again",
    sqlite3.SQLITE_ABORT: "try again",
}


def _primary(error: BaseException) -> int | None:
    if isinstance(error, MemoryError):  # what Python's sqlite3 makes of SQLITE_NOMEM
        return sqlite3.SQLITE_NOMEM
    if not isinstance(error, sqlite3.Error):
        return None
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_environmental(error: BaseException) -> bool:
    """Whether SQLite failed for reasons outside the statement: such an error may have undone the whole transaction."""
    return _primary(error) in _HINTS


def unavailable(
    path: Path, cause: BaseException | None, *, unknown: bool = False, reading: bool = False
) -> StoreUnavailable:
    """The error for a caller whose transaction could not be made durable, or (`reading`) whose query failed.

    `unknown`: COMMIT failed and the database could not be asked since, so the transaction may be found there later.
    """
    outcome = "may or may not have been written" if unknown else "was not written"
    why = "" if cause is None else f": {cause}"
    template = _HINTS.get(_primary(cause) or 0, "see the daemon's log") if cause else "try again"
    what = f"{path.name} cannot be read" if reading else f"the transaction {outcome} to {path.name}"
    error = StoreUnavailable(f"{what}{why}", hint=template.format(path=path, directory=path.parent))
    error.__cause__ = cause
    return error
