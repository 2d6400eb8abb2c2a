"""Names that are others now: what is remembered under the old one goes with it. See `definitions.renames`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from freshet.definitions.graph import Definitions
from freshet.definitions.renames import renames
from freshet.store.codec import dump, load

__all__ = ["carry_names", "names_to_carry", "rename", "renamed_request"]

_OPEN = "('queued', 'started', 'canceling', 'interrupted')"
_TO_CARRY = "names_to_carry"
"""Id, old and new name of assets, and up to which run history may tell of them by the old name."""
_STEPS = """
UPDATE steps SET name = ?1 || substr(name, length(?2) + 1)
WHERE (check_of = ?3 OR (asset_id = ?3 AND name = ?2)) AND substr(name, 1, length(?2)) = ?2
"""


def rename(db: sqlite3.Connection, definitions: Definitions) -> dict[str, str]:
    """Once for each: a name that nothing is remembered under, or a new one under which something is, changes nothing.
    Returns the new names of assets by the old ones. History tells of runs by the name that they have now, once
    `carry_names` has been through it; what a look in flight under the old name finds is refused."""
    renamed: dict[str, str] = {}
    for old, new in renames(definitions.assets).items():
        known = dict(db.execute("SELECT name, id FROM assets WHERE name IN (?, ?)", (old, new)))
        if known.keys() == {old}:
            db.execute("UPDATE assets SET name = ? WHERE name = ?", (new, old))
            _asset(db, known[old], old, new)
            renamed[old] = new
    if renamed:
        _backfills(db, renamed)
    _tickers(db, "sensor", renames(definitions.sensors))
    _tickers(db, "schedule", renames(definitions.schedules))
    return renamed


def names_to_carry(db: sqlite3.Connection) -> bool:
    """Whether `carry_names` has anything to do."""
    return db.execute("SELECT 1 FROM meta WHERE key = ?", (_TO_CARRY,)).fetchone() is not None


def carry_names(db: sqlite3.Connection, *, runs: int) -> bool:
    """Let so many runs more, of those that had ended when an asset got another name, tell of it by that; the newest
    first. Returns whether there are more."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (_TO_CARRY,)).fetchone()
    if row is None:
        return False
    (asset_id, old, new, upto), *others = load(row[0])
    low = max(0, upto - runs)
    db.execute(
        "UPDATE runs SET target = ? WHERE target = ? AND kind = 'asset' AND id > ? AND id <= ?", (new, old, low, upto)
    )
    db.execute(f"{_STEPS} AND run_id > ?4 AND run_id <= ?5", (new, old, asset_id, low, upto))
    return _to_carry(db, [*([[asset_id, old, new, low]] if low else []), *others])


def _to_carry(db: sqlite3.Connection, left: Sequence[object]) -> bool:
    if left:
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_TO_CARRY, dump(left)))
    else:
        db.execute("DELETE FROM meta WHERE key = ?", (_TO_CARRY,))
    return bool(left)


def _asset(db: sqlite3.Connection, asset_id: int, old: str, new: str) -> None:
    """What names it in words: those under way go on under the new name, the others are for `carry_names`."""
    db.execute(
        f"UPDATE runs SET target = ? WHERE +target = ? AND kind = 'asset' AND state IN {_OPEN}",  # noqa: S608  # constant
        (new, old),
    )
    under_way = f"{_STEPS} AND run_id IN (SELECT id FROM runs WHERE state IN {_OPEN})"  # noqa: S608  # constants
    db.execute(under_way, (new, old, asset_id))
    db.execute("UPDATE OR IGNORE run_keys SET target = ? WHERE target = ?", (new, old))
    db.execute("UPDATE pending SET target = ? WHERE target = ? AND state = 'waiting'", (new, old))
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM runs").fetchone()
    if last:
        row = db.execute("SELECT value FROM meta WHERE key = ?", (_TO_CARRY,)).fetchone()
        _to_carry(db, [*(load(row[0]) if row is not None else []), [asset_id, old, new, last]])


def _backfills(db: sqlite3.Connection, names: Mapping[str, str]) -> None:
    """Those that have not ended are about assets by their new names."""
    rows = db.execute("SELECT id, request, boxes FROM backfills WHERE state IN ('running', 'paused')").fetchall()
    for backfill_id, request, boxes in rows:
        told = renamed_request(load(request), names)
        open_boxes = [{**box, "totals": _by_name(box["totals"], names)} for box in load(boxes)]
        db.execute(
            "UPDATE backfills SET request = ?, boxes = ? WHERE id = ?", (dump(told), dump(open_boxes), backfill_id)
        )


def renamed_request(request: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What a backfill was asked for, with assets by their new names."""
    assets = [names.get(name, name) for name in request["assets"]]
    return {**request, "assets": assets, "sets": _by_name(request["sets"], names)}


def _by_name(found: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in found.items()}


def _tickers(db: sqlite3.Connection, kind: str, names: Mapping[str, str]) -> None:
    for old, new in names.items():
        known = {
            name
            for (name,) in db.execute("SELECT name FROM tickers WHERE kind = ? AND name IN (?, ?)", (kind, old, new))
        }
        if known == {old}:
            db.execute(
                "UPDATE tickers SET name = ?, revision = revision + 1 WHERE kind = ? AND name = ?", (new, kind, old)
            )
            db.execute(
                f"UPDATE runs SET origin = ? WHERE origin = ? AND state IN {_OPEN}",  # noqa: S608  # a constant
                (f"{kind}:{new}", f"{kind}:{old}"),
            )
