"""A copy of the database from which a daemon can go on: made while another works on it, proved before it is trusted.

It is made by VACUUM INTO: one snapshot, read once, however much is written meanwhile. (SQLite's backup in steps begins
anew whenever another process writes; under load it would never end.) The writer is not held; its log grows until the
copy is done.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from freshet.errors import StoreError
from freshet.store.codec import load_value
from freshet.store.copying import read_only
from freshet.store.migrations import load_migrations, schema_of

__all__ = ["Proved", "copy_whole", "named_paths", "prove", "sync_folder"]


@dataclass(frozen=True, slots=True)
class Proved:
    """A database that is whole: its schema, bytes, and the numbers of the last event and run."""

    schema: int
    size: int
    last_event: int
    last_run: int


def copy_whole(source: Path, target: Path) -> None:
    """Write a consistent copy of the database to `target`, which is not there yet; durable on return.

    It gives empty pages back from then on, also where the source cannot. Raises `StoreError`.
    """
    with read_only(source) as db:
        db.execute("PRAGMA query_only = OFF")
        if db.execute("PRAGMA auto_vacuum").fetchone() != (2,):  # where it is, to say so again would be to write
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("VACUUM INTO ?", (str(target),))
    with target.open("rb") as file:
        os.fsync(file.fileno())
    target.chmod(0o600)


def prove(path: Path) -> Proved:
    """Look through the whole file. Raises `StoreError` naming what is wrong, `SchemaTooNew` for a later release's."""
    with _as_it_is(path) as db:
        schema = schema_of(db, path, load_migrations())
        found = [row[0] for row in db.execute("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise StoreError(f"{path} is damaged: {'; '.join(found)}", hint="take another backup")
        if (broken := db.execute("PRAGMA foreign_key_check").fetchone()) is not None:
            raise StoreError(f"{path} has rows of {broken[0]} that point nowhere", hint="take another backup")
        last = dict(db.execute("SELECT name, seq FROM sqlite_sequence"))
    return Proved(schema, path.stat().st_size, last.get("events", 0), last.get("runs", 0))


def named_paths(path: Path) -> Iterator[str]:
    """The values that a copy names, relative to the folder of values: those in a store of their own left out."""
    with _as_it_is(path) as db:
        for (text,) in db.execute(
            """
            SELECT value FROM asset_state WHERE value IS NOT NULL
            UNION SELECT value FROM cached WHERE value IS NOT NULL
            """
        ):
            ref = load_value(text)
            if ref is not None and ref.path and ":" not in ref.io:
                yield ref.path


def sync_folder(folder: Path) -> None:
    """Names in it are durable on return."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _as_it_is(path: Path) -> Generator[sqlite3.Connection]:
    """A file that nobody works on."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            yield db
    except sqlite3.Error as error:
        raise StoreError(
            f"{path} cannot be read: {error}", hint="is it a backup of Freshet, and may this user read it?"
        ) from error
