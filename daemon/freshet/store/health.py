"""Whether a database is well, looked at from outside, also while a daemon works on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from freshet.store.copying import last_moment, read_only
from freshet.store.migrations import load_migrations, schema_of

__all__ = ["DatabaseHealth", "database_health"]


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """`problems`: what `quick_check` found, nothing where all is well. `schema`: as it is; `newest`: this release's.
    `shrinks`: whether empty pages go back to the file system. `size`, `empty`: bytes. `last`: when the last event
    happened, in epoch seconds."""

    problems: tuple[str, ...]
    schema: int
    newest: int
    shrinks: bool
    size: int
    empty: int
    last: float | None


def database_health(path: Path) -> DatabaseHealth:
    """Look through the file. Raises `StoreError` where it cannot be read or is another's, `SchemaTooNew`."""
    known = load_migrations()
    with read_only(path) as db:
        schema = schema_of(db, path, known)
        found = [str(row[0]) for row in db.execute("PRAGMA quick_check(5)")]
        (mode,) = db.execute("PRAGMA auto_vacuum").fetchone()
        (page,) = db.execute("PRAGMA page_size").fetchone()
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        (empty,) = db.execute("PRAGMA freelist_count").fetchone()
        return DatabaseHealth(
            problems=() if found == ["ok"] else tuple(found),
            schema=schema,
            newest=known[-1].number,
            shrinks=mode != 0,
            size=page * pages,
            empty=page * empty,
            last=last_moment(db),
        )
