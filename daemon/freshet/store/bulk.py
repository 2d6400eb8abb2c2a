"""Many rows in one statement: SQLite then works through them without asking for Python's lock between two rows, so
that the event loop goes on meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

__all__ = ["insert_rows"]

_CHUNK = 50
"""Rows a statement: of thirty columns at the most, they stay far below the number of parameters SQLite takes."""


def insert_rows(db: sqlite3.Connection, into: str, row: str, rows: Sequence[Sequence[Any]]) -> None:
    """As `executemany(f"{into} VALUES {row}", rows)`. `row`: the places of one, `(?, ?)`; every row is as long."""
    whole = len(rows) - len(rows) % _CHUNK
    for start in range(0, whole, _CHUNK):
        db.execute(_statement(into, row), tuple(chain.from_iterable(rows[start : start + _CHUNK])))
    if whole < len(rows):
        db.executemany(f"{into} VALUES {row}", rows[whole:])


@lru_cache(maxsize=32)
def _statement(into: str, row: str) -> str:
    return f"{into} VALUES {', '.join([row] * _CHUNK)}"
