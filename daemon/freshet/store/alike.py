"""Many rows that are alike: what all of them share is bound once, only what differs row by row."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

__all__ = ["insert_alike"]

_CHUNK = 50
"""Rows a statement: of thirty columns at the most, they stay far below the number of parameters SQLite takes."""


def insert_alike(db: sqlite3.Connection, into: str, row: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """As `executemany(f"{into} VALUES {row}", rows)`, where 1 and 1.0 and True may stand for each other. `row`: the
    places of one, `(?, ?)`; every row is as long.

    Some rows a statement, so that SQLite works through them without asking for Python's lock between two of them.
    """
    whole = len(rows) - len(rows) % _CHUNK
    if whole:
        columns = list(zip(*rows[:whole], strict=True))
        varying = tuple(place for place, column in enumerate(columns) if column.count(column[0]) != whole)
        shared = tuple(column[0] for place, column in enumerate(columns) if place not in varying)
        differing = list(zip(*(columns[place] for place in varying), strict=True))
        statement = _statement(into, row, varying)
        for start in range(0, whole, _CHUNK):
            db.execute(statement, (*shared, *chain.from_iterable(differing[start : start + _CHUNK])))
    if whole < len(rows):
        db.executemany(f"{into} VALUES {row}", rows[whole:])


@lru_cache(maxsize=64)
def _statement(into: str, row: str, varying: tuple[int, ...]) -> str:
    """Numbered parameters: those that are shared come first."""
    pieces = row.split("?")
    width = len(pieces) - 1
    shared = [place for place in range(width) if place not in varying]
    rows: list[str] = []
    for index in range(_CHUNK):
        first = len(shared) + index * len(varying) + 1
        number = {place: 1 + at for at, place in enumerate(shared)}
        number |= {place: first + at for at, place in enumerate(varying)}
        rows.append("".join(f"{piece}?{number[place]}" for place, piece in enumerate(pieces[:-1])) + pieces[-1])
    return f"{into} VALUES {', '.join(rows)}"
