"""What deleted rows leave empty goes back to the file system: in small steps, and only where that is much."""

from __future__ import annotations

import sqlite3

__all__ = ["give_back", "spare_pages"]

_INCREMENTAL = 2
_SLACK = 1_000
"""Empty pages that stay, to be filled again: 4 MB."""


def spare_pages(db: sqlite3.Connection) -> int:
    """How many empty pages there are too many: beyond a tenth of the file. 0 where the file cannot be shortened, made
    by a release that did not know how."""
    (mode,) = db.execute("PRAGMA auto_vacuum").fetchone()
    (empty,) = db.execute("PRAGMA freelist_count").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    return max(0, empty - max(_SLACK, pages // 10)) if mode == _INCREMENTAL else 0


def give_back(db: sqlite3.Connection, pages: int) -> None:
    """Shorten the file by so many empty pages, or what there is of them."""
    for _ in range(pages):
        db.execute("PRAGMA incremental_vacuum(1)")  # of any number, the driver takes the first step alone
