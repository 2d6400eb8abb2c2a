"""A database that may be in use, read and copied from outside without touching it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from freshet.errors import StoreError

__all__ = ["copy_database", "last_moment", "read_only", "step_durations"]

_BUSY_TIMEOUT = 5.0
_RECENT = 500
"""The steps of one name whose median is taken: the last ones."""


@contextmanager
def read_only(path: Path) -> Generator[sqlite3.Connection]:
    """The database at `path`, also while a daemon works on it. Raises `StoreError` where it cannot be read.

    Where no write-ahead log lies beside it, nobody has it open, and it is read as a file that does not change: SQLite
    would make a log to be able to read it, perhaps one that the daemon's user may not write.
    """
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=_BUSY_TIMEOUT)
        ) as db:
            db.execute("PRAGMA query_only = ON")
            yield db
    except sqlite3.Error as error:
        raise StoreError(
            f"{path} cannot be read: {error}", hint="is it a database of Freshet, and may this user read it?"
        ) from error


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy, with SQLite's backup. Raises `StoreError`."""
    with read_only(source) as db, contextlib.closing(sqlite3.connect(target)) as copy:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")


def step_durations(db: sqlite3.Connection) -> dict[str, float]:
    """By name of asset or job: the median of the seconds that its last succeeded steps took."""
    return dict(
        db.execute(
            """
            WITH took AS (
                SELECT name, ended_at - started_at AS seconds,
                    row_number() OVER (PARTITION BY name ORDER BY run_id DESC) AS latest
                FROM steps WHERE state = 'succeeded' AND ended_at >= started_at
            ), ranked AS (
                SELECT name, seconds, row_number() OVER (PARTITION BY name ORDER BY seconds) AS place,
                    count(*) OVER (PARTITION BY name) AS many
                FROM took WHERE latest <= ?
            )
            SELECT name, avg(seconds) FROM ranked WHERE place IN ((many + 1) / 2, (many + 2) / 2) GROUP BY name
            """,
            (_RECENT,),
        )
    )


def last_moment(db: sqlite3.Connection) -> float | None:
    """When the last event happened; None where nothing ever did."""
    row = db.execute("SELECT at FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return None if row is None else row[0]
