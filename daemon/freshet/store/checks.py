"""What checks found: the last result of each, and which partitions their blocking ones hold back.

A partition is held from when it is made by a run that has blocking checks of it, until all of them have passed for
what was made: those below it are told of the update then, and not before. A failure holds it too, whenever it comes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyroaring import BitMap

from freshet.definitions.check import check_step
from freshet.definitions.outcome import Json
from freshet.store.codec import dump, dump_optional, load, load_optional
from freshet.store.ending import ACTIVE, is_current, set_of
from freshet.store.events import EventLog
from freshet.store.interning import intern
from freshet.store.records import CheckedBits, CheckEnd, Event, ImportedCheck, PartitionRef, StepResult

__all__ = [
    "CheckSummary",
    "Checked",
    "ShutGate",
    "awaits_checks",
    "check_ended",
    "check_summaries",
    "checked_bits",
    "gates_shut",
    "held_numbers",
    "record_checks",
    "write_check",
]


CURRENT = """
((c.partition = 0 AND a.set_id IS NOT NULL) OR c.of_seq IS (
    SELECT s.materialized_seq FROM asset_state s WHERE s.asset_id = c.asset_id AND s.partition = c.partition))
"""
"""Of results `c` of assets `a`: those of what is there now; a check of the whole is of whatever is."""


_RESULT = """
SELECT c.passed, c.severity, c.at, c.run_id, p.key, c.metadata, c.error FROM assets a
JOIN check_results c ON c.asset_id = a.id LEFT JOIN partitions p ON p.set_id = a.set_id AND p.number = c.partition
WHERE a.name = ? AND c.name = ? AND p.deleted_at IS NULL
"""
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Checked:
    """A result to be written. `began`: when the check read what it looked at. `gates`: the names of the asset's
    blocking checks. `error`: why it could not say."""

    asset_id: int
    asset: str
    name: str
    partition: int
    end: CheckEnd
    began: float
    gates: tuple[str, ...] = ()
    metadata: dict[str, Json] = field(default_factory=dict[str, Json])
    error: Json = None
    run_id: int | None = None
    source: str | None = None


def check_ended(db: sqlite3.Connection, log: EventLog, result: StepResult) -> bool:
    """Write what the step of a check found; returns whether that stops what waits for it. Of any other step, and of a
    partition that is not there any more, nothing is written."""
    row = db.execute(
        """
        SELECT a.id, a.name, s.name, s.partition, coalesce(s.started_at, ?3) FROM steps s
        JOIN assets a ON a.id = s.check_of WHERE s.run_id = ?1 AND s.position = ?2
        """,
        (result.run_id, result.position, result.at),
    ).fetchone()
    if row is None:
        return False
    end = result.check or CheckEnd(passed=False, blocking=row[2].partition(".")[2] in result.gates)
    if row[3] and not is_current(db, result.run_id, result.position):
        return end.stops
    write_check(
        db,
        log,
        Checked(
            asset_id=row[0],
            asset=row[1],
            name=row[2].partition(".")[2],
            partition=row[3],
            end=end,
            began=row[4],
            gates=result.gates,
            metadata=result.metadata,
            error=None if result.check is not None else result.error,
            run_id=result.run_id,
        ),
    )
    return end.stops


def write_check(db: sqlite3.Connection, log: EventLog, found: Checked) -> None:
    """Put a result in the place of the one before, and its `check_passed` or `check_failed` into the log.

    The event's data: `check`, `severity`, `blocking`, `metadata`, `error`, `source`; `stale` (True: what was looked at
    has been made anew since, so that nothing follows from it); `held` (True: what is downstream is stopped);
    `cleared` (True: it was, and is no more), then with `same` if those below know this data already.
    """
    place = (found.asset_id, found.partition)
    row = db.execute(
        "SELECT materialized_seq, materialized_at, held FROM asset_state WHERE asset_id = ? AND partition = ?", place
    ).fetchone()
    of_seq, made_at, held = row if row is not None else (None, None, 0)
    data: dict[str, Any] = {"check": found.name, "severity": found.end.severity, "blocking": found.end.blocking}
    data |= {"metadata": found.metadata} if found.metadata else {}
    data |= {"error": _brief(found.error)} if found.error is not None else {}
    data |= {"source": found.source} if found.source is not None else {}
    seq = log.add(
        "check_passed" if found.end.passed else "check_failed",
        asset=found.asset,
        set=set_of(db, *place),
        partition=found.partition,
        run_id=found.run_id,
        data=data,  # the event is written when the transaction is whole
    )
    if made_at is not None and made_at > found.began:
        data["stale"] = True
        return
    db.execute(
        """
        INSERT OR REPLACE INTO check_results (asset_id, name, partition, passed, severity, blocking, of_seq, seq, at,
            run_id, metadata, error, source) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            *(found.asset_id, found.name, found.partition, found.end.passed, found.end.severity, found.end.blocking),
            *(of_seq, seq, log.at, found.run_id),
            *(dump_optional(found.metadata or None), dump_optional(found.error), found.source),
        ),
    )
    if found.end.stops and of_seq is not None:
        db.execute("UPDATE asset_state SET held = 2 WHERE asset_id = ? AND partition = ? AND held = 0", place)
        data["held"] = True
    elif held and not _waits(db, place, of_seq, found.gates):
        db.execute("UPDATE asset_state SET held = 0 WHERE asset_id = ? AND partition = ?", place)
        data |= {"cleared": True, "same": True} if held == 2 else {"cleared": True}


def _brief(error: Any) -> Json:
    """Without its traceback, which the step has."""
    return {"type": error.get("type"), "message": error.get("message")}


def _waits(db: sqlite3.Connection, place: tuple[int, int], of_seq: int | None, gates: Iterable[str]) -> bool:
    """Whether a blocking check has not let through what was made."""
    through = {
        name
        for (name,) in db.execute(
            """
            SELECT name FROM check_results WHERE asset_id = ? AND partition = ? AND of_seq IS ?
            AND (passed OR severity = 'warn')
            """,
            (*place, of_seq),
        )
    }
    return not through.issuperset(gates)


def awaits_checks(db: sqlite3.Connection, result: StepResult, asset: str, asset_id: int, partition: int) -> bool:
    """Whether blocking checks of what a step has made are still to come in its run."""
    names = [check_step(asset, name) for name in result.gates]
    row = db.execute(
        f"""
        SELECT 1 FROM steps WHERE run_id = ? AND check_of = ? AND partition = ? AND state IN {ACTIVE}
        AND name IN (SELECT value FROM json_each(?)) LIMIT 1
        """,  # noqa: S608  # a constant
        (result.run_id, asset_id, partition, dump(names)),
    ).fetchone()
    return row is not None


@dataclass(frozen=True, slots=True)
class ShutGate:
    """A blocking check that has not let through what was made: it failed, at `at` in `run_id`; or it has not looked at
    it, and a step of the run `run_id` is to, or none."""

    check: str
    failed: bool
    at: float | None
    run_id: int | None


def gates_shut(db: sqlite3.Connection, asset: str, partition: int, names: Sequence[str]) -> tuple[ShutGate, ...]:
    """Of these blocking checks, those that hold a partition; none where nothing holds it."""
    row = db.execute(
        """
        SELECT s.asset_id, s.materialized_seq FROM assets a
        JOIN asset_state s ON s.asset_id = a.id AND s.partition = ? WHERE a.name = ? AND s.held > 0
        """,
        (partition, asset),
    ).fetchone()
    if row is None:
        return ()
    asset_id, of_seq = row
    found: list[ShutGate] = []
    for name in names:
        told = db.execute(
            """
            SELECT passed OR severity = 'warn', at, run_id FROM check_results
            WHERE asset_id = ? AND name = ? AND partition = ? AND of_seq IS ?
            """,
            (asset_id, name, partition, of_seq),
        ).fetchone()
        coming = db.execute(
            f"""
            SELECT max(run_id) FROM steps WHERE check_of = ? AND partition = ? AND name = ? AND state IN {ACTIVE}
            """,  # noqa: S608  # a constant
            (asset_id, partition, check_step(asset, name)),
        ).fetchone()[0]
        if coming is not None or told is None:
            found.append(ShutGate(name, False, None, coming))
        elif not told[0]:
            found.append(ShutGate(name, True, told[1], told[2]))
    return tuple(found)


def held_numbers(db: sqlite3.Connection, asset: str) -> BitMap:
    """The partitions of an asset that its blocking checks hold back."""
    rows = db.execute(
        """
        SELECT partition FROM asset_state INDEXED BY asset_state_held
        WHERE asset_id = (SELECT id FROM assets WHERE name = ?) AND held > 0
        """,
        (asset,),
    )
    return BitMap([number for (number,) in rows])


def checked_bits(db: sqlite3.Connection) -> dict[str, CheckedBits]:
    """By asset, what its checks say of its partitions as they are now; deleted ones too."""
    held = dict[str, BitMap]()
    for asset, partition in db.execute(
        """
        SELECT a.name, s.partition FROM asset_state s INDEXED BY asset_state_held
        JOIN assets a ON a.id = s.asset_id WHERE s.held > 0
        """
    ):
        held.setdefault(asset, BitMap()).add(partition)
    results = dict[str, dict[str, tuple[BitMap, BitMap]]]()
    for asset, name, passed, numbers in db.execute(
        f"""
        SELECT a.name, c.name, c.passed, json_group_array(c.partition) FROM check_results c
        JOIN assets a ON a.id = c.asset_id WHERE {CURRENT} GROUP BY c.asset_id, c.name, c.passed
        """  # noqa: S608  # a constant
    ):
        one = results.setdefault(asset, {}).setdefault(name, (BitMap(), BitMap()))
        one[0 if passed else 1].update(load(numbers))
    return {name: CheckedBits(held.get(name, BitMap()), results.get(name, {})) for name in {*held, *results}}


def record_checks(
    db: sqlite3.Connection, results: Sequence[tuple[ImportedCheck, PartitionRef | None]], now: float
) -> tuple[Event, ...]:
    """Write results from elsewhere, each of what is there now. Raises `UnknownName` for a key that its set does not
    have."""
    log = EventLog(db, now)
    places = intern(db, log, (at for _, at in results if at is not None), now)
    for one, at in results:
        (asset_id,) = db.execute("SELECT id FROM assets WHERE name = ?", (one.asset,)).fetchone()
        source = one.name.partition(":")[0]
        number, end = 0 if at is None else places[at].number, CheckEnd(one.passed, one.severity)
        write_check(
            db, log, Checked(asset_id, one.asset, one.name, number, end, now, metadata=one.metadata, source=source)
        )
    return log.write()


@dataclass(frozen=True, slots=True)
class CheckSummary:
    """What a check found, over the partitions as they are now. The `last` result: `passed`, `severity`, `at`, `run_id`,
    the partition's `key`, `metadata` and `error`. `failing`: some of the keys of which it failed."""

    name: str
    passed: int
    failed: int
    last: dict[str, Json]
    failing: tuple[str, ...]


def check_summaries(db: sqlite3.Connection, asset: str) -> tuple[CheckSummary, ...]:
    """Of an asset's checks that have run, by name. What is of data made anew since is left out of the counts."""
    found: list[CheckSummary] = []
    rows = db.execute(
        f"""
        SELECT c.name, total(c.passed AND {CURRENT}), total(NOT c.passed AND {CURRENT}), max(c.seq)
        FROM assets a JOIN check_results c ON c.asset_id = a.id
        LEFT JOIN partitions p ON p.set_id = a.set_id AND p.number = c.partition
        WHERE a.name = ? AND p.deleted_at IS NULL GROUP BY c.name ORDER BY c.name
        """,  # noqa: S608  # a constant
        (asset,),
    ).fetchall()
    for name, passed, failed, seq in rows:
        last = db.execute(f"{_RESULT} AND c.seq = ?", (asset, name, seq)).fetchone()
        failing = db.execute(f"{_RESULT} AND NOT c.passed AND {CURRENT} LIMIT ?", (asset, name, _SHOWN)).fetchall()
        fields = ("passed", "severity", "at", "run_id", "key", "metadata", "error")
        told: dict[str, Json] = dict(
            zip(fields, (bool(last[0]), *last[1:5], *map(load_optional, last[5:])), strict=True)
        )
        found.append(CheckSummary(name, int(passed), int(failed), told, tuple(row[4] for row in failing if row[4])))
    return tuple(found)
