"""The values that a step takes: which references, and which keys have none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from pyroaring import BitMap

from freshet.store.checks import held_numbers
from freshet.store.codec import dump, load_value
from freshet.store.records import InputNeed, ValueRef

__all__ = ["Inputs", "gather_inputs", "partition_keys", "read_inputs"]

_DENSE = 8
"""One of so many numbers chosen: what lies between is read too, rather than each looked up."""
_PIECE = 10_000

Inputs = tuple[dict[str, dict[str | None, ValueRef]], dict[str, tuple[str | None, ...]], tuple[str, ...]]
"""By upstream: the values by key, the keys without one; and the upstreams left to `read_inputs`."""

_SINGLE = """
SELECT s.value FROM assets a JOIN asset_state s ON s.asset_id = a.id AND s.partition = 0 WHERE a.name = ?
"""
_SAME_KEY = """
SELECT s.value FROM assets a
JOIN partitions p ON p.set_id = a.set_id AND p.number = ?2 AND p.deleted_at IS NULL
JOIN asset_state s ON s.asset_id = a.id AND s.partition = p.number WHERE a.name = ?1
"""
_LAST = """
SELECT p.key, s.value FROM partition_sets ps
JOIN partitions p ON p.set_id = ps.id AND p.number = CASE ps.kind WHEN 'dynamic'
    THEN (SELECT number FROM (
        SELECT max(q.number) AS number, max(q.number) AS behind, NULL AS again FROM partitions q
        WHERE q.set_id = ps.id AND q.deleted_at IS NULL AND q.again IS NULL
        UNION ALL SELECT * FROM (SELECT q.number, q.behind, q.again FROM partitions q
        WHERE q.set_id = ps.id AND q.deleted_at IS NULL AND q.again IS NOT NULL
        ORDER BY q.behind DESC, q.again DESC, q.number DESC LIMIT 1)
    ) WHERE number IS NOT NULL ORDER BY behind DESC, again DESC LIMIT 1)
    ELSE (SELECT max(q.number) FROM partitions q WHERE q.set_id = ps.id AND q.deleted_at IS NULL) END
LEFT JOIN asset_state s ON s.asset_id = (SELECT id FROM assets WHERE name = ?1) AND s.partition = p.number
WHERE ps.name = ?2
"""
"""A key that comes back keeps its number: of dynamic keys the last is told by the order in which they were added,
whatever the clock said then."""


def gather_inputs(db: sqlite3.Connection, needs: Sequence[InputNeed], partition: int, key: str | None) -> Inputs:
    """What a step of this partition takes from each upstream, as it stands now; upstreams of which it may take many
    partitions, and those whose partitions only the engine can name, are left to `read_inputs`."""
    inputs: dict[str, dict[str | None, ValueRef]] = {}
    missing: dict[str, tuple[str | None, ...]] = {}
    bulk: list[str] = []
    for need in needs:
        if need.mapping in ("all", "some"):
            bulk.append(need.asset)
            continue
        found: str | None = None
        if need.mapping == "last":
            row = db.execute(_LAST, (need.asset, need.set)).fetchone()
            if row is None:  # the set is empty: nothing is there, and nothing is missing
                inputs[need.asset], missing[need.asset] = {}, ()
                continue
            found, text = row
        else:
            found = None if need.set is None else key
            single = need.set is None
            row = db.execute(*((_SINGLE, (need.asset,)) if single else (_SAME_KEY, (need.asset, partition)))).fetchone()
            text = None if row is None else row[0]
        ref = load_value(text)
        inputs[need.asset] = {} if ref is None else {found: ref}
        missing[need.asset] = (found,) if ref is None else ()
    return inputs, missing, tuple(bulk)


def read_inputs(
    db: sqlite3.Connection, asset: str, set: str, numbers: BitMap, *, held: bool = False
) -> tuple[dict[str | None, ValueRef], BitMap]:
    """The values of an upstream's partitions by key, in the order of their numbers, and the numbers without one. What
    its blocking checks hold back counts as without one, unless `held`."""
    values: dict[str | None, ValueRef] = {}
    missing = numbers.copy()
    back = BitMap() if held else numbers & held_numbers(db, asset)
    for number, key, text in _rows(db, asset, set, numbers):
        ref = load_value(text)
        if ref is not None and number in missing and number not in back:
            values[key] = ref
            missing.discard(number)
    return values, missing


_VALUE = "s.asset_id = (SELECT id FROM assets WHERE name = ?1)"
_KEY = "p.set_id = (SELECT id FROM partition_sets WHERE name = ?2)"


def _rows(db: sqlite3.Connection, asset: str, set: str, numbers: BitMap) -> Iterator[tuple[int, str, str | None]]:
    """Those of a dense choice lie between its ends; those of a thin one are looked up."""
    if not numbers:
        return
    first, last = numbers.min(), numbers.max()
    if len(numbers) * _DENSE >= last - first:
        yield from db.execute(
            f"""
            SELECT s.partition, p.key, s.value FROM asset_state s CROSS JOIN partitions p
                ON {_KEY} AND p.number = s.partition
            WHERE {_VALUE} AND s.partition BETWEEN ?3 AND ?4 AND p.deleted_at IS NULL ORDER BY s.partition
            """,  # noqa: S608  # constants
            (asset, set, first, last),
        )
        return
    wanted = list(numbers)
    for start in range(0, len(wanted), _PIECE):
        yield from db.execute(
            f"""
            SELECT s.partition, p.key, s.value FROM json_each(?3) wanted
            CROSS JOIN asset_state s ON {_VALUE} AND s.partition = wanted.value
            CROSS JOIN partitions p ON {_KEY} AND p.number = wanted.value
            WHERE p.deleted_at IS NULL ORDER BY wanted.key
            """,  # noqa: S608  # constants
            (asset, set, dump(wanted[start : start + _PIECE])),
        )


def partition_keys(db: sqlite3.Connection, set: str, numbers: Iterable[int]) -> dict[int, str]:
    """The keys of partitions that the store has numbered, deleted ones too, in the order asked."""
    return dict(
        db.execute(
            f"SELECT p.number, p.key FROM json_each(?1) wanted CROSS JOIN partitions p "  # noqa: S608  # a constant
            f"ON {_KEY} AND p.number = wanted.value ORDER BY wanted.key",
            (dump(list(numbers)), set),
        )
    )
