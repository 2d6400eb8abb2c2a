"""The store: what is remembered, in one SQLite file.

Whole transactions go in as functions, so that nothing ever waits between BEGIN and COMMIT. The functions live in
the modules beside this one; all SQL does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from freshet.errors import StoreError
from freshet.store.connection import connect_reader, connect_writer
from freshet.store.faults import is_environmental, unavailable
from freshet.store.migrations import Migration, load_migrations, migrate
from freshet.store.readers import ReaderPool
from freshet.store.writer import Writer, WriterLimits

__all__ = ["Store", "StoreOptions"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """`busy_timeout`: seconds that SQLite waits for a lock held by an outsider. `readers`: read connections.
    `factory`: the class of the writer's raw connections. `migrations`: None for those of this release."""

    busy_timeout: float = 2.0
    readers: int = 2
    limits: WriterLimits = field(default_factory=WriterLimits)
    factory: type[sqlite3.Connection] = sqlite3.Connection
    migrations: Sequence[Migration] | None = None


class Store:
    """An open store. Make one with `await Store.open(path, now=...)`; always `close()` it."""

    def __init__(self, path: Path, writer: Writer, readers: ReaderPool) -> None:
        self.path = path
        self._writer = writer
        self._readers = readers

    @classmethod
    async def open(cls, path: Path, *, now: float, options: StoreOptions | None = None) -> Store:
        """Open or create the database file at `path` and bring it to this release's schema.

        The caller holds the lock of the state directory. Raises `StoreError`: `SchemaTooNew`, `StoreUnavailable`.
        """
        chosen = options or StoreOptions()
        known = load_migrations() if chosen.migrations is None else chosen.migrations
        writer = Writer(
            path,
            lambda: connect_writer(path, busy_timeout=chosen.busy_timeout, factory=chosen.factory),
            limits=chosen.limits,
        )

        def prepare(db: sqlite3.Connection) -> None:
            migrate(db, path, known, now=now)

        try:
            await writer.start(prepare)
        except (sqlite3.Error, MemoryError, OSError) as error:
            if isinstance(error, OSError) or is_environmental(error):
                raise unavailable(path, error, reading=True) from error
            raise StoreError(f"{path} cannot be brought to this release's schema: {error}") from error
        readers = ReaderPool(path, lambda: connect_reader(path, busy_timeout=chosen.busy_timeout), size=chosen.readers)
        return cls(path, writer, readers)

    @property
    def problem(self) -> str | None:
        """Why the last commit failed, for health; None since one succeeded."""
        return self._writer.problem

    async def write(self, transaction: Callable[[sqlite3.Connection], T], *, patient: bool = False) -> T:
        """Run a transaction and return its result once it is durable.

        `transaction` runs on another thread, may share its commit with others, and may be run again after a failed
        commit: beside the database it must be pure. It must not begin, commit or roll back (savepoints may nest),
        nor go on after an error of SQLite, which may have ended the transaction. What it raises comes back here, and
        nothing of it stays in the database.

        Callers are answered in the order in which they asked. A caller that is cancelled meanwhile does not stop
        its transaction. Raises `StoreUnavailable` if the database could not be written; a `patient` caller is never
        told that the outcome is unknown, but waits, for as long as it takes, until the database can be asked.
        """
        return await self._writer.write(transaction, patient=patient)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query on a read-only connection, in one snapshot that holds everything committed before.

        It must return finished values, not cursors or generators over the connection. Raises `StoreUnavailable`.
        """
        return await self._readers.read(query)

    async def wait_failed(self) -> None:
        """For the engine's task group: returns after `close()`, and raises if the writer died of a bug of its own."""
        await self._writer.wait_failed()

    async def close(self) -> None:
        """Commit what waits, then close. Shield it: a cancelled close leaves the file to the next start's recovery."""
        try:
            await self._readers.close()
        finally:
            await self._writer.close()
