"""A few read-only connections, so that reads never wait for the writer."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from freshet.errors import StoreError
from freshet.store.connection import StoreConnection
from freshet.store.faults import is_environmental, unavailable

__all__ = ["ReaderPool"]

T = TypeVar("T")


class ReaderPool:
    """`size` connections, opened when first needed, lent to one query at a time in order of arrival."""

    def __init__(self, path: Path, connector: Callable[[], sqlite3.Connection], *, size: int) -> None:
        self._path = path
        self._connector = connector
        self._size = size
        self._free = asyncio.Semaphore(size)
        self._idle: list[StoreConnection] = []
        self._running: set[asyncio.Task[object]] = set()
        self._closed = False

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` in one read transaction: it sees one state of the database. See `Store.read`."""
        if self._closed:
            raise StoreError("the store is closed")
        # In a task of its own: a caller that is cancelled does not hand on a connection that is still at work.
        task = asyncio.create_task(self._read(query))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for the queries that run, then close all connections."""
        self._closed = True
        await asyncio.gather(*self._running, return_exceptions=True)
        while self._idle:
            await _close(self._idle.pop())

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        async with self._free:
            connection = self._idle.pop() if self._idle else await self._open()
            try:
                result = await connection.run(lambda db: _in_snapshot(db, query))
            except (sqlite3.Error, MemoryError) as error:
                await _close(connection)
                if not is_environmental(error) or _tried_to_write(error):
                    raise
                raise unavailable(self._path, error, reading=True) from error
            except BaseException:
                self._idle.append(connection)
                raise
            self._idle.append(connection)
            return result

    async def _open(self) -> StoreConnection:
        try:
            return await StoreConnection.open(self._connector)
        except sqlite3.Error as error:
            raise unavailable(self._path, error, reading=True) from error


def _in_snapshot(db: sqlite3.Connection, query: Callable[[sqlite3.Connection], T]) -> T:
    db.execute("BEGIN")
    try:
        return query(db)
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _tried_to_write(error: BaseException) -> bool:
    """A query that writes is a bug of ours. (A file that cannot be read because of its mode has an extended code.)"""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY


async def _close(connection: StoreConnection) -> None:
    with contextlib.suppress(sqlite3.Error):
        await connection.close()
