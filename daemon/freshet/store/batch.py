"""One batch of the group commit, on the connection's thread: who is in it, who is told what.

A savepoint for each caller keeps its failure to itself. An error of the world (disk full, I/O, lock, memory,
interrupt) may have rolled back everything, so it loses the whole batch: nobody is told ok.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from freshet.store.faults import is_environmental

__all__ = ["BatchLost", "CommitUnknown", "Outcome", "Transaction", "last_batch", "run_batch"]

Transaction = Callable[[sqlite3.Connection], Any]
Outcome = tuple[bool, Any]
"""(True, the function's result) or (False, the exception it raised)."""

_WRITER = "writer"


class BatchLost(Exception):
    """Nothing of the batch is in the database. `reopen`: the connection could not even roll back."""

    def __init__(self, cause: BaseException | None, *, reopen: bool = False) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.reopen = reopen


class CommitUnknown(Exception):
    """COMMIT raised: only the database, opened anew, can tell. `outcomes`: what the callers get if it is there."""

    def __init__(self, cause: BaseException, outcomes: list[Outcome]) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.outcomes = outcomes


def last_batch(db: sqlite3.Connection) -> int:
    """The number of the last batch that committed; 0 in a new database."""
    row = db.execute("SELECT batch FROM batches WHERE writer = ?", (_WRITER,)).fetchone()
    return 0 if row is None else row[0]


def run_batch(
    db: sqlite3.Connection,
    transactions: Sequence[Transaction],
    number: int,
    *,
    seconds: float,
    monotonic: Callable[[], float],
) -> list[Outcome]:
    """Run transactions, from the front, in one commit under the batch's `number`; take no more after `seconds`.

    The outcomes may be fewer than the transactions: the rest was not begun. Raises `BatchLost`, `CommitUnknown`.
    """
    try:
        outcomes = _fill(db, transactions, number, seconds, monotonic)
    except BatchLost as lost:
        raise BatchLost(lost.cause, reopen=not _rolled_back(db)) from lost.cause
    except BaseException:
        _rolled_back(db)
        raise
    if not any(ok for ok, _ in outcomes):
        if not _rolled_back(db):
            raise BatchLost(None, reopen=True)
        return outcomes
    try:
        db.execute("COMMIT")
    except (sqlite3.Error, MemoryError) as error:
        _rolled_back(db)  # where it did not commit: a handle that somebody still holds must not keep the lock
        raise CommitUnknown(error, outcomes) from error
    return outcomes


def _fill(
    db: sqlite3.Connection,
    transactions: Sequence[Transaction],
    number: int,
    seconds: float,
    monotonic: Callable[[], float],
) -> list[Outcome]:
    _must(db, "BEGIN IMMEDIATE")
    if len(transactions) == 1:
        outcomes = [_alone(db, transactions[0])]
    else:
        outcomes = list[Outcome]()
        until = monotonic() + seconds
        for transaction in transactions:
            outcomes.append(_in_savepoint(db, transaction))
            if monotonic() >= until:
                break
    if any(ok for ok, _ in outcomes):
        _must(db, "INSERT OR REPLACE INTO batches (writer, batch) VALUES (?, ?)", (_WRITER, number))
    return outcomes


def _alone(db: sqlite3.Connection, transaction: Transaction) -> Outcome:
    try:
        result = transaction(db)
    except Exception as error:  # it is the caller's, and handed to the caller
        if is_environmental(error):
            raise BatchLost(error) from error
        return False, _for_caller(error)
    if not db.in_transaction:
        raise BatchLost(None)
    return True, result


def _in_savepoint(db: sqlite3.Connection, transaction: Transaction) -> Outcome:
    _must(db, "SAVEPOINT caller")
    try:
        result = transaction(db)
    except Exception as error:  # it is the caller's, and handed to the caller
        if is_environmental(error) or not db.in_transaction:
            raise BatchLost(error) from error
        _must(db, "ROLLBACK TO caller")
        _must(db, "RELEASE caller")
        return False, _for_caller(error)
    if not db.in_transaction:
        raise BatchLost(None)
    _must(db, "RELEASE caller")
    return True, result


def _for_caller(error: Exception) -> Exception:
    if isinstance(error, StopIteration):  # no future takes it
        wrapped = RuntimeError("a transaction raised StopIteration")
        wrapped.__cause__ = error
        return wrapped
    return error


def _must(db: sqlite3.Connection, sql: str, parameters: tuple[Any, ...] = ()) -> None:
    try:
        db.execute(sql, parameters)
    except (sqlite3.Error, MemoryError) as error:
        raise BatchLost(error) from error


def _rolled_back(db: sqlite3.Connection) -> bool:
    try:
        if db.in_transaction:
            db.execute("ROLLBACK")
    except (sqlite3.Error, MemoryError):
        return False
    return not db.in_transaction
