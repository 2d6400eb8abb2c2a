"""Which files of values are named: by an asset's state, or by what may be taken again."""

from __future__ import annotations

import sqlite3
from hashlib import blake2b

from pyroaring import BitMap

__all__ = ["Place", "named_values", "path_mark"]

_PAGE = 20_000

Place = tuple[str, int, int, str]
"""Up to where was read: the table, asset, partition and key."""

# What may be taken again comes first: when it is taken, it is named by the state before it is forgotten here.
_CACHED = """
SELECT asset_id, partition, key, value ->> 0 FROM cached WHERE (asset_id, partition, key) > (?, ?, ?)
ORDER BY asset_id, partition, key LIMIT ?
"""
_STATE = """
SELECT asset_id, partition, '', value ->> 0 FROM asset_state WHERE (asset_id, partition) > (?, ?)
ORDER BY asset_id, partition LIMIT ?
"""


def path_mark(path: str) -> int:
    """A number for a path, the same for few others: at worst a file stays that might go."""
    return int.from_bytes(blake2b(path.encode(errors="surrogateescape"), digest_size=4).digest())


def named_values(db: sqlite3.Connection, after: Place | None) -> tuple[BitMap, Place | None]:
    """The marks of some of the paths that are named, from beyond `after`; and up to where, None at the end."""
    table, asset, partition, key = after or ("cached", -1, 0, "")
    if table == "cached":
        rows = db.execute(_CACHED, (asset, partition, key, _PAGE)).fetchall()
        following: Place | None = ("asset_state", -1, 0, "")
    else:
        rows = db.execute(_STATE, (asset, partition, _PAGE)).fetchall()
        following = None
    marks = BitMap([path_mark(row[3]) for row in rows if row[3]])
    if len(rows) == _PAGE:
        following = (table, *rows[-1][:3])
    return marks, following
