"""The one writer: a queue of whole transactions, committed in groups.

Callers put in a function and wait for a future. The writer's task takes what waits, runs it in one commit on the
connection's thread and answers in the order of the queue, after COMMIT returned. While nothing waits it sleeps on
a future: no timer, no poll.

When COMMIT raises, its outcome is unknown. Then the connection is closed and opened anew, and the number of the
batch, written within it, tells. In between nobody is answered. If the database cannot be opened within `patience`,
callers get `StoreUnavailable` saying that the outcome is unknown; from then on each new batch tries again. Patient
callers wait on, and are answered as soon as the database can be asked: nobody else's batch is committed before.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from freshet.errors import StoreError
from freshet.store.batch import BatchLost, CommitUnknown, Outcome, Transaction, last_batch, run_batch
from freshet.store.connection import StoreConnection
from freshet.store.faults import unavailable

__all__ = ["Writer", "WriterLimits"]

T = TypeVar("T")


class _Waiting(NamedTuple):
    transaction: Transaction
    future: asyncio.Future[Any]
    patient: bool


@dataclass(frozen=True, slots=True)
class _Unsettled:
    """A batch whose COMMIT raised, and what its patient callers get if it is there."""

    number: int
    entries: list[_Waiting]
    outcomes: list[Outcome]


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """`batch`: most transactions in one commit. `batch_seconds`: after which a batch takes no more. `patience`:
    seconds until callers are told that the store is unavailable. `first_pause`, `longest_pause`: the back-off
    between attempts to open the database anew, in seconds."""

    batch: int = 512
    batch_seconds: float = 0.010
    patience: float = 10.0
    first_pause: float = 0.05
    longest_pause: float = 1.0


class Writer:
    """Owns the read-write connection. `connector` opens it, on the connection's thread."""

    def __init__(
        self,
        path: Path,
        connector: Callable[[], sqlite3.Connection],
        *,
        limits: WriterLimits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._connector = connector
        self._limits = limits
        self._monotonic = monotonic
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._connection: StoreConnection | None = None
        self._number = 0
        self._task: asyncio.Task[None] | None = None
        self._refusal: StoreError | None = None
        self._opening_error: BaseException | None = None
        self._unsettled: _Unsettled | None = None
        self.problem: str | None = None
        """Why the last commit failed; None since one succeeded."""

    async def start(self, prepare: Callable[[sqlite3.Connection], None]) -> None:
        """Open the database, run `prepare` (the migrations) on it, and begin. Raises what opening raises."""
        self._connection = connection = await StoreConnection.open(self._connector)
        try:
            await connection.run(prepare)
            self._number = await connection.run(last_batch)
        except BaseException:
            await self._discard()
            raise
        self._task = asyncio.create_task(self._run(), name="store-writer")

    async def write(self, transaction: Callable[[sqlite3.Connection], T], *, patient: bool = False) -> T:
        """Queue a transaction and wait until it is durable. See `Store.write`."""
        if self._refusal is not None:
            raise self._refusal
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(transaction, future, patient))
        self._wake.set()
        return await future

    async def wait_failed(self) -> None:
        """Wait until the writer ends. Returns after `close()`; raises the writer's own bug if it died of one."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def close(self) -> None:
        """Commit what waits, close the connection. Raises the writer's own bug if it died of one."""
        if self._refusal is None:
            self._refusal = StoreError("the store is closed")
        self._closing = True
        self._wake.set()
        await self.wait_failed()

    async def _run(self) -> None:
        bug: BaseException | None = None
        try:
            while await self._something_waits():
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._limits.batch))]
                handled = 0
                try:
                    handled = await self._commit(batch)
                finally:  # what was not begun goes back to the front; so does all after a bug, for _end() to refuse
                    self._waiting.extendleft(reversed(batch[handled:]))
        except BaseException as error:
            bug = error
            raise
        finally:
            self._end(bug)
            await self._discard()

    async def _something_waits(self) -> bool:
        while not self._waiting:
            if self._closing:
                return False
            self._wake.clear()
            if self._unsettled is None:
                await self._wake.wait()
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._limits.longest_pause)
            if not self._waiting:
                await self._reopen(0)
        return True

    def _end(self, bug: BaseException | None) -> None:
        if bug is not None:
            self._refusal = StoreError("the store's writer has ended", hint="the daemon must be started anew")
            self._refusal.__cause__ = bug
        if self._unsettled is not None:
            self._waiting.extendleft(self._unsettled.entries)
        while self._waiting:
            future = self._waiting.popleft().future
            if not future.done():
                future.set_exception(self._refusal or StoreError("the store is closed"))

    async def _commit(self, batch: list[_Waiting]) -> int:
        """Answer the batch's callers from the front; returns how many. The others were not begun."""
        try:
            outcomes = await self._hop([entry.transaction for entry in batch])
        except BatchLost as lost:
            if lost.reopen:
                await self._reopen(self._limits.patience)
        except CommitUnknown as unknown:
            there = await self._is_there(self._number)
            if there is None:
                return self._leave_open(batch, unknown)
            if there:
                return self._answer(batch, unknown.outcomes)
        else:
            return self._answer(batch, outcomes)
        await self._one_by_one(batch)
        return len(batch)

    async def _one_by_one(self, batch: list[_Waiting]) -> None:
        """The batch failed as a whole: give each caller a commit of its own."""
        until = self._monotonic() + self._limits.patience
        cause: BaseException | None = None
        for entry in batch:
            if cause is not None and self._monotonic() >= until:
                self._refuse([entry], cause)
                continue
            failed = await self._single(entry)
            cause = failed or cause

    async def _single(self, entry: _Waiting) -> BaseException | None:
        cause: BaseException | None = None
        for _ in range(2):  # a commit that left nothing behind gets one more chance
            try:
                outcomes = await self._hop([entry.transaction])
            except BatchLost as lost:
                self._refuse([entry], lost.cause)
                if lost.reopen:
                    await self._discard()
                return lost.cause
            except CommitUnknown as unknown:
                cause = unknown.cause
                there = await self._is_there(self._number)
                if there is None:
                    self._leave_open([entry], unknown)
                    return cause
                if there:
                    self._answer([entry], unknown.outcomes)
                    return None
            else:
                self._answer([entry], outcomes)
                return None
        self._refuse([entry], cause)
        return cause

    async def _hop(self, transactions: list[Transaction]) -> list[Outcome]:
        """One batch on the connection's thread."""
        if self._connection is None and not await self._reopen(0):
            raise BatchLost(self._opening_error)
        assert self._connection is not None  # _reopen() said so
        self._number += 1
        number, limits = self._number, self._limits

        def work(db: sqlite3.Connection) -> list[Outcome]:
            return run_batch(db, transactions, number, seconds=limits.batch_seconds, monotonic=self._monotonic)

        return await self._connection.run(work)

    def _answer(self, batch: list[_Waiting], outcomes: list[Outcome]) -> int:
        committed = False
        for (_, future, _), (ok, result) in zip(batch, outcomes, strict=False):
            committed = committed or ok
            if future.done():  # the caller was cancelled while it waited; its transaction stands
                continue
            if ok:
                future.set_result(result)
            else:
                future.set_exception(result)
        if committed:
            self.problem = None
        return len(outcomes)

    def _refuse(self, entries: list[_Waiting], cause: BaseException | None, *, unknown: bool = False) -> int:
        for _, future, _ in entries:
            error = unavailable(self._path, cause, unknown=unknown)
            self.problem = str(error)
            if not future.done():
                future.set_exception(error)
        return len(entries)

    def _leave_open(self, batch: list[_Waiting], unknown: CommitUnknown) -> int:
        """Nobody can say whether the batch committed: tell those who do not wait until somebody can."""
        begun = batch[: len(unknown.outcomes)]
        self._refuse([entry for entry in begun if not entry.patient], unknown.cause, unknown=True)
        kept = [(entry, outcome) for entry, outcome in zip(begun, unknown.outcomes, strict=True) if entry.patient]
        if kept:
            self.problem = str(unavailable(self._path, unknown.cause, unknown=True))
            self._unsettled = _Unsettled(self._number, [one for one, _ in kept], [one for _, one in kept])
        return len(begun)

    async def _settle(self, connection: StoreConnection) -> None:
        """Answer those who waited, or let what did not commit wait in front of everything else. Raises what asking
        raises."""
        unsettled = self._unsettled
        if unsettled is None:
            return
        there = await connection.run(last_batch) == unsettled.number
        self._unsettled = None
        if there:
            self._answer(unsettled.entries, unsettled.outcomes)
        else:
            self._waiting.extendleft(reversed(unsettled.entries))

    async def _is_there(self, number: int) -> bool | None:
        """Whether a batch committed; None if the database could not be asked within `patience`."""
        if not await self._reopen(self._limits.patience):
            return None
        assert self._connection is not None  # _reopen() said so
        try:
            return await self._connection.run(last_batch) == number
        except (sqlite3.Error, MemoryError):
            await self._discard()
            return None

    async def _reopen(self, patience: float) -> bool:
        """Open the database anew, with back-off; False, and without a connection, if `patience` ended first."""
        until, pause = self._monotonic() + patience, self._limits.first_pause
        while True:
            await self._discard()
            try:
                self._connection = await StoreConnection.open(self._connector)
                await self._settle(self._connection)
            except (sqlite3.Error, OSError, MemoryError, StoreError) as error:
                self._opening_error = error
                if self._monotonic() + pause > until:
                    return False
            else:
                return True
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._limits.longest_pause)

    async def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):  # SQLite frees the handle also where closing reports an error
                await connection.close()
