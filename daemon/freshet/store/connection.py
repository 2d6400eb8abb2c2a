"""One SQLite connection on a thread of its own, with the pragmas that the store's promises rest on.

Whole functions run on the connection's thread, never single statements with `await` between them: nothing else
can commit half of a transaction, and a cancelled caller leaves none open.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, cast

import aiosqlite

from freshet.errors import StoreError

__all__ = ["StoreConnection", "connect_reader", "connect_writer"]

T = TypeVar("T")

_CACHED_STATEMENTS = 512
_OLDEST_SQLITE = (3, 38, 0)

# FULL: COMMIT returns after the write-ahead log is on the disk. No mmap: an I/O error must be an error, not SIGBUS.
_PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA recursive_triggers = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA mmap_size = 0",
    "PRAGMA cache_size = -16000",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA journal_size_limit = 67108864",
)


class StoreConnection(aiosqlite.Connection):
    """An aiosqlite connection that runs a whole function on its thread.

    The thread is a daemon thread: an engine bug ends the process even if nobody closes the connection.
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True
        self._stopped: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, connector: Callable[[], sqlite3.Connection]) -> StoreConnection:
        """A connection that `connector` opened on its thread. Raises what `connector` raises."""
        connection = cls(connector)
        try:
            await connection
        except BaseException:
            if connection._stopped is not None:  # else the thread may still be about to answer a loop that is gone
                await connection._stopped
            raise
        return connection

    def stop(self) -> asyncio.Future[None] | None:
        """As aiosqlite's; `open` waits for it where opening failed."""
        self._stopped = super().stop()  # pyright: ignore[reportUnknownMemberType]  # as above
        return self._stopped

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call `function` with the raw connection on the connection's thread.

        A caller cancelled meanwhile does not stop it. Raises what `function` raises.
        """
        execute = cast("Callable[..., Awaitable[T]]", self._execute)  # pyright: ignore[reportUnknownMemberType]  # aiosqlite leaves it without types
        return await execute(function, self._conn)


def connect_writer(
    path: Path, *, busy_timeout: float, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    """The read-write connection, in WAL mode; creates the file. `busy_timeout` in seconds.

    Raises `sqlite3.Error`, and `StoreError` where SQLite is too old or the file system cannot hold a WAL.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        needed = ".".join(map(str, _OLDEST_SQLITE))
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old", hint=f"Freshet needs {needed} or later")
    db = _open(f"{path.absolute().as_uri()}?mode=rwc", busy_timeout, factory)
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heeded in a new file only, and only as the first of all
        mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(
                f"{path} cannot be switched to a write-ahead log (journal mode {mode})",
                hint="keep state_dir on a local disk",
            )
        for pragma in _PRAGMAS:
            db.execute(pragma)
    except BaseException:
        db.close()
        raise
    return db


def connect_reader(
    path: Path, *, busy_timeout: float, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    """A read-only connection to an existing file. Raises `sqlite3.Error`."""
    db = _open(f"{path.absolute().as_uri()}?mode=ro", busy_timeout, factory)
    try:
        for pragma in ("PRAGMA query_only = ON", "PRAGMA trusted_schema = OFF", "PRAGMA cache_size = -8000"):
            db.execute(pragma)
    except BaseException:
        db.close()
        raise
    return db


def _open(uri: str, busy_timeout: float, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
    return sqlite3.connect(
        uri,
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
        factory=factory,
    )
