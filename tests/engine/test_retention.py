"""What stays of history is exactly what must: the loop against a slow look at everything."""

from __future__ import annotations

import atexit
import math
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.support import open_database

from freshet import Listen
from freshet.definitions.graph import Definitions
from freshet.definitions.limits import Limits, PoolLimit
from freshet.definitions.pool import Rate
from freshet.definitions.retention import Retention
from freshet.definitions.sensor import SensorSpec
from freshet.engine.bus import Bus
from freshet.engine.clock import SimulatedClock
from freshet.engine.heap import DueHeap
from freshet.engine.instruments import InForce, Instruments
from freshet.engine.leftovers import too_large
from freshet.engine.partitions.graph import PartitionGraph
from freshet.engine.partitions.sets import Sets
from freshet.engine.sweeper import Sweeper
from freshet.engine.work import Work
from freshet.store.retention import LAST_TICKS
from freshet.store.store import Store

pytestmark = pytest.mark.anyio

DAY = 86400.0
NOW = 1000 * DAY
DEFINITIONS = Definitions(sensors=(SensorSpec("listening", "sensor", listens=Listen("materialized")),))
KEEP = Retention()
ENDED = ("succeeded", "failed", "canceled")


@dataclass(frozen=True)
class Kept:
    """A store, and a sweeper on it in virtual time."""

    folder: Path
    store: Store
    clock: SimulatedClock
    sweeper: Sweeper
    work: Work

    async def sweep(self, *, days: float = 0.0) -> None:
        """After so many days, once as at the start."""
        await self.clock.advance(days * DAY, self.work.idle)
        self.sweeper.start()
        await self.clock.advance(0.0, self.work.idle)
        self.sweeper.stop()

    async def put(self, sql: str, *rows: tuple[Any, ...]) -> None:
        """Insert rows."""

        def insert(db: sqlite3.Connection) -> None:
            db.executemany(f"INSERT INTO {sql} VALUES ({', '.join('?' * len(rows[0]))})", rows)

        if rows:
            await self.store.write(insert)

    async def rows(self, sql: str) -> list[Any]:
        """All rows; of one column, its values."""
        found: list[Any] = await self.store.read(lambda db: db.execute(sql).fetchall())
        return [row[0] if len(row) == 1 else row for row in found]


@cache
def _empty() -> Path:
    """A database that is copied in place of being made each time."""
    path = Path(tempfile.mkdtemp()) / "freshet.db"
    open_database(path).close()
    atexit.register(shutil.rmtree, path.parent)
    return path


@asynccontextmanager
async def kept(folder: Path, keep: Retention = KEEP, *, limits: Limits | None = None) -> AsyncGenerator[Kept]:
    """Nothing in it yet, but a sensor that listens and has read it all."""
    clock = SimulatedClock(NOW)
    shutil.copy(_empty(), folder / "freshet.db")
    store = await Store.open(folder / "freshet.db", now=NOW)
    work = Work()
    force = InForce(DEFINITIONS, PartitionGraph(DEFINITIONS, Sets(DEFINITIONS, {})))
    instruments = Instruments(clock, DueHeap(clock), store, Bus(), work, force, random.Random(0))
    instruments.heap.start()
    sweeper = Sweeper(instruments, keep, limits=limits or Limits(), state_dir=folder)
    try:
        yield Kept(folder, store, clock, sweeper, work)
    finally:
        instruments.heap.stop()
        await store.close()


# --- a random past, and a slow look at it ---------------------------------------------------------------------------

Ago = st.integers(0, 60)


@dataclass(frozen=True)
class Run:
    """`begun` and `lasted` in days; `parent`: how many runs before it."""

    begun: int
    lasted: int
    state: str
    parent: int | None
    backfill: int | None
    still_failed: bool
    steps: int


@dataclass
class Past:
    """What has happened. Ages are days before `NOW`; those of ticks, events and runs are sorted, oldest first, unless
    the clock was set back."""

    ticks: list[tuple[int, int]]
    instants: list[tuple[int, int, str]]
    events: list[tuple[int, str, int | None, int | None]]
    read: tuple[int, int]
    runs: list[Run]
    inbox: list[tuple[int, str, int]]
    pending: list[tuple[int, str, int]]
    keep: Retention = field(default_factory=Retention)
    span: float = 0.0


RUNS = st.builds(
    Run,
    Ago,
    st.integers(0, 20),
    st.sampled_from([*ENDED, "queued", "started"]),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 3),
    st.booleans(),
    st.integers(0, 4) | st.just(1_100),
)
# Half days: a sweep takes a moment, and nothing shall be just as old as is kept.
KEEPS = st.builds(
    Retention,
    ticks=st.integers(1, 50).map(lambda days: (days + 0.5) * DAY),
    events=st.integers(1, 50).map(lambda days: (days + 0.5) * DAY),
    runs=st.integers(1, 50).map(lambda days: (days + 0.5) * DAY),
    inbox=st.integers(1, 50).map(lambda days: (days + 0.5) * DAY),
    max_ticks=st.sampled_from([0, 25, 30, 10_000]),
    max_events=st.sampled_from([0, 5, 10, 1000]),
    max_runs=st.sampled_from([0, 3, 8, 1000]),
    max_inbox=st.sampled_from([0, 3, 8, 1000]),
)
PASTS = st.builds(
    Past,
    ticks=st.lists(st.tuples(st.integers(1, 2), Ago), max_size=70),
    instants=st.lists(st.tuples(Ago, st.integers(1, 2), st.sampled_from(["fired", "skipped"])), max_size=60),
    events=st.lists(
        st.tuples(
            Ago,
            st.sampled_from(["materialized", "started", "run_succeeded", "partition_added"]),
            st.none() | st.integers(1, 2),
            st.integers(0, 2),
        ),
        max_size=25,
    ),
    read=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    runs=st.lists(RUNS, max_size=14),
    inbox=st.lists(st.tuples(Ago, st.sampled_from(["waiting", "admitted", "parked", "rejected"]), Ago), max_size=14),
    pending=st.lists(st.tuples(Ago, st.sampled_from(["waiting", "admitted", "folded"]), Ago), max_size=14),
    keep=KEEPS,
    span=st.sampled_from([0.5, 0.5, 2.5, 40.5]),
)


def at(ago: float) -> float:
    """The instant so many days ago."""
    return NOW - ago * DAY


def in_order(past: Past) -> Past:
    """The clock was never set back."""
    for rows in (past.ticks, past.instants, past.events, past.inbox, past.pending):
        rows.sort(key=lambda row: row[1] if rows is past.ticks else row[0], reverse=True)
    past.runs.sort(key=lambda run: run.begun, reverse=True)
    return past


async def plant(one: Kept, past: Past) -> None:
    """Put it all in."""
    await one.put("tickers (id, kind, name, cursor)", (1, "sensor", "listening", str(past.read[0])))
    await one.put("tickers (id, kind, name)", (2, "sensor", "other"), (3, "schedule", "daily"))
    await one.put("meta (key, value)", ("automation_seq", str(past.read[1])))
    await one.put("assets (id, name)", (1, "a"), (2, "b"))
    await one.put("partition_sets (id, name, kind)", (1, "s", "dynamic"))
    await one.put(
        "ticks (id, ticker_id, status, started_at, ended_at)",
        *((n, ticker, "committed", at(ago), at(ago)) for n, (ticker, ago) in enumerate(past.ticks, 1)),
    )
    await one.put(
        "schedule_ticks (ticker_id, version, nominal, until, count, status, tick_id, decided_at)",
        *((3, f"v{v}", at(ago) + n, at(ago), 1, what, n, at(ago) + n) for n, (ago, v, what) in _instants(past)),
    )
    await one.put(
        "events (seq, txn, at, type, asset_id, set_id, partition)",
        *(
            (n, n, at(ago), kind, *((None, 1) if kind == "partition_added" else (asset, None)), partition)
            for n, (ago, kind, asset, partition) in enumerate(past.events, 1)
        ),
    )
    await one.put("backfills (id, state, request, created_at)", *((n, s, "{}", 0.0) for n, s in BACKFILLS.items()))
    for n, run in enumerate(past.runs, 1):
        await plant_run(one, n, run)
    await one.put(
        "inbox (id, ticker_id, delivery, digest, state, received_at, decided_at, size, body)",
        *((n, 1, str(n), b"", s, at(ago), _done(s, ago, later), 0, b"") for n, (ago, s, later) in _rows(past.inbox)),
    )
    await one.put(
        "pending (id, ticker_id, tick_id, target, params, tags, priority, came_at, state, settled_at)",
        *(
            (n, 1, 1, "t", "{}", "{}", 0, at(ago), s, _done(s, ago, later))
            for n, (ago, s, later) in _rows(past.pending)
        ),
    )


BACKFILLS = {1: "running", 2: "succeeded", 3: "paused"}


def _rows(rows: list[tuple[int, str, int]]) -> list[tuple[int, tuple[int, str, int]]]:
    return list(enumerate(rows, 1))


def _instants(past: Past) -> list[tuple[int, tuple[int, int, str]]]:
    return list(enumerate(past.instants))


def _done(state: str, ago: int, later: int) -> float | None:
    return None if state in ("waiting", "parked") else at(max(0, ago - later))


async def plant_run(one: Kept, n: int, run: Run) -> None:
    """Its row, its steps, its key, and what says that it has failed."""
    ended = at(max(0, run.begun - run.lasted)) if run.state in ENDED else None
    origin = "test" if run.backfill is None else f"backfill:{run.backfill}"
    columns = "runs (id, kind, target, state, origin, created_at, ended_at)"
    await one.put(columns, (n, "asset", "a", run.state, origin, at(run.begun), ended))
    rows = ((n, place, "a", 1, n, "failed") for place in range(run.steps))
    await one.put("steps (run_id, position, name, asset_id, partition, state)", *rows)
    await one.put("run_keys (target, partition, run_key, run_id)", ("a", "", str(n), n))
    if run.still_failed:
        await one.put("asset_state (asset_id, partition, failed_seq, failed_run)", (1, n, 1, n))
    if run.parent is not None and n - run.parent > 0:
        columns = "sub_runs (run_id, parent, position, call, attempt, waited)"
        await one.put(columns, (n, n - run.parent, 0, str(n), 1, 1))


class Slowly:
    """What must be there after sweeps, told from the whole past."""

    def __init__(self, past: Past, now: float) -> None:
        self.past, self.keep, self.now = past, past.keep, now
        self.read = min(past.read)
        unread = [at(row[0]) for n, row in enumerate(past.events, 1) if n > self.read]
        self.needed = unread[0] if unread else math.inf
        self.counted = now - past.span * DAY

    def ticks(self) -> set[int]:
        stay = set[int]()
        for ticker in (1, 2):
            own = [(n, at(ago)) for n, (of, ago) in enumerate(self.past.ticks, 1) if of == ticker]
            beyond = len(own) - max(self.keep.max_ticks, LAST_TICKS) if self.keep.max_ticks else 0
            gone = 0
            while gone < len(own) - LAST_TICKS and (gone < beyond or own[gone][1] < self.now - self.keep.ticks):
                if own[gone][1] >= self.needed:
                    break
                gone += 1
            stay |= {n for n, _ in own[gone:]}
        return stay

    def events(self) -> set[int]:
        beyond = len(self.past.events) - self.keep.max_events if self.keep.max_events else 0
        old = list(
            takewhile(
                lambda row: (
                    row[0] <= self.read
                    and at(row[1][0]) < self.counted
                    and (at(row[1][0]) < self.now - self.keep.events or row[0] <= beyond)
                ),
                enumerate(self.past.events, 1),
            )
        )
        last: dict[Any, int] = {}
        for n, (_, kind, asset, partition) in old:
            if kind == "partition_added":
                last["set", partition] = n
            elif asset is not None:
                last[asset, kind, partition] = n
        return {*last.values(), *range(len(old) + 1, len(self.past.events) + 1)}

    def runs(self) -> set[int]:
        runs = dict(enumerate(self.past.runs, 1))
        beyond = len(runs) - self.keep.max_runs if self.keep.max_runs else 0
        live = {n for n, run in runs.items() if run.state not in ENDED}
        pairs = [(n, n - run.parent) for n, run in runs.items() if run.parent is not None and n > run.parent]
        stay = set(live)
        for n, run in runs.items():
            ended = at(max(0, run.begun - run.lasted))
            family = {*(b for a, b in pairs if a == n), *(a for a, b in pairs if b == n)}
            of_backfill = run.backfill is not None and BACKFILLS[run.backfill] in ("running", "paused")
            if of_backfill or family & live or (run.still_failed and run.steps):
                stay.add(n)
            if ended >= min(self.needed, self.counted) or (ended >= self.now - self.keep.runs and n > beyond):
                stay.add(n)
        return stay

    def rows(self, rows: list[tuple[int, str, int]], keep: float, most: int) -> set[int]:
        beyond = len(rows) - most if most else 0
        stay = set[int]()
        for n, (ago, state, later) in _rows(rows):
            done = _done(state, ago, later)
            if done is None or (done >= self.now - keep and n > beyond):
                stay.add(n)
        return stay

    def instants(self) -> set[int]:
        stay = set[int]()
        for version in (1, 2):
            own = [(n, row) for n, row in _instants(self.past) if row[1] == version]
            lasts = {what: n for n, (_, _, what) in own}
            beyond = len(own) - max(self.keep.max_ticks, LAST_TICKS) if self.keep.max_ticks else 0
            stays = False
            for place, (n, (ago, _, _)) in enumerate(own):
                decided = at(ago) + n
                old = decided < self.needed and (decided < self.now - self.keep.ticks or place < beyond)
                stays = stays or not old or place >= len(own) - LAST_TICKS
                if stays or n in lasts.values():
                    stay.add(n)
        return stay


async def _same(one: Kept, past: Past, now: float) -> None:
    """The store holds what it must."""
    slowly = Slowly(past, now)
    assert set(await one.rows("SELECT id FROM ticks")) == slowly.ticks()
    assert set(await one.rows("SELECT tick_id FROM schedule_ticks")) == slowly.instants()
    assert set(await one.rows("SELECT seq FROM events")) == slowly.events()
    runs = slowly.runs()
    assert set(await one.rows("SELECT id FROM runs")) == runs
    steps = {n: past.runs[n - 1].steps for n in runs if past.runs[n - 1].steps}
    assert dict(await one.rows("SELECT run_id, count(*) FROM steps GROUP BY 1")) == steps
    assert (
        set(await one.rows("SELECT run_id FROM sub_runs")) <= runs >= set(await one.rows("SELECT parent FROM sub_runs"))
    )
    assert set(await one.rows("SELECT run_id FROM run_keys")) == set(range(1, len(past.runs) + 1))
    assert set(await one.rows("SELECT id FROM inbox")) == slowly.rows(past.inbox, past.keep.inbox, past.keep.max_inbox)
    assert await one.rows("PRAGMA foreign_key_check") == []


@settings(max_examples=50, deadline=None)
@given(past=PASTS.map(in_order), days=st.integers(0, 30))
async def test_what_stays_is_what_must(tmp_path_factory: pytest.TempPathFactory, past: Past, days: int) -> None:
    """All tables, after one sweep, and after another one some days later."""
    limits = Limits({"db": PoolLimit(1, Rate(1, past.span * DAY))} if past.span else {})
    async with kept(tmp_path_factory.mktemp("state"), past.keep, limits=limits) as one:
        await plant(one, past)
        await one.sweep()
        await _same(one, past, NOW)
        await one.sweep(days=days)
        await _same(one, past, NOW + days * DAY)


@settings(max_examples=20, deadline=None)
@given(past=PASTS)
async def test_a_clock_that_was_set_back_costs_nothing_that_must_stay(
    tmp_path_factory: pytest.TempPathFactory, past: Past
) -> None:
    """Ages in any order: what is needed is there, and what is young."""
    limits = Limits({"db": PoolLimit(1, Rate(1, past.span * DAY))} if past.span else {})
    async with kept(tmp_path_factory.mktemp("state"), past.keep, limits=limits) as one:
        await plant(one, past)
        await one.sweep()
        slowly = Slowly(past, NOW)
        assert slowly.runs() <= set(await one.rows("SELECT id FROM runs"))
        assert slowly.events() <= set(await one.rows("SELECT seq FROM events"))
        for ticker in (1, 2):
            ids = [n for n, (of, _) in enumerate(past.ticks, 1) if of == ticker]
            stay = await one.rows(f"SELECT id FROM ticks WHERE ticker_id = {ticker} ORDER BY id")
            assert stay == ids[len(ids) - len(stay) :], "no holes"


@pytest.mark.parametrize(
    ("pending", "stays"), [(("waiting", 60), True), (("admitted", 0), False), (("folded", 59), True)]
)
async def test_requests_that_are_settled_go(tmp_path: Path, pending: tuple[str, int], stays: bool) -> None:
    state, lasted = pending
    past = in_order(Past([], [], [], (0, 0), [], [], [(60, state, lasted)]))
    async with kept(tmp_path) as one:
        await plant(one, past)
        await one.sweep()
        assert bool(await one.rows("SELECT id FROM pending")) == stays


# --- files --------------------------------------------------------------------------------------------------------


async def test_the_files_of_a_run_go_with_it_or_before_it(tmp_path: Path) -> None:
    """What lies there of a run that is forgotten, or that a crash left; of one that ended long ago; not of others."""
    runs = [Run(95, 1, "failed", None, None, False, 1), Run(40, 1, "succeeded", None, None, False, 1)]
    runs += [Run(10, 1, "succeeded", None, None, False, 1), Run(100, 0, "started", None, None, False, 1)]
    async with kept(tmp_path) as one:
        await plant(one, Past([], [], [], (0, 0), runs, [], []))
        for n in (1, 2, 3, 4, 77):
            (tmp_path / "runs" / str(n) / "artifacts").mkdir(parents=True)
            (tmp_path / "runs" / str(n) / "journal.jsonl").write_text("{}\n")
        (tmp_path / "runs" / "notes").mkdir()
        await one.sweep()
        assert {path.name for path in (tmp_path / "runs").iterdir()} == {"3", "4", "notes"}
        assert await one.rows("SELECT id FROM runs") == [2, 3, 4]


@given(sizes=st.lists(st.integers(-50, 50), max_size=12), most=st.integers(1, 200))
def test_the_oldest_files_go_first(sizes: list[int], most: int) -> None:
    """What remains fits, or is of runs that have not ended; and nothing went that need not."""
    known = list(enumerate(sizes))
    gone = too_large(random.Random(1).sample(known, len(known)), most)
    assert gone == sorted(gone)
    assert all(sizes[n] >= 0 for n in gone)
    rest = sum(abs(size) for n, size in known if n not in gone)
    assert rest <= most or gone == [n for n, size in known if size >= 0]
    assert not gone or rest + sizes[gone[-1]] > most


async def test_files_beyond_a_size_go(tmp_path: Path) -> None:
    runs = [Run(5, 1, "succeeded", None, None, False, 1) for _ in range(4)]
    async with kept(tmp_path, Retention(max_journals=2_500)) as one:
        await plant(one, Past([], [], [], (0, 0), runs, [], []))
        for n in (1, 2, 3, 4):
            (tmp_path / "runs" / str(n)).mkdir(parents=True)
            (tmp_path / "runs" / str(n) / "journal.jsonl").write_bytes(b"x" * 1000)
        await one.sweep()
        assert {path.name for path in (tmp_path / "runs").iterdir()} == {"3", "4"}


def _value(folder: Path, path: str, *, days: float) -> None:
    file = folder / "values" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("1")
    os.utime(file, (NOW - days * DAY, NOW - days * DAY))


async def test_values_that_nothing_names_go(tmp_path: Path) -> None:
    """Named by a state, also under the name that its asset had; by the cache; young; or of a run that goes on: they
    stay. They go at the second look."""
    runs = [Run(20, 1, "succeeded", None, None, False, 1), Run(20, 0, "started", None, None, False, 0)]
    async with kept(tmp_path) as one:
        await plant(one, Past([], [], [], (0, 0), runs, [], []))
        named = '["earlier/@/1-1.json","json",1,""]'
        await one.put(
            "asset_state (asset_id, partition, value)", (1, 0, named), (1, 7, '["","none",0,""]'), (2, 1, None)
        )
        cached = ("x", 0.0, 1, '["a/@/1-2.json","json",1,""]')
        await one.put("cached (asset_id, partition, key, at, run_id, value)", (1, 0, *cached))
        stay = ["earlier/@/1-1.json", "a/@/1-2.json", "a/@/2-1.json", "a/k/key", "a/@/1-9.json"]
        go = ["a/@/1-3.json", "a/k/1-1.parquet", "gone/@/900-1.json", "a/@/.1-4.json.77.tmp"]
        for path in (*stay, *go):
            _value(tmp_path, path, days=1.5 if path.endswith("9.json") else 30)
        await one.sweep()
        assert _files(tmp_path) == {*stay, *go}
        await one.sweep(days=1)
        assert _files(tmp_path) == {*stay}


async def test_values_stay_for_those_who_may_read_them(tmp_path: Path) -> None:
    """A step that was under way when its input was replaced may still read it."""
    async with kept(tmp_path) as one:
        await plant(one, Past([], [], [], (0, 0), [Run(20, 0, "started", None, None, False, 0)], [], []))
        columns = "steps (run_id, position, name, asset_id, state, started_at)"
        await one.put(columns, (1, 0, "a", 1, "started", at(20)))
        _value(tmp_path, "b/@/900-1.json", days=30)
        await one.sweep()
        await one.sweep(days=1)
        assert _files(tmp_path) == {"b/@/900-1.json"}
        await one.store.write(lambda db: db.execute("UPDATE steps SET state = 'succeeded'").rowcount)
        await one.sweep(days=1)
        assert _files(tmp_path) == set()


async def test_a_value_that_is_named_again_stays(tmp_path: Path) -> None:
    async with kept(tmp_path) as one:
        await plant(one, Past([], [], [], (0, 0), [], [], []))
        _value(tmp_path, "b/@/900-1.json", days=30)
        await one.sweep()
        await one.put("asset_state (asset_id, partition, value)", (1, 0, '["b/@/900-1.json","json",1,""]'))
        await one.sweep(days=1)
        assert _files(tmp_path) == {"b/@/900-1.json"}


def _files(folder: Path) -> set[str]:
    values = folder / "values"
    return {path.relative_to(values).as_posix() for path in values.rglob("*") if path.is_file()}


# --- what it costs ------------------------------------------------------------------------------------------------


async def test_the_file_becomes_smaller(tmp_path: Path) -> None:
    """Empty pages go back, in steps; a tenth of them may stay."""
    async with kept(tmp_path) as one:
        await plant(one, Past([], [], [], (0, 0), [], [], []))
        data = '"' + "x" * 1000 + '"'
        await one.put("events (seq, txn, at, type, data)", *((n, n, at(60), "note", data) for n in range(1, 15_001)))
        await one.store.write(lambda db: db.execute("UPDATE meta SET value = '15000'").rowcount)
        await one.store.write(lambda db: db.execute("UPDATE tickers SET cursor = '15000'").rowcount)
        (before,) = await one.rows("PRAGMA page_count")
        await one.sweep()
        assert await one.rows("SELECT count(*) FROM events") == [0]
        (after,), (empty,) = await one.rows("PRAGMA page_count"), await one.rows("PRAGMA freelist_count")
        assert after < before / 2
        assert empty <= 1_100


async def test_rest_costs_one_entry_of_the_heap(tmp_path: Path) -> None:
    """Nothing is looked at until the hour is over, and nothing written where nothing goes."""
    async with kept(tmp_path) as one:
        one.sweeper.start()
        await one.clock.advance(0.0, one.work.idle)
        writes: list[object] = []
        write = one.store.write

        async def counted(transaction: Any, **options: Any) -> Any:
            writes.append(transaction)
            return await write(transaction, **options)

        one.store.write = counted  # type: ignore[method-assign]
        await one.clock.advance(10 * 3600.0, one.work.idle)
        assert writes == []
        one.sweeper.stop()
