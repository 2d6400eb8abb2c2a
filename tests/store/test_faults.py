"""Who was told ok is in the table; who was not, is not. With real faults, and with injected ones where SQLite cannot
be made to fail at that point for real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.store.support import failing, sqlite_error

from freshet.errors import StoreError, StoreUnavailable
from freshet.store.store import Store, StoreOptions
from freshet.store.writer import WriterLimits

pytestmark = pytest.mark.anyio

Transaction = Callable[[sqlite3.Connection], str]
Really = Callable[[str], object]

SIZE = 5
POSITIONS = {"first": 0, "middle": 2, "last": 4}
CODES = {
    "full": sqlite3.SQLITE_FULL,
    "ioerr": sqlite3.SQLITE_IOERR,
    "nomem": sqlite3.SQLITE_NOMEM,
    "busy": sqlite3.SQLITE_BUSY,
    "interrupt": sqlite3.SQLITE_INTERRUPT,
}
PATIENT = WriterLimits(patience=60.0, first_pause=0.001, longest_pause=0.01)
IMPATIENT = replace(PATIENT, patience=0.2)
"""Where the database cannot be opened: that a commit takes its time is no fault."""


def put(db: sqlite3.Connection, key: str, value: str = "") -> str:
    db.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))
    return key


def keys(db: sqlite3.Connection) -> list[str]:
    return [key for (key,) in db.execute("SELECT key FROM meta ORDER BY key")]


@asynccontextmanager
async def opened(
    path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection, limits: WriterLimits = PATIENT
) -> AsyncGenerator[Store]:
    options = StoreOptions(busy_timeout=0.01, factory=factory, limits=limits)
    store = await Store.open(path / "freshet.db", now=1.0, options=options)
    try:
        yield store
    finally:
        await store.close()


async def told(store: Store, work: Sequence[Transaction]) -> list[str | None]:
    """Hand in one batch; the answers in order, None for those told that the store is unavailable."""
    answers = await asyncio.gather(*map(store.write, work), return_exceptions=True)
    for answer in answers:
        assert isinstance(answer, str | StoreUnavailable), repr(answer)
        assert isinstance(answer, str) or answer.hint
    return [answer if isinstance(answer, str) else None for answer in answers]


def batch_with(position: int, odd: Transaction) -> list[Transaction]:
    work: list[Transaction] = [partial(put, key=str(n)) for n in range(SIZE)]
    work[position] = odd
    return work


def in_table(path: Path) -> list[str]:
    """What a new process would find."""
    with contextlib.closing(sqlite3.connect(path / "freshet.db")) as outside:
        return keys(outside)


# --- real faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", POSITIONS.values(), ids=POSITIONS)
async def test_disk_full(tmp_path: Path, position: int) -> None:
    def big(db: sqlite3.Connection) -> str:
        return put(db, "big", "x" * 1_000_000)

    def limit(db: sqlite3.Connection, pages: int) -> None:
        db.execute(f"PRAGMA max_page_count = {pages}")

    async with opened(tmp_path) as store:
        pages: int = await store.read(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
        await store.write(partial(limit, pages=pages + 3))
        answers = await told(store, batch_with(position, big))
        assert answers == [str(n) if n != position else None for n in range(SIZE)]
        assert in_table(tmp_path) == [answer for answer in answers if answer]
        await store.write(partial(limit, pages=1_000_000))
        assert await store.write(big) == "big"
        assert store.problem is None


@pytest.mark.parametrize("swallowed", [False, True], ids=["raised", "swallowed"])
@pytest.mark.parametrize("position", POSITIONS.values(), ids=POSITIONS)
async def test_interrupt_undoes_the_whole_batch(tmp_path: Path, position: int, swallowed: bool) -> None:
    """An interrupted write rolls back everything before it, also where the function thinks that it coped."""
    in_transaction: list[bool] = []

    def interrupted(db: sqlite3.Connection) -> str:
        put(db, "half")
        db.set_progress_handler(lambda: 1, 1)
        try:
            db.execute("INSERT INTO meta (key, value) WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n "
                       "LIMIT 100000) SELECT 'x' || i, '' FROM n")  # fmt: skip
        except sqlite3.OperationalError:
            if not swallowed:
                raise
        finally:
            db.set_progress_handler(None, 0)
            in_transaction.append(db.in_transaction)
        return "coped"

    async with opened(tmp_path) as store:
        answers = await told(store, batch_with(position, interrupted))
        assert answers == [str(n) if n != position else None for n in range(SIZE)]
        assert in_table(tmp_path) == [answer for answer in answers if answer]
        assert in_transaction == [False, False]


async def test_busy(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        outsider = sqlite3.connect(tmp_path / "freshet.db", isolation_level=None)
        outsider.execute("BEGIN IMMEDIATE")
        assert await told(store, [partial(put, key=str(n)) for n in range(SIZE)]) == [None] * SIZE
        assert "locked" in (store.problem or "")
        outsider.execute("ROLLBACK")
        outsider.close()
        assert await told(store, [partial(put, key=str(n)) for n in range(SIZE)]) == ["0", "1", "2", "3", "4"]
        assert store.problem is None
    assert in_table(tmp_path) == ["0", "1", "2", "3", "4"]


_CHILD = """
import asyncio, json, resource, signal, sqlite3, sys
from functools import partial
from pathlib import Path
from freshet.errors import StoreError, StoreUnavailable
from freshet.store.store import Store

path, position = Path(sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

def put(db, key, value=""):
    db.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))
    return key

def spill(db):
    db.execute("PRAGMA cache_size = 5")  # pages go to the log before COMMIT
    try:
        return put(db, "big", "x" * 1_000_000)
    finally:
        db.execute("PRAGMA cache_size = -16000")

async def tell(store, work):
    answers = await asyncio.gather(*map(store.write, work), return_exceptions=True)
    return [a if isinstance(a, str) else [type(a).__name__, a.__cause__.sqlite_errorname] for a in answers]

async def main():
    store = await Store.open(path, now=1.0)
    await store.write(partial(put, key="before"))
    await store.read(lambda db: None)  # an open reader keeps the log from being folded back and begun anew
    log = path.with_name(path.name + "-wal").stat().st_size
    work = [partial(put, key=str(n), value="y" * (10_000 if position == "commit" else 10)) for n in range(5)]
    if position != "commit":
        work[int(position)] = spill
    limit = log + (8_000 if position == "commit" else 200_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    answers = await tell(store, work)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    answers += await tell(store, [partial(put, key="after")])
    await store.close()
    print(json.dumps(answers))

asyncio.run(main())
"""


@pytest.mark.parametrize("position", ["0", "2", "4", "commit"])
async def test_io_error(tmp_path: Path, position: str) -> None:
    """A limit on the size of files makes SQLite's own writes fail: within a statement that spills, and in COMMIT."""
    path = tmp_path / "freshet.db"
    child = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", _CHILD, str(path), position], capture_output=True, text=True, check=True
    )
    answers: list[Any] = json.loads(child.stdout)
    refused = [answer for answer in answers if not isinstance(answer, str)]
    assert refused
    assert all(answer[0] == "StoreUnavailable" and answer[1].startswith("SQLITE_IOERR") for answer in refused)
    if position != "commit":
        assert [n for n, answer in enumerate(answers) if answer in refused] == [int(position)]
    assert answers[-1] == "after"
    assert in_table(tmp_path) == sorted(["before", *(answer for answer in answers if isinstance(answer, str))])


# --- injected faults -----------------------------------------------------------------------------------------


class _Injector:
    """Fails at a chosen statement, each time it comes or once, after rolling back or not."""

    def __init__(self, code: int, *, undo: bool) -> None:
        self.code = code
        self.undo = undo
        self.armed = True

    def fail(self, db: sqlite3.Connection, really: Really) -> None:
        if self.undo and db.in_transaction:
            really("ROLLBACK")
        raise sqlite_error(self.code)


@pytest.mark.parametrize("undo", [True, False], ids=["undone", "still open"])
@pytest.mark.parametrize("position", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
async def test_a_fault_within_a_transaction(tmp_path: Path, code: int, position: int, undo: bool) -> None:
    """Injected: the statement of one transaction fails each time it runs."""
    injector = _Injector(code, undo=undo)

    def script(db: sqlite3.Connection, sql: str, really: Really) -> None:
        if sql == "SELECT 'poison'" and injector.armed:
            injector.fail(db, really)

    def poisoned(db: sqlite3.Connection) -> str:
        put(db, "half")
        db.execute("SELECT 'poison'")
        return "half"

    async with opened(tmp_path, failing(script)) as store:
        answers = await told(store, batch_with(position, poisoned))
        assert answers == [str(n) if n != position else None for n in range(SIZE)]
        assert in_table(tmp_path) == [answer for answer in answers if answer]
        injector.armed = False
        assert await store.write(poisoned) == "half"


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
async def test_commit_raises_once(tmp_path: Path, code: int, committed: bool) -> None:
    """Injected: COMMIT fails after it committed (answered by what is there), or before (tried again)."""
    armed = [False]

    def script(db: sqlite3.Connection, sql: str, really: Really) -> None:
        if sql == "COMMIT" and armed[0]:
            armed[0] = False
            really("COMMIT" if committed else "ROLLBACK")
            raise sqlite_error(code)

    calls: list[str] = []

    def counted(db: sqlite3.Connection, key: str) -> str:
        calls.append(key)
        return put(db, key)

    async with opened(tmp_path, failing(script)) as store:
        armed[0] = True
        names = [str(n) for n in range(SIZE)]
        assert await told(store, [partial(counted, key=name) for name in names]) == names
        assert calls == (names if committed else names * 2)
        assert await store.write(partial(put, key="more")) == "more"
    assert in_table(tmp_path) == [*names, "more"]


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
async def test_commit_raises_always(tmp_path: Path, code: int) -> None:
    """Injected: until it heals nobody is told ok, and nothing is there."""
    broken = [False]

    def script(db: sqlite3.Connection, sql: str, really: Really) -> None:
        if sql == "COMMIT" and broken[0]:
            raise sqlite_error(code)

    async with opened(tmp_path, failing(script)) as store:
        broken[0] = True
        assert await told(store, [partial(put, key=str(n)) for n in range(SIZE)]) == [None] * SIZE
        assert in_table(tmp_path) == []
        assert store.problem
        broken[0] = False
        assert await told(store, [partial(put, key=str(n)) for n in range(SIZE)]) == ["0", "1", "2", "3", "4"]
        assert store.problem is None


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
async def test_the_database_cannot_be_asked_after_a_failed_commit(tmp_path: Path, committed: bool) -> None:
    """Injected: callers learn in bounded time that the outcome is unknown; later writes work once it can be opened."""
    armed, closed = [False], threading.Event()

    def script(db: sqlite3.Connection, sql: str, really: Really) -> None:
        if sql == "COMMIT" and armed[0]:
            armed[0] = False
            closed.set()
            really("COMMIT" if committed else "ROLLBACK")
            raise sqlite_error(sqlite3.SQLITE_IOERR)

    def opening() -> None:
        if closed.is_set():
            raise sqlite_error(sqlite3.SQLITE_CANTOPEN)

    async with opened(tmp_path, failing(script, opening=opening), IMPATIENT) as store:
        armed[0] = True
        with pytest.raises(StoreUnavailable, match="may or may not"):
            await store.write(partial(put, key="unknown"))
        with pytest.raises(StoreUnavailable, match="was not written"):
            await store.write(partial(put, key="refused"))
        closed.clear()
        assert await store.write(partial(put, key="healed")) == "healed"
        assert store.problem is None
    assert in_table(tmp_path) == (["healed", "unknown"] if committed else ["healed"])


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize("others", [1, 3])
async def test_who_is_patient_is_written_once_and_told_so(tmp_path: Path, committed: bool, others: int) -> None:
    """Injected: no outcome is unknown to them, however long the database cannot be asked; others are told in time."""
    armed, closed, ran = [False], threading.Event(), [0]

    def script(db: sqlite3.Connection, sql: str, really: Really) -> None:
        if sql == "COMMIT" and armed[0]:
            armed[0] = False
            closed.set()
            really("COMMIT" if committed else "ROLLBACK")
            raise sqlite_error(sqlite3.SQLITE_IOERR)

    def opening() -> None:
        if closed.is_set():
            raise sqlite_error(sqlite3.SQLITE_CANTOPEN)

    def counted(db: sqlite3.Connection) -> str:
        ran[0] += 1
        return put(db, "patient")

    async with opened(tmp_path, failing(script, opening=opening), IMPATIENT) as store:
        armed[0] = True
        patient = asyncio.create_task(store.write(counted, patient=True))
        assert await told(store, [partial(put, key=str(n)) for n in range(others)]) == [None] * others
        with pytest.raises(StoreUnavailable, match="was not written"):
            await store.write(partial(put, key="refused"))
        assert (patient.done(), bool(store.problem)) == (False, True)
        closed.clear()
        assert await patient == "patient"
        assert ran == [1 if committed else 2]
        assert await store.write(partial(put, key="z")) == "z"
        assert store.problem is None
    there = {"patient", "z"} | ({str(n) for n in range(others)} if committed else set[str]())
    assert in_table(tmp_path) == sorted(there)


async def test_a_store_that_closes_lets_go_who_is_patient(tmp_path: Path) -> None:
    armed, closed = [False], threading.Event()

    def script(db: sqlite3.Connection, sql: str, really: Really) -> None:
        if sql == "COMMIT" and armed[0]:
            closed.set()
            raise sqlite_error(sqlite3.SQLITE_IOERR)

    def opening() -> None:
        if closed.is_set():
            raise sqlite_error(sqlite3.SQLITE_CANTOPEN)

    async with opened(tmp_path, failing(script, opening=opening), IMPATIENT) as store:
        armed[0] = True
        patient = asyncio.create_task(store.write(partial(put, key="x"), patient=True))
        await asyncio.sleep(0)  # it goes first
        with pytest.raises(StoreUnavailable):
            await store.write(partial(put, key="y"))
    with pytest.raises(StoreError, match="closed"):
        await patient


async def test_a_reopening_that_takes_a_while_is_waited_for(tmp_path: Path) -> None:
    """Injected: the third attempt to open succeeds within the callers' patience."""
    armed, refusals = [False], [0]

    def script(db: sqlite3.Connection, sql: str, really: Really) -> None:
        if sql == "COMMIT" and armed[0]:
            armed[0] = False
            refusals[0] = 2
            raise sqlite_error(sqlite3.SQLITE_IOERR)

    def opening() -> None:
        if refusals[0]:
            refusals[0] -= 1
            raise sqlite_error(sqlite3.SQLITE_CANTOPEN)

    async with opened(tmp_path, failing(script, opening=opening)) as store:
        armed[0] = True
        assert await told(store, [partial(put, key=str(n)) for n in range(3)]) == ["0", "1", "2"]
    assert refusals == [0]
    assert in_table(tmp_path) == ["0", "1", "2"]


@pytest.mark.parametrize("undo", [True, False], ids=["undone", "still open"])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM], ids=["full", "nomem"])
async def test_one_fault_at_every_statement(tmp_path: Path, code: int, undo: bool) -> None:
    """Injected: a batch of four, the n-th statement of which fails once, for every n: all are told ok, once each."""
    for failing_statement in range(1, 100):
        folder = tmp_path / str(failing_statement)
        folder.mkdir()
        left = [0]
        injector = _Injector(code, undo=undo)

        def script(db: sqlite3.Connection, sql: str, really: Really, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                injector.fail(db, really)  # noqa: B023  # runs within this turn of the loop

        def two(db: sqlite3.Connection, key: str) -> str:
            put(db, f"{key}a")
            put(db, f"{key}b")
            return key

        async with opened(folder, failing(script)) as store:
            left[0] = failing_statement
            assert await told(store, [partial(two, key=str(n)) for n in range(4)]) == ["0", "1", "2", "3"]
            missed = left[0] > 0
        assert in_table(folder) == ["0a", "0b", "1a", "1b", "2a", "2b", "3a", "3b"]
        if missed:
            assert failing_statement == 20  # beyond BEGIN, four statements each, the batch's row, COMMIT
            return
    raise AssertionError("the sweep did not come to its end")


@pytest.mark.parametrize("undo", [True, False], ids=["undone", "still open"])
async def test_everything_fails_from_any_statement_on(tmp_path: Path, undo: bool) -> None:
    """Injected: from the n-th statement on all writes fail until it heals: who was told ok is there, nobody else."""
    for first in range(1, 30):
        folder = tmp_path / str(first)
        folder.mkdir()
        left = [10_000]
        injector = _Injector(sqlite3.SQLITE_IOERR, undo=undo)

        def script(db: sqlite3.Connection, sql: str, really: Really, left: list[int] = left) -> None:
            if sql.startswith(("SELECT", "PRAGMA", "ROLLBACK")):
                return
            left[0] -= 1
            if left[0] <= 0:
                injector.fail(db, really)  # noqa: B023  # runs within this turn of the loop

        async with opened(folder, failing(script)) as store:
            left[0] = first
            answers = await told(store, [partial(put, key=str(n)) for n in range(4)])
            assert in_table(folder) == [answer for answer in answers if answer]
            left[0] = 10_000
            assert await store.write(partial(put, key="healed")) == "healed"
