"""A store that nobody will miss, for a simulation: the same transactions on the same schema, on the caller's thread.

Nothing is durable and nothing waits: each transaction is done when `write` returns. So the order of everything follows
from the order of the calls, and a write costs what its SQL costs: all of them are savepoints of one transaction, which
never commits.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from freshet.errors import StoreError
from freshet.store.faults import is_environmental
from freshet.store.migrations import load_migrations, migrate
from freshet.store.records.schedules import ScheduleCommit
from freshet.store.store import Store

__all__ = ["Decided", "NewRun", "ThrowawayStore", "decided", "key_of_partition", "last_run", "new_runs", "ticker_names"]

T = TypeVar("T")

Watch = Callable[[Callable[[sqlite3.Connection], object], object], None]
"""Told each transaction that has committed, with its result."""

_PRAGMAS = (
    "PRAGMA synchronous = OFF",
    "PRAGMA journal_mode = MEMORY",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA foreign_keys = ON",
    "PRAGMA recursive_triggers = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -65536",
)


class ThrowawayStore(Store):
    """Make one with `ThrowawayStore.create(path, now=...)`: a new file, or a copy that nobody else has open."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self._db = db
        db.execute("BEGIN IMMEDIATE")
        self.watch: Watch | None = None

    @classmethod
    def create(cls, path: Path, *, now: float) -> ThrowawayStore:
        """Open or make the database file and bring it to this release's schema. Raises `StoreError`."""
        try:
            db = sqlite3.connect(path, isolation_level=None, cached_statements=512)
            try:
                for pragma in _PRAGMAS:
                    db.execute(pragma)
                migrate(db, path, load_migrations(), now=now)
            except BaseException:
                db.close()
                raise
            return cls(path, db)
        except (sqlite3.Error, OSError) as error:
            raise _failed(error) from error

    @property
    def problem(self) -> str | None:
        """A commit that fails ends the simulation."""
        return None

    async def write(self, transaction: Callable[[sqlite3.Connection], T], *, patient: bool = False) -> T:
        """Run a transaction, now. Raises what it raises, and then nothing of it stays; `StoreError` where the disk is
        full."""
        try:
            self._db.execute("SAVEPOINT caller")
            try:
                result = transaction(self._db)
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK TO caller")
                    self._db.execute("RELEASE caller")
                raise
            self._db.execute("RELEASE caller")
        except (sqlite3.Error, MemoryError) as error:
            if is_environmental(error):
                raise _failed(error) from error
            raise
        if self.watch is not None:
            self.watch(transaction, result)
        return result

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query, now."""
        return query(self._db)

    def ask(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """`read`, for who cannot wait."""
        return query(self._db)

    async def wait_failed(self) -> None:
        """There is no writer that could fail."""

    async def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()


def _failed(cause: BaseException | None) -> StoreError:
    return StoreError(
        f"the database of the simulation failed: {cause}",
        hint="it is in the folder for temporary files (TMPDIR): is there room?",
    )


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of an instant of a schedule; of a range from `nominal` to `until` where `count` were skipped."""

    nominal: float
    until: float
    count: int
    status: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that was admitted: `state` is "started" where its first step began at once."""

    id: int
    kind: str
    target: str
    set: str | None
    partition: int
    state: str
    origin: str


def new_runs(db: sqlite3.Connection, after: int) -> list[NewRun]:
    """Runs with a larger id than `after`, in order."""
    rows = db.execute(
        """
        SELECT r.id, r.kind, r.target, s.name, r.partition, r.state, r.origin
        FROM runs r LEFT JOIN partition_sets s ON s.id = r.set_id WHERE r.id > ? ORDER BY r.id
        """,
        (after,),
    )
    return [NewRun(*row) for row in rows]


def last_run(db: sqlite3.Connection) -> int:
    """The id of the last run; 0 before the first."""
    found: int = db.execute("SELECT coalesce(max(id), 0) FROM runs").fetchone()[0]
    return found


def key_of_partition(db: sqlite3.Connection, set: str, number: int) -> str | None:
    """A partition's key; None where it has no row (a window of time that nothing has used)."""
    row = db.execute(
        "SELECT p.key FROM partition_sets s JOIN partitions p ON p.set_id = s.id AND p.number = ? WHERE s.name = ?",
        (number, set),
    ).fetchone()
    return None if row is None else row[0]


def ticker_names(db: sqlite3.Connection) -> dict[int, str]:
    """All tickers by id."""
    return dict(db.execute("SELECT id, name FROM tickers"))


def decided(db: sqlite3.Connection, commit: ScheduleCommit) -> list[Decided]:
    """The rows that a commit of a schedule has left, in order of time."""
    firsts = [*commit.fired[:1], *(one.first for one in commit.skipped[:1])]
    if not firsts:
        return []
    rows = db.execute(
        """
        SELECT nominal, until, count, status, reason FROM schedule_ticks
        WHERE ticker_id = ? AND version = ? AND nominal >= ? AND tick_id = ? ORDER BY nominal
        """,
        (commit.ticker, commit.version, min(firsts), commit.tick_id),
    )
    return [Decided(*row) for row in rows]
