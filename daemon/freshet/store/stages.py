"""Outcomes in pieces: written down, decided by one small commit, then carried out piece by piece.

Before the decision nothing of a stage holds; from then on all of it does, through any crash: each piece goes in the
transaction that carries it out. The decision is `ticks.commit_tick`, or `decide` for what no tick asked for.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import overload

from freshet.definitions.outcome import Json
from freshet.errors import FreshetError
from freshet.store.admission import Admitting
from freshet.store.codec import dump, load_optional
from freshet.store.combinations import settle_strand
from freshet.store.events import EventLog
from freshet.store.pieces import decode
from freshet.store.records import InputNeed, LedgerDelta, TickCommit, TickResult
from freshet.store.records.stages import Carried, StagePiece, StageRow
from freshet.store.ticks import AppliedParts, apply_ledger, apply_parts, decide_stage

__all__ = ["begin_stage", "carry_out", "decide", "drop_stage", "stage_pieces", "unfinished_stages"]

_NEXT = """
SELECT s.ticker_id, s.tick_id, s.decided_at, p.id, p.body,
    NOT EXISTS (SELECT 1 FROM stage_pieces q WHERE q.stage_id = s.id AND q.position > p.position)
FROM stages s LEFT JOIN stage_pieces p ON p.stage_id = s.id WHERE s.id = ? ORDER BY p.position LIMIT 1
"""
_DROPPED_AT_ONCE = 20
_DROPPED_SHOWN = 1000
"""How many dropped requests the row of a tick names at the most."""


def begin_stage(db: sqlite3.Connection, *, ticker_id: int | None, tick_id: int | None, now: float) -> int:
    """A new stage, for a tick or (None) for what was asked for by hand; returns its id."""
    (stage_id,) = db.execute(
        "INSERT INTO stages (ticker_id, tick_id, begun_at) VALUES (?, ?, ?) RETURNING id", (ticker_id, tick_id, now)
    ).fetchone()
    found: int = stage_id
    return found


def stage_pieces(
    db: sqlite3.Connection, stage_id: int, first: int, bodies: Sequence[str], check: StagePiece | None, now: float
) -> None:
    """Write pieces down, from position `first` on. `check`: what must be possible as the store stands now.

    Raises `UnknownName` or `Conflict`, as committing that would.
    """
    if check is not None:
        db.execute("SAVEPOINT checked")
        (ticker,) = db.execute("SELECT ticker_id FROM stages WHERE id = ?", (stage_id,)).fetchone()
        runs = tuple(replace(run, run_key=None, overlap="allow", policy="allow") for run in check.runs)
        commit = TickCommit(ticker, 0, 0, now, now, reports=check.reports, runs=runs)
        apply_parts(db, EventLog(db, now), commit)
        db.execute("ROLLBACK TO checked")
        db.execute("RELEASE checked")
    db.executemany(
        "INSERT INTO stage_pieces (stage_id, position, body) VALUES (?, ?, ?)",
        [(stage_id, first + at, body) for at, body in enumerate(bodies)],
    )


def decide(db: sqlite3.Connection, stage_id: int, now: float) -> None:
    """All of a stage that belongs to no tick holds from now on."""
    decide_stage(db, stage_id, now)


def unfinished_stages(db: sqlite3.Connection) -> tuple[StageRow, ...]:
    """What an earlier daemon left, in the order in which it began."""
    rows = db.execute("SELECT id, decided_at IS NOT NULL FROM stages ORDER BY id")
    return tuple(StageRow(stage_id, bool(decided)) for stage_id, decided in rows)


def drop_stage(db: sqlite3.Connection, stage_id: int) -> bool | None:
    """Take away some pieces of a stage that was not decided; True when nothing is left. None: it was decided."""
    row = db.execute("SELECT decided_at FROM stages WHERE id = ?", (stage_id,)).fetchone()
    if row is None:
        return True
    if row[0] is not None:
        return None
    gone = db.execute(
        "DELETE FROM stage_pieces WHERE id IN (SELECT id FROM stage_pieces WHERE stage_id = ? LIMIT ?)",
        (stage_id, _DROPPED_AT_ONCE),
    ).rowcount
    if gone == _DROPPED_AT_ONCE:
        return False
    db.execute("DELETE FROM stages WHERE id = ?", (stage_id,))
    return True


def carry_out(
    db: sqlite3.Connection,
    stage_id: int,
    *,
    start: int = 0,
    needs: Mapping[str, tuple[InputNeed, ...]] | None = None,
    version: str = "",
    seconds: float = 0.0,
    monotonic: Callable[[], float] = time.monotonic,
) -> Carried:
    """Carry out the next piece of a decided stage, and take it away; with the last one the stage goes.

    `start`, `needs`, `version`: of its runs, as in `TickCommit`. Where it has none, those that follow and have none
    are carried out too, as long as `seconds` have not passed; each has events of its own. What has become impossible
    since the decision (a key was deleted) is dropped, with the reason on the tick's row.
    """
    until = monotonic() + seconds
    carried = _carry_out(db, stage_id, Admitting(start, needs or {}, 0.0, version))
    while not (carried.last or carried.commit.runs or monotonic() >= until):
        following = _carry_out(db, stage_id, None)
        if following is None:
            break
        carried = _both(carried, following)
    return carried


def _both(one: Carried, other: Carried) -> Carried:
    a, b = one.commit, other.commit
    commit = replace(
        b,
        partitions=a.partitions + b.partitions,
        ledger=LedgerDelta((*a.ledger.put, *b.ledger.put), a.ledger.remove + b.ledger.remove),
        reports=a.reports + b.reports,
        pending=a.pending + b.pending,
    )
    first, second = one.result, other.result
    result = replace(
        second,
        events=first.events + second.events,
        ledger_revision=second.ledger_revision or first.ledger_revision,
        partitions_added=first.partitions_added + second.partitions_added,
        pending=first.pending + second.pending,
        dropped=first.dropped + second.dropped,
    )
    return Carried(commit, result, one.deleted + other.deleted, one.pieces + other.pieces, other.last)


@overload
def _carry_out(db: sqlite3.Connection, stage_id: int, how: Admitting) -> Carried: ...
@overload
def _carry_out(db: sqlite3.Connection, stage_id: int, how: None) -> Carried | None: ...
def _carry_out(db: sqlite3.Connection, stage_id: int, how: Admitting | None) -> Carried | None:
    """The next piece; None where it has runs and nobody said how to admit them."""
    ticker_id, tick_id, at, piece_id, body, last = db.execute(_NEXT, (stage_id,)).fetchone()
    assert at is not None, "only what was decided is carried out"
    piece = StagePiece() if body is None else decode(body)
    if how is None and piece.runs:
        return None
    commit = TickCommit(
        ticker=ticker_id or 0,
        tick_id=tick_id or 0,
        revision=0,
        started_at=at,
        ended_at=at,
        ledger=piece.ledger,
        partitions=piece.partitions,
        runs=piece.runs,
        reports=piece.reports,
        pending=piece.pending,
        release=piece.release,
        start=how.start if how else 0,
        needs={name: tuple(needs) for name, needs in how.needs.items()} if how else {},
        version=how.version if how else "",
    )
    apply_ledger(db, commit.ticker, commit.tick_id, commit.ledger)
    commit, log, parts, refused = _apply(db, commit)
    for strand in piece.strands:
        settle_strand(db, log, strand, at, tick_id=tick_id)
    revision = _raise_ledger(db, commit.ticker) if piece.ends_ledger else 0
    if tick_id is not None:
        _note(db, commit, parts, refused)
    db.execute("DELETE FROM stage_pieces WHERE id = ?", (piece_id,))
    if last:
        db.execute("DELETE FROM stages WHERE id = ?", (stage_id,))
    result = TickResult(
        parts.admitted,
        parts.dropped,
        log.write(),
        revision,
        parts.added,
        pending=parts.pending,
        canceled=parts.canceled,
    )
    return Carried(commit, result, parts.deleted, 1, bool(last))


def _raise_ledger(db: sqlite3.Connection, ticker_id: int) -> int:
    """The whole outcome is one step of the ledger: with the last of its entries."""
    (revision,) = db.execute(
        "UPDATE tickers SET ledger_revision = ledger_revision + 1 WHERE id = ? RETURNING ledger_revision", (ticker_id,)
    ).fetchone()
    found: int = revision
    return found


def _apply(
    db: sqlite3.Connection, commit: TickCommit
) -> tuple[TickCommit, EventLog, AppliedParts, list[dict[str, Json]]]:
    """Apply the piece; where that fails, without what cannot be any more."""
    log, refused = EventLog(db, commit.ended_at), list[dict[str, Json]]()
    db.execute("SAVEPOINT tried")
    try:
        parts = apply_parts(db, log, commit)
    except FreshetError:
        db.execute("ROLLBACK TO tried")
        commit = _possible(db, commit, refused)
        log = EventLog(db, commit.ended_at)
        parts = apply_parts(db, log, commit)
    db.execute("RELEASE tried")
    return commit, log, parts, refused


def _possible(db: sqlite3.Connection, commit: TickCommit, refused: list[dict[str, Json]]) -> TickCommit:
    """What can be done, each part tried by itself; `refused` gets the rest with its reason."""
    alone = replace(commit, partitions=(), reports=(), runs=(), pending=(), release=(), start=0)
    partitions = [
        one for one in commit.partitions if _can(db, replace(alone, partitions=(one,)), {"set": one.set}, refused)
    ]
    reports = [
        one
        for one in commit.reports
        if _can(db, replace(alone, reports=(one,)), {"target": one.asset, "key": one.key}, refused)
    ]
    runs = [
        one
        for one in commit.runs
        if _can(
            db, replace(alone, runs=(one,)), {"target": one.target, "key": one.key, "run_key": one.run_key}, refused
        )
    ]
    pending = [
        one
        for one in commit.pending
        if _can(db, replace(alone, pending=(one,)), {"target": one.run.target, "key": one.run.key}, refused)
    ]
    return replace(
        commit, partitions=tuple(partitions), reports=tuple(reports), runs=tuple(runs), pending=tuple(pending)
    )


def _can(db: sqlite3.Connection, commit: TickCommit, what: dict[str, Json], refused: list[dict[str, Json]]) -> bool:
    db.execute("SAVEPOINT alone")
    try:
        apply_parts(db, EventLog(db, commit.ended_at), commit)
    except FreshetError as error:
        refused.append({**what, "reason": error.message})
        return False
    finally:
        db.execute("ROLLBACK TO alone")
        db.execute("RELEASE alone")
    return True


def _note(db: sqlite3.Connection, commit: TickCommit, parts: AppliedParts, refused: list[dict[str, Json]]) -> None:
    """Add to the tick's row what the piece came to."""
    db.execute(
        """
        UPDATE ticks SET runs = runs + ?, partitions_added = partitions_added + ?, ledger_added = ledger_added + ?
        WHERE id = ?
        """,
        (len(parts.admitted), parts.added, len(commit.ledger.put), commit.tick_id),
    )
    dropped = [*map(asdict, parts.dropped), *refused]
    if dropped:
        row = db.execute("SELECT dropped FROM ticks WHERE id = ?", (commit.tick_id,)).fetchone()
        if row is None:  # its history is gone already
            return
        known: list[dict[str, Json]] = load_optional(row[0]) or []
        if len(known) < _DROPPED_SHOWN:
            shown = dump([*known, *dropped][:_DROPPED_SHOWN])
            db.execute("UPDATE ticks SET dropped = ? WHERE id = ?", (shown, commit.tick_id))
