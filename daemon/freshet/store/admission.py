"""Runs, admitted: run keys claimed, rows written, and the first steps committed as already started."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from freshet.definitions.names import nearest_hint
from freshet.errors import UnknownName
from freshet.store.alike import insert_alike
from freshet.store.chains import max_chain
from freshet.store.codec import dump
from freshet.store.events import EventLog
from freshet.store.giving_way import GivingWay
from freshet.store.inputs import gather_inputs
from freshet.store.interning import intern
from freshet.store.partitions import metadata_of, partitions_of, set_id_of
from freshet.store.records import (
    Admission,
    Admitted,
    DroppedRequest,
    InputNeed,
    PartitionRef,
    RunToAdmit,
    StepToAdmit,
    StepToRun,
)

__all__ = ["Admitting", "admit", "admit_into", "resolve"]

_RUN = """INSERT INTO runs (id, kind, target, set_id, partition, generation, state, priority, params, tags, run_key,
origin, ticker_id, tick_id, version, created_at, started_at, overlap, depth, condition)"""
_MAKING = "SELECT 1 FROM steps WHERE asset_id = ? AND partition = ? AND state = 'started'"
_STEP = """INSERT INTO steps (run_id, position, name, asset_id, partition, state, attempt, needs, started_at,
generation, check_of)"""


@dataclass(frozen=True, slots=True)
class Admitting:
    """What all runs of one admission share. `start`: how many steps without needs, counted over the runs from the
    front, begin at once; without those that a run says that it may `begin`. `needs`: by asset, the inputs of those."""

    start: int
    needs: Mapping[str, Sequence[InputNeed]]
    now: float
    version: str
    ticker_id: int | None = None
    tick_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run stands: its set and partition, resolved. All empty without a partition."""

    set: str | None = None
    set_id: int | None = None
    number: int = 0
    key: str | None = None
    generation: int = 0


_NOWHERE = _Place()


@dataclass(slots=True)
class _Rows:
    """What is to be inserted. `texts`: of parameters and tags, by identity: many runs share them. `making`: assets and
    partitions of which a step begins."""

    next_id: int
    left: int
    runs: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    steps: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    texts: dict[int, str] = field(default_factory=dict[int, str])
    making: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])

    def text(self, value: dict[str, Any]) -> str:
        """As `dump`. `value` stays what it is as long as these rows are collected."""
        found = self.texts.get(id(value))
        if found is None:
            found = self.texts[id(value)] = dump(value)
        return found


def admit(
    db: sqlite3.Connection,
    runs: Sequence[RunToAdmit],
    *,
    start: int,
    needs: Mapping[str, Sequence[InputNeed]],
    now: float,
    version: str,
    ticker_id: int | None = None,
    tick_id: int | None = None,
) -> tuple[Admitted, tuple[DroppedRequest, ...]]:
    """Admit runs. Returns what was admitted and which requests were dropped because their run key is taken.

    Raises `UnknownName` for an asset nobody declared, a set, or a key that its set does not have.
    """
    log = EventLog(db, now)
    admitted, dropped = admit_into(db, log, runs, Admitting(start, needs, now, version, ticker_id, tick_id))
    return Admitted(admitted, log.write()), dropped


def admit_into(
    db: sqlite3.Connection, log: EventLog, runs: Sequence[RunToAdmit], how: Admitting
) -> tuple[tuple[Admission, ...], tuple[DroppedRequest, ...]]:
    """As `admit`, as a part of a larger transaction whose events are in `log`."""
    if not runs:
        return (), ()
    places, assets = resolve(db, log, runs, how), _asset_ids(db, runs)
    own = _own_places(db, log, runs, how)
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'runs'").fetchone()
    rows = _Rows(next_id=1 if row is None else row[0] + 1, left=how.start)
    admitted: list[Admission] = []
    dropped: list[DroppedRequest] = []
    most = max_chain(db) if any(run.depth for run in runs) else None
    giving = GivingWay(db, log, how.now, [(run, place.number) for run, place in zip(runs, places, strict=True)])
    for index, (run, place) in enumerate(zip(runs, places, strict=True)):
        if most is not None and run.depth > most:
            _stop(log, run, place, own, how)
            dropped.append(DroppedRequest(run.target, place.key, run.run_key or "", run.cause or 0, "chain"))
            continue
        if run.policy != "allow" and (by := giving.to(index)) is not None:
            dropped.append(DroppedRequest(run.target, place.key, run.run_key or "", by, "overlap"))
            continue
        if run.run_key is not None:
            holder = _claim(db, run, run.run_key, place, rows.next_id, how.tick_id)
            if holder is not None:
                dropped.append(DroppedRequest(run.target, place.key, run.run_key, holder))
                continue
        canceled = () if run.policy == "allow" else giving.make_way(index)
        started, at = _lay_out(db, log, run, place, own, assets, how, rows)
        admitted.append(Admission(rows.next_id, index, run.priority, started, at, canceled))
        rows.next_id += 1
    insert_alike(db, _RUN, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.runs)
    insert_alike(db, _STEP, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.steps)
    return tuple(admitted), tuple(dropped)


def _stop(log: EventLog, run: RunToAdmit, place: _Place, own: Mapping[PartitionRef, _Place], how: Admitting) -> None:
    """Say that a run is not admitted, of each asset that it would make."""
    data = {"depth": run.depth, "run": run.cause}
    if run.kind == "job":
        log.add("chain_stopped", tick_id=how.tick_id, data={**data, "target": run.target})
        return
    for step in run.steps:
        if step.check_of is not None:
            continue
        at = own[step.at] if step.at is not None else place if step.partitioned else _NOWHERE
        log.add("chain_stopped", asset=step.name, set=at.set, partition=at.number, tick_id=how.tick_id, data=data)


def _lay_out(
    db: sqlite3.Connection,
    log: EventLog,
    run: RunToAdmit,
    place: _Place,
    own: Mapping[PartitionRef, _Place],
    assets: Mapping[str, int],
    how: Admitting,
    rows: _Rows,
) -> tuple[tuple[StepToRun, ...], tuple[int, ...]]:
    """Collect the rows and events of one run; returns its steps that begin at once, and the partitions of all."""
    started: tuple[StepToRun, ...] = ()
    run_id, kind, reserved = rows.next_id, run.kind, run.begin
    numbers: list[int] = []
    for position, step in enumerate(run.steps):
        first = not step.needs and not run.held and (rows.left > 0 or reserved > 0)
        at = own[step.at] if step.at is not None else place if step.partitioned else _NOWHERE
        makes = kind == "asset" and step.check_of is None
        asset_id = assets[step.name] if makes else None
        begins = first and (asset_id is None or not step.alone or _may_make(db, rows, asset_id, at.number))
        state, attempt, started_at = ("started", 1, how.now) if begins else ("queued", 0, None)
        reserved -= first
        numbers.append(at.number)
        check_of = None if step.check_of is None else assets[step.check_of]
        needs = dump(step.needs) if step.needs else "[]"
        # fmt: off
        rows.steps.append((
            run_id, position, step.name, asset_id, at.number, state, attempt, needs, started_at, at.generation,
            check_of,
        ))
        # fmt: on
        if makes:
            log.add(
                "started" if begins else "requested",
                asset=step.name,
                set=at.set,
                partition=at.number,
                run_id=run_id,
                tick_id=how.tick_id,
            )
        if begins:
            rows.left -= 1
            started = (*started, _to_run(db, run, run_id, position, step, at, how))
    state, version, started_at = ("started", how.version, how.now) if started else ("queued", None, None)
    params, tags = rows.text(run.params), rows.text(run.tags)
    # fmt: off
    rows.runs.append((
        run_id, kind, run.target, place.set_id, place.number, place.generation, state, run.priority, params, tags,
        run.run_key, run.origin, how.ticker_id, how.tick_id, version, how.now, started_at,
        run.policy if run.overlap == "allow" else run.overlap, run.depth, run.condition,
    ))
    # fmt: on
    return started, tuple(numbers) if any(numbers) else ()


def _may_make(db: sqlite3.Connection, rows: _Rows, asset_id: int, partition: int) -> bool:
    """Whether no run makes this partition of the asset now; if so, one does from now on."""
    making = asset_id, partition
    if making in rows.making or db.execute(_MAKING, making).fetchone() is not None:
        return False
    rows.making.add(making)
    return True


def _to_run(
    db: sqlite3.Connection,
    run: RunToAdmit,
    run_id: int,
    position: int,
    step: StepToAdmit,
    at: _Place,
    how: Admitting,
) -> StepToRun:
    metadata: dict[str, Any] = {}
    if at.set_id is not None:
        metadata = metadata_of(db, at.set_id, at.number)
    inputs, missing, bulk = gather_inputs(db, how.needs.get(step.name, ()), at.number, at.key)
    return StepToRun(
        run_id=run_id,
        position=position,
        name=step.name,
        kind=run.kind if step.check_of is None else "check",
        attempt=1,
        failures=0,
        set=at.set,
        partition=at.number,
        key=at.key,
        partition_metadata=metadata,
        params=run.params,
        tags=run.tags,
        inputs=inputs,
        missing=missing,
        bulk=bulk,
        target=run.target,
        origin=run.origin,
        priority=run.priority,
    )


def _claim(
    db: sqlite3.Connection, run: RunToAdmit, run_key: str, place: _Place, run_id: int, tick_id: int | None
) -> int | None:
    """Take the run key for `run_id`; returns the run that holds it already, None if it was free."""
    name = (run.target, place.key or "", run_key)
    taken = db.execute(
        """
        INSERT INTO run_keys (target, partition, run_key, run_id, tick_id) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (target, partition, run_key) DO NOTHING
        """,
        (*name, run_id, tick_id),
    )
    if taken.rowcount == 1:
        return None
    holder: int = db.execute(
        "SELECT run_id FROM run_keys WHERE target = ? AND partition = ? AND run_key = ?", name
    ).fetchone()[0]
    return holder


def resolve(db: sqlite3.Connection, log: EventLog, runs: Sequence[RunToAdmit], how: Admitting) -> list[_Place]:
    """Where each run stands; a window or a combination is remembered. Raises `UnknownName` for what is not there."""
    if all(run.set is None for run in runs):
        return [_NOWHERE] * len(runs)
    refs = [_named(run) for run in runs]
    found = intern(db, log, (ref for ref in refs if ref is not None), how.now, tick_id=how.tick_id)
    numbers: dict[str, list[int]] = {}
    for run, ref in zip(runs, refs, strict=True):
        if ref is None and run.set is not None and run.partition:
            numbers.setdefault(run.set, []).append(run.partition)
    by_number = {name: partitions_of(db, name, wanted) for name, wanted in numbers.items()}
    ids = {name: set_id_of(db, name) for name in {*numbers, *(ref.set for ref in found)}}
    places: list[_Place] = []
    for run, ref in zip(runs, refs, strict=True):
        if run.set is None or (ref is None and not run.partition):
            places.append(_NOWHERE)
            continue
        at = found[ref] if ref is not None else by_number[run.set][run.partition or 0]
        places.append(_Place(run.set, ids[run.set], at.number, at.key, at.generation))
    return places


def _own_places(
    db: sqlite3.Connection, log: EventLog, runs: Sequence[RunToAdmit], how: Admitting
) -> dict[PartitionRef, _Place]:
    """The partitions of steps that have one of their own, resolved as those of runs are."""
    wanted = list(dict.fromkeys(step.at for run in runs for step in run.steps if step.at is not None))
    as_runs = [RunToAdmit("asset", "", (), "", set=at.set, key=at.key or None, partition=at.number) for at in wanted]
    return dict(zip(wanted, resolve(db, log, as_runs, how), strict=True)) if wanted else {}


def _named(run: RunToAdmit) -> PartitionRef | None:
    """The partition of a run that names one by its key."""
    if run.set is None or run.key is None:
        return None
    return PartitionRef(run.set, run.key, run.partition, run.parts)


def _asset_ids(db: sqlite3.Connection, runs: Sequence[RunToAdmit]) -> dict[str, int]:
    wanted = {step.check_of or step.name for run in runs if run.kind == "asset" for step in run.steps}
    if not wanted:
        return {}
    found: dict[str, int] = dict(
        db.execute(
            "SELECT a.name, a.id FROM json_each(?) wanted CROSS JOIN assets a ON a.name = wanted.value",
            (dump(sorted(wanted)),),
        )
    )
    for name in sorted(wanted - found.keys()):
        known = [known for (known,) in db.execute("SELECT name FROM assets")]
        raise UnknownName(f"there is no asset {name!r}", hint=nearest_hint(name, known))
    return found
