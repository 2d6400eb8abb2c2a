"""What the store can do by itself: a lone commit, many at once, and whole tick outcomes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from tests.bench.figure import Bench, Figure, Row
from tests.bench.machine import flush_milliseconds

from freshet.store.records import TickCommit, TickerRow
from freshet.store.store import Store
from freshet.store.tickers import register_ticker
from freshet.store.ticks import commit_tick

__all__ = ["FIGURE"]

_TICKERS = 1000
_CALLERS = 256


def _measure(bench: Bench) -> Iterator[Row]:
    count = bench.pick(500, 100)
    yield Row.of("disk: 4 KiB appended and flushed", "ms", flush_milliseconds(bench.scratch, count))
    yield Row.of("SQLite alone: one commit, WAL, FULL", "ms", _bare(bench.scratch / "bare.db", count))
    yield from anyio.run(_of_store, bench.scratch / "store.db", count, bench.pick(5, 2))


def _bare(path: Path, count: int) -> list[float]:
    found = list[float]()
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE lines (id INTEGER PRIMARY KEY, text TEXT)")
        for number in range(count):
            began = time.perf_counter()
            db.execute("INSERT INTO lines (text) VALUES (?)", (f"line {number}",))
            found.append((time.perf_counter() - began) * 1000)
    finally:
        db.close()
    return found


async def _of_store(path: Path, count: int, turns: int) -> list[Row]:
    store = await Store.open(path, now=time.time())
    try:
        return [
            Row.of("store: one lone commit", "ms", await _lone(store, count)),
            Row.of("store: commits of 256 callers at once", "1/s", [await _together(store) for _ in range(turns)]),
            Row.of("store: tick outcomes of 1,000 sensors at once", "1/s", await _ticks(store, turns)),
        ]
    finally:
        await store.close()


def _note(db: sqlite3.Connection, *, text: str) -> None:
    db.execute("CREATE TABLE IF NOT EXISTS bench (id INTEGER PRIMARY KEY, text TEXT)")
    db.execute("INSERT INTO bench (text) VALUES (?)", (text,))


async def _lone(store: Store, count: int) -> list[float]:
    found = list[float]()
    for number in range(count):
        began = time.perf_counter()
        await store.write(partial(_note, text=f"line {number}"))
        found.append((time.perf_counter() - began) * 1000)
    return found


async def _together(store: Store, each: int = 20) -> float:
    """Commits per second of callers that each write again as soon as they are answered."""

    async def caller(number: int) -> None:
        for turn in range(each):
            await store.write(partial(_note, text=f"caller {number}, turn {turn}"))

    return _CALLERS * each / await _seconds(caller, _CALLERS)


async def _ticks(store: Store, turns: int) -> list[float]:
    """Tick outcomes per second, each a new cursor, all sensors at once."""
    rows: list[TickerRow] = [
        await store.write(partial(register_ticker, kind="sensor", name=f"sensor-{number}"))
        for number in range(_TICKERS)
    ]
    found = list[float]()
    for turn in range(turns):

        async def tick(number: int, turn: int = turn) -> None:
            row, now = rows[number], time.time()
            commit = TickCommit(
                ticker=row.id,
                tick_id=turn * _TICKERS + number + 1,
                revision=row.revision,
                started_at=now,
                ended_at=now,
                cursor={"turn": turn},
                cursor_changed=True,
            )
            await store.write(partial(commit_tick, commit=commit))

        found.append(_TICKERS / await _seconds(tick, _TICKERS))
    return found


async def _seconds(work: Callable[[int], Any], count: int) -> float:
    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(work, number)
    return time.perf_counter() - began


FIGURE = Figure("commits", "the store by itself: commits and tick outcomes", _measure)
