"""Why something is made, or is not: the last events of partitions, and the run that was asked for last."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from freshet.definitions.names import nearest_hint
from freshet.errors import UnknownName
from freshet.store.codec import dump, load
from freshet.store.events import events_at
from freshet.store.partitions import set_id_of
from freshet.store.queries import run
from freshet.store.records import Event, RunRow

__all__ = ["LAST_OF", "Asked", "LastOf", "find_key", "history", "keys_of"]

LAST_OF = 100
"""Partitions of a dependency that the last event is looked for in, at the most."""
_NEIGHBOURS = 500
_ADDED = 50

_LAST = """
SELECT max(newest) FROM (SELECT (
    SELECT e.seq FROM events e INDEXED BY events_of
    WHERE e.asset_id = a.id AND e.partition = number.value AND e.type = kind.value ORDER BY e.seq DESC LIMIT 1
) AS newest FROM assets a CROSS JOIN json_each(?2) number CROSS JOIN json_each(?3) kind WHERE a.name = ?1)
"""
_COMING = """
SELECT e.seq FROM assets a
CROSS JOIN events e INDEXED BY events_of_set ON e.set_id = a.set_id AND e.type = 'partition_added' AND e.partition <= ?2
WHERE a.name = ?1 ORDER BY e.partition DESC, e.seq DESC LIMIT ?3
"""
_CONDITIONS = "SELECT digest, expression FROM conditions WHERE digest IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class LastOf:
    """The newest event of these types, of any of these partitions of an asset; `LAST_OF` at the most."""

    asset: str
    partitions: tuple[int, ...]
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a partition's requests. `run`: the last that makes it; `waits_for`: the steps of that run which it
    needs and which have not ended well. `conditions`: those that `run` names, as expressions by digest. `stopped`: the
    end of a chain since then. `events`: those asked for that there are."""

    run: RunRow | None
    waits_for: tuple[str, ...]
    conditions: dict[str, str]
    stopped: Event | None
    events: dict[LastOf, Event]


def history(db: sqlite3.Connection, asset: str, partition: int, wanted: Sequence[LastOf]) -> Asked:
    """What happened to a partition last, and the events asked for; each found in an index."""
    begun = _newest(db, LastOf(asset, (partition,), ("requested", "started")))
    last = None if begun is None or begun.run_id is None else run(db, begun.run_id)
    stopped = _newest(db, LastOf(asset, (partition,), ("chain_stopped",)))
    if stopped is not None and begun is not None and stopped.seq < begun.seq:
        stopped = None
    events = {one: found for one in dict.fromkeys(wanted) if (found := _newest(db, one)) is not None}
    digests = () if last is None or last.condition is None else last.condition.split()
    return Asked(
        last,
        () if last is None else _waits_for(db, last.id, asset, partition),
        dict(db.execute(_CONDITIONS, (dump(list(digests)),))),
        stopped,
        events,
    )


def _newest(db: sqlite3.Connection, wanted: LastOf) -> Event | None:
    numbers = wanted.partitions[-LAST_OF:]
    types = [kind for kind in wanted.types if kind != "partition_added"]
    (seq,) = db.execute(_LAST, (wanted.asset, dump(list(numbers)), dump(types))).fetchone()
    if "partition_added" in wanted.types and numbers:
        seq = max(seq or 0, _added(db, wanted.asset, max(numbers))) or None
    if seq is None:
        return None
    return next(iter(events_at(db, [seq])), None)


def _added(db: sqlite3.Connection, asset: str, number: int) -> int:
    """The event that added a partition, which may have added others with it: those few before are looked through."""
    seqs = [seq for (seq,) in db.execute(_COMING, (asset, number, _ADDED))]
    return max((event.seq for event in events_at(db, seqs) if number in event.numbers), default=0)


def _waits_for(db: sqlite3.Connection, run_id: int, asset: str, partition: int) -> tuple[str, ...]:
    steps = {
        position: (name, number, state, load(needs))
        for position, name, number, state, needs in db.execute(
            "SELECT position, name, partition, state, needs FROM steps WHERE run_id = ?", (run_id,)
        )
    }
    own = [one for one in steps.values() if one[0] == asset and one[1] == partition and one[2] == "queued"]
    return tuple(steps[need][0] for one in own for need in one[3] if steps[need][2] != "succeeded")


def keys_of(db: sqlite3.Connection, set: str, numbers: Sequence[int]) -> dict[int, str]:
    """The keys of those of these partitions that were ever used, by number."""
    rows = db.execute(
        """
        SELECT p.number, p.key FROM json_each(?) wanted
        CROSS JOIN partitions p ON p.set_id = ? AND p.number = wanted.value
        """,
        (dump(list(numbers)), set_id_of(db, set)),
    )
    return dict(rows)


def find_key(db: sqlite3.Connection, set: str, key: str) -> int:
    """The number of a live key. Raises `UnknownName` with the nearest."""
    set_id = set_id_of(db, set)
    row = db.execute("SELECT number, deleted_at FROM partitions WHERE set_id = ? AND key = ?", (set_id, key)).fetchone()
    if row is not None and row[1] is None:
        number: int = row[0]
        return number
    if row is not None:
        said = f"the partition {key!r} of {set!r} was deleted"
        raise UnknownName(said, hint=f"freshet partitions {set} shows those left")
    near = [
        known
        for sql in ("key < ? ORDER BY key DESC", "key > ? ORDER BY key")
        for (known,) in db.execute(
            f"SELECT key FROM partitions WHERE set_id = ? AND deleted_at IS NULL AND {sql} LIMIT {_NEIGHBOURS}",  # noqa: S608
            (set_id, key),
        )
    ]
    raise UnknownName(f"the partition set {set!r} has no key {key!r}", hint=nearest_hint(key, near))
