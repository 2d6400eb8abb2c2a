"""The schema, by numbered SQL files: `migrations/NNNN_name.sql`.

Each is applied in one transaction with the row that records it. An existing database is copied aside first. What was
released never changes, and the checksum in its record holds it to that.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from freshet.errors import SchemaTooNew, StoreError

__all__ = ["Migration", "load_migrations", "migrate", "schema_of", "statements"]

_FILE = re.compile(r"(\d{4})_(\w+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Of its text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations() -> tuple[Migration, ...]:
    """All that this release knows, in order."""
    folder = resources.files("freshet.store").joinpath("migrations")
    found = [
        Migration(int(match[1]), match[2], file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if (match := _FILE.fullmatch(file.name))
    ]
    return tuple(sorted(found, key=lambda migration: migration.number))


def migrate(db: sqlite3.Connection, path: Path, known: Sequence[Migration], *, now: float) -> tuple[int, ...]:
    """Bring the database up to the last of `known`; returns the numbers applied.

    Raises `SchemaTooNew` for a database of a later release, `StoreError` for one that is not Freshet's or whose
    recorded migrations differ from `known`. An error in the middle of a migration leaves the database as before it.
    """
    applied = _applied(db, path)
    _check(applied, known, path)
    pending = [migration for migration in known if migration.number not in applied]
    if pending and applied:
        _back_up(db, path, max(applied))
    for migration in pending:
        _apply(db, migration, now)
    return tuple(migration.number for migration in pending)


def schema_of(db: sqlite3.Connection, path: Path, known: Sequence[Migration]) -> int:
    """The number of the last migration that was applied. Raises `SchemaTooNew` for a database of a later release,
    `StoreError` for one that is not Freshet's, or whose recorded migrations differ from `known`."""
    applied = _applied(db, path)
    if not applied:
        raise StoreError(f"{path} is no database of Freshet", hint="name the one that freshet.db was copied to")
    _check(applied, known, path)
    return max(applied)


def statements(sql: str) -> Iterator[str]:
    """The single statements of a script. (`executescript` would commit on its own.)"""
    text = ""
    for line in sql.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text.strip()
            text = ""
    rest = "".join(line for line in text.splitlines() if not line.strip().startswith("--"))
    if rest.strip():
        raise StoreError(f"a migration ends within a statement: {rest.strip()[:80]!r}", hint="end it with ;")


def _applied(db: sqlite3.Connection, path: Path) -> dict[int, str]:
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return {}
    if "migrations" not in tables:
        raise StoreError(f"{path} is a database of something else", hint="let state_dir name a folder of its own")
    return dict(db.execute("SELECT number, checksum FROM migrations"))


def _check(applied: dict[int, str], known: Sequence[Migration], path: Path) -> None:
    newest = known[-1].number if known else 0
    if applied and max(applied) > newest:
        raise SchemaTooNew(
            f"{path} has schema {max(applied)}, this Freshet knows {newest}",
            hint="start the later release that wrote it, or put its backup from before the upgrade in place",
        )
    for migration in known:
        checksum = applied.get(migration.number)
        if checksum is not None and checksum != migration.checksum:
            raise StoreError(
                f"{path}: migration {migration.number:04d}_{migration.name} was applied in another form",
                hint="start the release that wrote it; a database of an unreleased version must be made anew",
            )


def _apply(db: sqlite3.Connection, migration: Migration, now: float) -> None:
    # Tables are rebuilt by copying, which only works with the constraint off; it is checked as a whole before COMMIT.
    db.execute("PRAGMA foreign_keys = OFF")
    try:
        db.execute("BEGIN IMMEDIATE")
        for statement in statements(migration.sql):
            db.execute(statement)
        db.execute(
            "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
            (migration.number, migration.name, migration.checksum, now),
        )
        broken = db.execute("PRAGMA foreign_key_check").fetchone()
        if broken is not None:
            raise StoreError(f"migration {migration.number:04d} leaves rows of {broken[0]} pointing nowhere")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
        db.execute("PRAGMA foreign_keys = ON")


def _back_up(db: sqlite3.Connection, path: Path, schema: int) -> None:
    """Copy the database to `NAME.schema-N`, complete or not at all."""
    target = path.with_name(f"{path.name}.schema-{schema:04d}")
    partial = target.with_name(f"{target.name}.part")
    partial.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(partial)) as copy:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
