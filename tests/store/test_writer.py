"""The group commit, through the store's door."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from tests.store.support import failing

from freshet.errors import StoreError
from freshet.store.store import Store, StoreOptions
from freshet.store.writer import WriterLimits

pytestmark = pytest.mark.anyio


def put(db: sqlite3.Connection, key: str) -> str:
    db.execute("INSERT INTO meta (key, value) VALUES (?, '')", (key,))
    return key


def keys(db: sqlite3.Connection) -> list[str]:
    return [key for (key,) in db.execute("SELECT key FROM meta ORDER BY key")]


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def commits(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(batch), 0) FROM batches").fetchone()[0])


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "freshet.db", now=1.0)
    yield opened
    await opened.close()


async def test_what_waits_together_commits_together(store: Store) -> None:
    names = [f"{n:04}" for n in range(1000)]
    answers = await asyncio.gather(*(store.write(partial(put, key=name)) for name in names))
    assert answers == names
    assert await store.read(keys) == names
    assert await store.read(commits) < 100


async def test_a_caller_is_answered_after_its_commit_and_in_order(store: Store) -> None:
    outside = sqlite3.connect(store.path)
    answered: list[str] = []

    async def caller(name: str) -> None:
        await store.write(partial(put, key=name))
        assert name in keys(outside)
        answered.append(name)

    names = [f"{n:02}" for n in range(50)]
    await asyncio.gather(*map(caller, names))
    outside.close()
    assert answered == names


@pytest.mark.parametrize("failing_one", [0, 2, 4])
@pytest.mark.parametrize("error", [ValueError, sqlite3.IntegrityError, StopIteration])
async def test_a_failed_transaction_is_its_callers_alone(
    store: Store, failing_one: int, error: type[Exception]
) -> None:
    def fail(db: sqlite3.Connection) -> str:
        put(db, "half")
        if error is sqlite3.IntegrityError:
            put(db, "half")
        raise error

    work: list[Callable[[sqlite3.Connection], str]] = [partial(put, key=str(n)) for n in range(5)]
    work[failing_one] = fail
    answers = await asyncio.gather(*map(store.write, work), return_exceptions=True)
    expected = [str(n) for n in range(5) if n != failing_one]
    assert [answer for answer in answers if isinstance(answer, str)] == expected
    failure = answers[failing_one]
    assert isinstance(failure, RuntimeError if error is StopIteration else error)
    assert await store.read(keys) == expected


async def test_a_batch_in_which_all_fail_writes_nothing(store: Store) -> None:
    def fail(db: sqlite3.Connection) -> None:
        put(db, "half")
        raise ValueError("no")

    before = await store.read(commits)
    for count in (1, 3):
        answers = await asyncio.gather(*(store.write(fail) for _ in range(count)), return_exceptions=True)
        assert all(isinstance(answer, ValueError) for answer in answers)
    assert await store.read(keys) == []
    assert await store.read(commits) == before


async def test_a_cancelled_callers_transaction_still_commits(store: Store) -> None:
    waiting = [asyncio.create_task(store.write(partial(put, key=str(n)))) for n in range(600)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    assert await store.write(partial(put, key="last")) == "last"
    assert len(await store.read(keys)) == 601
    assert all(
        isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*waiting, return_exceptions=True)
    )


async def test_a_batch_takes_no_more_after_its_time(store: Store) -> None:
    def slow(db: sqlite3.Connection, key: str) -> None:
        put(db, key)
        until = time.monotonic() + 0.012
        while time.monotonic() < until:
            pass

    await store.write(partial(put, key="first"))
    before = await store.read(commits)
    await asyncio.gather(*(store.write(partial(slow, key=str(n))) for n in range(4)))
    assert await store.read(commits) == before + 4


async def test_a_batch_has_at_most_so_many(tmp_path: Path) -> None:
    options = StoreOptions(limits=WriterLimits(batch=10))
    store = await Store.open(tmp_path / "freshet.db", now=1.0, options=options)
    await asyncio.gather(*(store.write(partial(put, key=str(n))) for n in range(100)))
    assert await store.read(commits) == 10
    await store.close()


async def test_closing_commits_what_waits_and_refuses_the_rest(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "freshet.db", now=1.0)
    waiting = [asyncio.create_task(store.write(partial(put, key=str(n)))) for n in range(700)]
    await asyncio.sleep(0)
    await store.close()
    assert len(await asyncio.gather(*waiting)) == 700
    with pytest.raises(StoreError, match="closed"):
        await store.write(partial(put, key="late"))
    with pytest.raises(StoreError, match="closed"):
        await store.read(keys)
    await store.wait_failed()
    assert names(tmp_path) == ["freshet.db"]  # the log is folded back in


async def test_a_bug_of_the_writer_is_loud_and_leaves_nobody_waiting(tmp_path: Path) -> None:
    def script(db: sqlite3.Connection, sql: str, really: Callable[[str], object]) -> None:
        if sql == "COMMIT" and "oops" in keys(db):
            raise LookupError("a bug")

    store = await Store.open(tmp_path / "freshet.db", now=1.0, options=StoreOptions(factory=failing(script)))
    assert await store.write(partial(put, key="fine")) == "fine"
    watching = asyncio.create_task(store.wait_failed())
    answers = await asyncio.gather(
        *(store.write(partial(put, key=key)) for key in ("oops", "a", "b")), return_exceptions=True
    )
    assert all(isinstance(answer, StoreError) for answer in answers)
    with pytest.raises(LookupError, match="a bug"):
        await watching
    with pytest.raises(StoreError, match="ended"):
        await store.write(partial(put, key="late"))
    with pytest.raises(LookupError, match="a bug"):
        await store.close()
    with sqlite3.connect(tmp_path / "freshet.db") as outside:
        assert keys(outside) == ["fine"]
    outside.close()


async def test_reads_see_all_that_was_answered_and_go_on_while_a_write_runs(store: Store) -> None:
    async def both(n: int) -> bool:
        await store.write(partial(put, key=str(n)))
        return str(n) in await store.read(keys)

    assert all(await asyncio.gather(*map(both, range(100))))


async def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await store.read(partial(put, key="x"))
    assert await store.read(keys) == []


async def test_a_cancelled_reader_gives_its_connection_back(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "freshet.db", now=1.0, options=StoreOptions(readers=1))
    reading = [asyncio.create_task(store.read(keys)) for _ in range(5)]
    await asyncio.sleep(0)
    for task in reading:
        task.cancel()
    assert await store.read(keys) == []
    await store.close()
