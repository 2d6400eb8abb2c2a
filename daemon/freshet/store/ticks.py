"""The outcome of a tick: cursor, ledger, partitions, reports and runs, in one transaction or not at all."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass, replace

from freshet.errors import TickRefused
from freshet.store.admission import Admitting, admit_into
from freshet.store.codec import dump
from freshet.store.events import EventLog
from freshet.store.inbox import settle
from freshet.store.overlap import settle_runs
from freshet.store.partitions import apply_delta
from freshet.store.pending import keep_pending
from freshet.store.records import (
    Admission,
    DroppedRequest,
    Event,
    LedgerDelta,
    RunToAdmit,
    TickCommit,
    TickError,
    TickerRow,
    TickResult,
)
from freshet.store.records.pending import WaitingRequest
from freshet.store.reports import report_into
from freshet.store.steps import cancel_into
from freshet.store.tickers import ticker

__all__ = ["AppliedParts", "apply_ledger", "apply_parts", "commit_tick", "decide_stage", "fail_tick"]

_RELEASE = "DELETE FROM run_keys WHERE target = ? AND partition = ? AND run_key = ?"


def commit_tick(db: sqlite3.Connection, commit: TickCommit) -> TickResult:
    """Commit the outcome of a tick, whole.

    Raises `TickRefused` if it came late or twice (count it with `count_refused`), and `UnknownName` or `Conflict`
    for a set, key or asset that is not there: then nothing of it commits.
    """
    before = _take(db, commit.ticker, commit.tick_id, commit.revision)
    log = EventLog(db, commit.ended_at)
    ledger_revision = before.ledger_revision + apply_ledger(db, commit.ticker, commit.tick_id, commit.ledger)
    parts = apply_parts(db, log, commit)
    effects = bool(
        commit.cursor_changed or ledger_revision > before.ledger_revision or parts.added or parts.deleted
        or commit.partitions or commit.reports or parts.admitted or parts.dropped or commit.stage is not None
        or commit.deliveries or parts.pending or commit.release
    )  # fmt: skip
    _remember(db, before, commit, ledger_revision, effects=effects)
    settled, parked = settle(db, commit.ticker, commit.tick_id, commit.deliveries, commit.ended_at)
    if commit.stage is not None:
        decide_stage(db, commit.stage, commit.ended_at)
    if commit.final and before.failures:
        log.add("ticker_recovered", tick_id=commit.tick_id, data={"name": before.name, "failures": before.failures})
    if effects:
        _write_row(db, before, commit, runs=len(parts.admitted), added=parts.added, dropped=parts.dropped)
    did = parts.pending, parts.canceled
    return TickResult(parts.admitted, parts.dropped, log.write(), ledger_revision, parts.added, settled, parked, *did)


def decide_stage(db: sqlite3.Connection, stage_id: int, at: float) -> None:
    """From now on all of a stage holds."""
    decided = db.execute("UPDATE stages SET decided_at = ? WHERE id = ? AND decided_at IS NULL", (at, stage_id))
    assert decided.rowcount == 1, "a stage is decided once"


@dataclass(frozen=True, slots=True)
class AppliedParts:
    """What partitions, reports and runs of a commit came to."""

    added: int
    deleted: int
    admitted: tuple[Admission, ...]
    dropped: tuple[DroppedRequest, ...]
    pending: tuple[WaitingRequest, ...] = ()
    canceled: tuple[int, ...] = ()


def apply_parts(db: sqlite3.Connection, log: EventLog, commit: TickCommit) -> AppliedParts:
    """The partitions, reports and runs of an outcome, in this order; before them, the run keys that are free again.
    Raises as `commit_tick`."""
    if commit.release:
        db.executemany(_RELEASE, commit.release)
    added = deleted = 0
    for delta in commit.partitions:
        new, gone = apply_delta(db, delta, commit.ended_at, log, tick_id=commit.tick_id or None)
        added, deleted = added + new, deleted + gone
    for report in commit.reports:
        report_into(db, log, report, tick_id=commit.tick_id or None)
    how = Admitting(commit.start, commit.needs, commit.ended_at, commit.version, commit.ticker, commit.tick_id)
    admitted, dropped, canceled = _admit(db, log, commit.runs, how)
    pending, taken = keep_pending(db, log, commit.pending, how) if commit.pending else ((), ())
    return AppliedParts(added, deleted, admitted, (*dropped, *taken), pending, canceled)


def _admit(
    db: sqlite3.Connection, log: EventLog, runs: tuple[RunToAdmit, ...], how: Admitting
) -> tuple[tuple[Admission, ...], tuple[DroppedRequest, ...], tuple[int, ...]]:
    """Admit what `overlap` lets; also the runs of before that it cancels."""
    settled = settle_runs(db, runs)
    for run_id in settled.cancel:
        cancel_into(db, log, run_id, how.now)
    admitted, dropped = admit_into(db, log, [runs[at] for at in settled.kept], how)
    if not settled.lost:
        return admitted, dropped, settled.cancel
    lost = (
        DroppedRequest(runs[at].target, runs[at].key, runs[at].run_key or "", by, "overlap") for at, by in settled.lost
    )
    return (
        tuple(replace(one, request=settled.kept[one.request]) for one in admitted),
        (*dropped, *lost),
        settled.cancel,
    )


def fail_tick(
    db: sqlite3.Connection,
    *,
    ticker_id: int,
    tick_id: int,
    revision: int,
    status: str,
    error: TickError | None,
    failures: int,
    retry_at: float | None,
    quarantined: str | None,
    started_at: float,
    ended_at: float,
    strikes: int = 0,
    struck_code: str | None = None,
) -> tuple[TickerRow, tuple[Event, ...]]:
    """Record a tick that came to nothing (`status`: failed, timed_out, given_up, later); returns the ticker and events.

    `failures`: how many in a row, with this one; `strikes`: how many of them cost an evaluator; `struck_code`: of one
    that is quarantined for that, the version of its code. Raises `TickRefused`, as `commit_tick`.
    """
    before = _take(db, ticker_id, tick_id, revision)
    text = None if error is None else dump(asdict(error))
    db.execute(
        """
        UPDATE tickers SET failures = ?, retry_at = ?, quarantined = ?, last_error = coalesce(?, last_error),
            last_tick_at = ?, ticks = ticks + 1, strikes = ?, struck_code = ? WHERE id = ?
        """,
        (failures, retry_at, quarantined, text, ended_at, strikes, struck_code, ticker_id),
    )
    db.execute(
        "INSERT INTO ticks (id, ticker_id, status, started_at, ended_at, error) VALUES (?, ?, ?, ?, ?, ?)",
        (tick_id, ticker_id, status, started_at, ended_at, text),
    )
    log = EventLog(db, ended_at)
    said = {"name": before.name, "error": None if error is None else error.message}
    if failures and not before.failures:
        log.add("ticker_failing", tick_id=tick_id, data=said)
    if quarantined is not None and before.quarantined is None:
        log.add("ticker_quarantined", tick_id=tick_id, data=said)
    return ticker(db, ticker_id), log.write()


def _take(db: sqlite3.Connection, ticker_id: int, tick_id: int, revision: int) -> TickerRow:
    """Make this tick the ticker's last one, if it is still the one in force; returns the ticker as it was."""
    before = ticker(db, ticker_id)
    taken = db.execute(
        "UPDATE tickers SET last_tick = ?1 WHERE id = ?2 AND revision = ?3 AND last_tick < ?1",
        (tick_id, ticker_id, revision),
    )
    if taken.rowcount != 1:
        why = (
            f"the {before.kind} was changed meanwhile"
            if before.revision != revision
            else f"tick {before.last_tick} has been committed"
        )
        raise TickRefused(f"tick {tick_id} of {before.name!r} is refused: {why}", hint="what it saw will be seen again")
    return before


def apply_ledger(db: sqlite3.Connection, ticker_id: int, tick_id: int, delta: LedgerDelta) -> int:
    """Remove entries, then put some; returns by how much that raises the ledger's revision."""
    _keep_past(db, ticker_id, tick_id, delta)
    if delta.remove:
        db.execute(
            """
            DELETE FROM ledger WHERE ticker_id = ? AND digest IN (
                SELECT substr(?, 16 * json_each.key + 1, 16) FROM json_each(?))
            """,
            (ticker_id, b"".join(delta.remove), dump([0] * len(delta.remove))),
        )
    if delta.put:
        db.execute(
            """
            INSERT OR REPLACE INTO ledger (ticker_id, digest, version, key, tick_id)
            SELECT ?1, substr(?2, 24 * w.key + 1, 16), substr(?2, 24 * w.key + 17, 8), w.value, ?3 FROM json_each(?4) w
            """,
            (
                *(ticker_id, b"".join(entry.digest + entry.version for entry in delta.put), tick_id),
                dump([entry.key for entry in delta.put]),
            ),
        )
    return 1 if delta.put or delta.remove else 0


def _keep_past(db: sqlite3.Connection, ticker_id: int, tick_id: int, delta: LedgerDelta) -> None:
    """What is replaced or removed stays known as it was until this tick, for a rollback."""
    digests = [*delta.remove, *(entry.digest for entry in delta.put)]
    if digests:
        db.execute(
            """
            INSERT OR IGNORE INTO ledger_past (ticker_id, until, digest, version, key, tick_id)
            SELECT l.ticker_id, ?2, l.digest, l.version, l.key, l.tick_id FROM json_each(?4) w CROSS JOIN ledger l
            ON l.ticker_id = ?1 AND l.digest = substr(?3, 16 * w.key + 1, 16) WHERE l.tick_id < ?2
            """,
            (ticker_id, tick_id, b"".join(digests), dump([0] * len(digests))),
        )


def _remember(
    db: sqlite3.Connection, before: TickerRow, commit: TickCommit, ledger_revision: int, *, effects: bool
) -> None:
    db.execute(
        "UPDATE tickers SET cursor = ?, ledger_revision = ? WHERE id = ?",
        (dump(commit.cursor if commit.cursor_changed else before.cursor), ledger_revision, commit.ticker),
    )
    if commit.final:
        db.execute(
            """
            UPDATE tickers SET failures = 0, retry_at = NULL, strikes = 0, last_tick_at = ?1, last_ok_at = ?1,
                ticks = ticks + 1, idle_ticks = idle_ticks + ?2 WHERE id = ?3
            """,
            (commit.ended_at, not effects, commit.ticker),
        )


def _write_row(
    db: sqlite3.Connection,
    before: TickerRow,
    commit: TickCommit,
    *,
    runs: int,
    added: int,
    dropped: tuple[DroppedRequest, ...],
) -> None:
    db.execute(
        """
        INSERT INTO ticks (id, ticker_id, status, started_at, ended_at, cursor_before, cursor, skip, runs,
            partitions_added, ledger_added, dropped, depth) VALUES (?, ?, 'committed', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            *(commit.tick_id, commit.ticker, commit.started_at, commit.ended_at),
            *((dump(before.cursor), dump(commit.cursor)) if commit.cursor_changed else (None, None)),
            *(commit.skip, runs, added, len(commit.ledger.put)),
            dump([asdict(one) for one in dropped]) if dropped else None,
            commit.depth,
        ),
    )
