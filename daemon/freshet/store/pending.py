"""Requests that wait before they become runs: kept with their tick, released in one commit each with the run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from freshet.errors import Conflict, FreshetError
from freshet.store.admission import Admitting, admit_into, resolve
from freshet.store.codec import dump, load
from freshet.store.events import EventLog
from freshet.store.overlap import settle_runs
from freshet.store.records import Admission, DroppedRequest, Event, InputNeed, RunToAdmit
from freshet.store.records.pending import KeptRequest, Released, RequestToKeep, ToRelease, WaitingRequest
from freshet.store.steps import cancel_into

__all__ = [
    "begun_at",
    "fold_pending",
    "keep_pending",
    "kept_requests",
    "pending_rows",
    "release_pending",
    "waiting_requests",
]

_OWN_KEYS = """
SELECT p.target, coalesce(p.key, ''), p.run_key, p.tick_id, p.id FROM json_each(?) wanted
CROSS JOIN pending p ON p.id = wanted.value WHERE p.run_key IS NOT NULL
"""


def keep_pending(
    db: sqlite3.Connection, log: EventLog, requests: Sequence[RequestToKeep], how: Admitting
) -> tuple[tuple[WaitingRequest, ...], tuple[DroppedRequest, ...]]:
    """Let requests wait, each with its run key claimed. Returns those that do, and those whose run key is taken.

    Raises `UnknownName` for a partition that its set does not have, as admitting them would.
    """
    waiting: list[WaitingRequest] = []
    dropped: list[DroppedRequest] = []
    places = resolve(db, log, [one.run for one in requests], how)
    for one, place in zip(requests, places, strict=True):
        target, run_key = one.run.target, one.run.run_key
        if run_key is not None and (holder := _holder(db, target, place.key, run_key)) is not None:
            dropped.append(DroppedRequest(target, place.key, run_key, holder))
            continue
        (number,) = db.execute(
            """
            INSERT INTO pending (ticker_id, tick_id, target, key, run_key, params, tags, priority, came_at, depth)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
            """,
            (
                *(how.ticker_id, how.tick_id, target, place.key, run_key),
                *(dump(one.params), dump(one.tags), one.priority, how.now, one.run.depth),
            ),
        ).fetchone()
        if run_key is not None:
            _claim(db, [(target, place.key or "", run_key, -number, how.tick_id)])
        waiting.append(WaitingRequest(number, target, place.key, how.now))
    return tuple(waiting), tuple(dropped)


def _holder(db: sqlite3.Connection, target: str, key: str | None, run_key: str) -> int | None:
    row = db.execute(
        "SELECT run_id FROM run_keys WHERE target = ? AND partition = ? AND run_key = ?", (target, key or "", run_key)
    ).fetchone()
    return None if row is None else int(row[0])


def _claim(db: sqlite3.Connection, keys: Sequence[tuple[str, str, str, int, int | None]]) -> None:
    db.executemany(
        """
        INSERT INTO run_keys (target, partition, run_key, run_id, tick_id) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (target, partition, run_key) DO NOTHING
        """,
        keys,
    )


# --- what waits -------------------------------------------------------------------------------------------------


def waiting_requests(db: sqlite3.Connection, ticker_id: int, after: int, limit: int) -> tuple[WaitingRequest, ...]:
    """The requests of a ticker that wait, in the order in which they came, from beyond `after`."""
    rows = db.execute(
        """
        SELECT id, target, key, came_at FROM pending WHERE ticker_id = ? AND id > ? AND state = 'waiting'
        ORDER BY id LIMIT ?
        """,
        (ticker_id, after, limit),
    )
    return tuple(WaitingRequest(*row) for row in rows)


def begun_at(db: sqlite3.Connection, ticker_id: int, last: int) -> tuple[float, ...]:
    """When the last so many runs of a ticker's requests began to be, ascending."""
    rows = db.execute(
        """
        SELECT DISTINCT settled_at, run_id FROM pending WHERE ticker_id = ? AND state = 'admitted'
        ORDER BY settled_at DESC LIMIT ?
        """,
        (ticker_id, last),
    )
    return tuple(reversed([at for at, _ in rows]))


def kept_requests(db: sqlite3.Connection, ids: Sequence[int]) -> dict[int, KeptRequest]:
    """Requests as they were kept, by number."""
    return {one.id: one for one in _kept(db, ids)}


def _kept(db: sqlite3.Connection, ids: Sequence[int]) -> Iterator[KeptRequest]:
    rows = db.execute(
        """
        SELECT p.id, p.tick_id, p.target, p.key, p.run_key, p.params, p.tags, p.priority, p.came_at, p.depth
        FROM json_each(?) wanted CROSS JOIN pending p ON p.id = wanted.value
        """,
        (dump(list(ids)),),
    )
    for number, tick_id, target, key, run_key, params, tags, priority, at, depth in rows:
        yield KeptRequest(number, tick_id, target, key, run_key, load(params), load(tags), priority, at, depth)


def pending_rows(db: sqlite3.Connection, sensor: str, limit: int) -> tuple[KeptRequest, ...]:
    """The first requests of a sensor that wait."""
    row = db.execute("SELECT id FROM tickers WHERE kind = 'sensor' AND name = ?", (sensor,)).fetchone()
    if row is None:
        return ()
    return tuple(_kept(db, [one.id for one in waiting_requests(db, row[0], 0, limit)]))


# --- what becomes of it -----------------------------------------------------------------------------------------


def fold_pending(db: sqlite3.Connection, ids: Sequence[int], into: int, now: float) -> None:
    """The request `into`, which waits, stands for these from now on."""
    _settle(db, ids, "folded", now, into=into)


def release_pending(
    db: sqlite3.Connection,
    ticker_id: int,
    releases: Sequence[ToRelease],
    *,
    start: int,
    needs: Mapping[str, Sequence[InputNeed]],
    now: float,
    version: str,
) -> Released:
    """Make runs of requests that wait. What cannot be any more (its partition was deleted) is refused by itself; one
    that gives way to another run (`overlap`) is, too; both let go of their run keys. Each has events of its own."""
    runs: list[RunToAdmit] = []
    admitted: list[Admission] = []
    refused: dict[int, str] = {}
    canceled: list[int] = []
    events: list[tuple[Event, ...]] = []
    for one in releases:
        how = Admitting(start, needs, now, version, ticker_id, one.tick_id)
        log, said = EventLog(db, now), one.reason or "it came to nothing"
        db.execute("SAVEPOINT release")
        try:
            made = None if one.run is None else _admit(db, log, one, one.run, how)
        except FreshetError as error:
            db.execute("ROLLBACK TO release")
            made, said, log = None, error.message, EventLog(db, now)
        else:
            if one.run is not None and made is None:
                said = f"{one.run.depth - 1} automatic runs led to it, one to the next"
        db.execute("RELEASE release")
        if made is None or one.run is None:
            refused[one.ids[-1]] = said
            events.append(log.write())
            _free(db, one.ids)
            _settle(db, one.ids, "refused", now, reason=said)
            continue
        admission, stopped = made
        events.append(log.write())
        canceled += stopped
        admitted.append(replace(admission, request=len(runs)))
        runs.append(one.run)
        start -= len(admission.started)
    return Released(tuple(runs), tuple(admitted), refused, tuple(canceled), tuple(events))


def _admit(
    db: sqlite3.Connection, log: EventLog, one: ToRelease, run: RunToAdmit, how: Admitting
) -> tuple[Admission, tuple[int, ...]] | None:
    """The run, and those that it canceled; None where too many automatic runs led to it. Raises `Conflict` where it
    gives way itself."""
    settled = settle_runs(db, [run])
    if settled.lost:
        raise Conflict(f"run {settled.lost[0][1]} is still under way (overlap={run.overlap!r})")
    for run_id in settled.cancel:
        cancel_into(db, log, run_id, how.now)
    keys = list(db.execute(_OWN_KEYS, (dump(one.ids),)))
    _free(db, one.ids)
    found, dropped = admit_into(db, log, [run], how)
    if not found and dropped[0].reason == "overlap":
        raise Conflict(f"run {dropped[0].run_id} is still under way (overlap={run.policy!r})")
    if not found:
        return None
    (made,) = found
    _claim(db, [(target, key, run_key, made.run_id, tick) for target, key, run_key, tick, _ in keys])
    *others, last = one.ids
    if one.folded and others:
        _settle(db, others, "folded", how.now, run_id=made.run_id, into=last)
        others = []
    _settle(db, [*others, last], "admitted", how.now, run_id=made.run_id)
    return made, settled.cancel


def _free(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Let go of the run keys that these requests hold themselves."""
    keys = [(*key, -number) for *key, _, number in db.execute(_OWN_KEYS, (dump(ids),))]
    db.executemany("DELETE FROM run_keys WHERE target = ? AND partition = ? AND run_key = ? AND run_id = ?", keys)


def _settle(
    db: sqlite3.Connection,
    ids: Sequence[int],
    state: str,
    now: float,
    *,
    run_id: int | None = None,
    into: int | None = None,
    reason: str | None = None,
) -> None:
    settled = db.execute(
        """
        UPDATE pending SET state = ?, settled_at = ?, run_id = ?, into_id = ?, reason = ?
        WHERE state = 'waiting' AND id IN (SELECT value FROM json_each(?))
        """,
        (state, now, run_id, into, reason, dump(ids)),
    )
    assert settled.rowcount == len(ids), "a request becomes one thing, once"
