"""Outcomes too large for one transaction: whole, in order, refused whole, and through a restart."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.engine.rig import Rig, rig

from freshet import AddPartitions, DeletePartitions, DynamicPartitions, Report, RunRequest, asset, job, sensor
from freshet.engine import staging
from freshet.engine.pieces import KEYS, key_pieces
from freshet.errors import Conflict, PartitionKeyError, StoreUnavailable
from freshet.store.records import PartitionDelta
from freshet.store.store import Store

pytestmark = pytest.mark.anyio

T = TypeVar("T")
MANY = 2 * KEYS + 500
batches = DynamicPartitions("batches")


@asset(partitions=batches)
def raw() -> int:
    return 1


@asset
def total() -> int:
    return 1


@job
def note(number: int = 0) -> None:
    return None


def keys(count: int = MANY, name: str = "k") -> list[str]:
    return [f"{name}{n:06}" for n in range(count)]


async def count(one: Rig, table: str) -> int:
    found: int = await one.store.read(lambda db: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    return found


LIVE = "partitions WHERE deleted_at IS NULL"


def writes(monkeypatch: pytest.MonkeyPatch, before: Callable[[str], Any]) -> None:
    """Call `before` with the name of each transaction; what it gives is awaited."""
    write = Store.write

    async def watched(self: Store, transaction: Callable[[sqlite3.Connection], T], *, patient: bool = False) -> T:
        name = getattr(getattr(transaction, "func", transaction), "__name__", "")
        waiting = before(name)
        if waiting is not None:
            await waiting
        return await write(self, transaction, patient=patient)

    monkeypatch.setattr(Store, "write", watched)


async def test_keys_ledger_reports_and_runs_of_one_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[str] = []
    writes(monkeypatch, kinds.append)

    @sensor(interval="1h")
    async def landing(ctx: Any) -> Any:
        if ctx.cursor is None:
            yield AddPartitions(batches, {key: {"n": 1} for key in keys()})
            yield DeletePartitions(batches, keys(10))
            for key in keys():
                ctx.ledger.add(key)
            for key in keys()[10:160]:
                yield RunRequest("raw", partition=key, run_key=key)
            for key in keys()[10:510]:
                yield Report("raw", partition=key)
            yield RunRequest("note", run_key="note")
            ctx.cursor = 1
        assert all(key in ctx.ledger for key in keys())

    async with rig(tmp_path, [raw, note, landing], workers=3) as one:
        assert (await count(one, LIVE), await count(one, "ledger"), await count(one, "run_keys")) == (
            MANY - 10,
            MANY,
            151,
        )
        assert set(await one.states()) == {"succeeded"}
        added = await one.events("partition_added")
        assert [number for event in added for number in event.numbers] == list(range(1, MANY + 1))
        assert len(added) < 10
        assert len([event for event in await one.events("materialized") if event.run_id is None]) == 500
        state = one.control.sensors()[0]
        assert (state.cursor, state.status, state.ticks) == (1, "ok", 1)
        (tick,) = await one.store.read(
            lambda db: db.execute("SELECT runs, partitions_added, ledger_added FROM ticks").fetchall()
        )
        assert tick == (151, MANY, MANY)
        assert kinds.count("commit_tick") == 1
        last_piece, decided = max(i for i, kind in enumerate(kinds) if kind == "carry_out"), kinds.index("commit_tick")
        assert max(i for i, kind in enumerate(kinds) if kind == "stage_pieces") < decided < last_piece
        assert (await count(one, "stages"), await count(one, "stage_pieces")) == (0, 0)
        await one.control.tick("landing")
        assert one.control.sensors()[0].status == "ok", "the evaluator knows the whole ledger"


async def test_a_reaction_costs_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[str] = []

    @sensor(interval="1h")
    async def landing(ctx: Any) -> Any:
        yield AddPartitions(batches, keys(5))
        yield RunRequest("raw", partition=keys()[0], run_key="x")

    async with rig(tmp_path, [raw, landing]) as one:
        writes(monkeypatch, kinds.append)
        await one.control.tick("landing")
        assert kinds == ["commit_tick"]


async def test_a_tick_by_hand_tells_all_of_it(tmp_path: Path) -> None:
    @sensor(interval="1h", target=note)
    async def landing(ctx: Any) -> Any:
        yield AddPartitions(batches, keys())
        for n in range(300):
            yield RunRequest(run_key=str(n % 290))
            ctx.ledger.add(str(n))

    async with rig(tmp_path, [raw, note, landing], workers=1) as one:
        await one.control.set_cursor("landing", 1)
        await one.settle()
        report = await one.control.tick("landing")
        assert (len(report.runs), len(report.dropped), report.ledger_added) == (0, 300, 0)
        assert sum(len(delta["add"]) for delta in report.partitions) == MANY
        assert len(await one.runs()) == 290


@pytest.mark.parametrize("wrong", ["unknown set", "unknown key", "deleted key", "wrong place", "unknown asset", "bad"])
async def test_a_mistake_anywhere_holds_nothing_and_is_the_sensor_s(tmp_path: Path, wrong: str) -> None:
    mistakes: dict[str, Any] = {
        "unknown set": AddPartitions("batch", ["x"]),
        "unknown key": RunRequest("raw", partition="never added"),
        "deleted key": RunRequest("raw", partition=keys()[1]),
        "wrong place": Report("total", partition=keys()[0]),
        "unknown asset": RunRequest("rav"),
        "bad": AddPartitions(batches, {"x": {"n": 2**70}}),
    }

    @sensor(interval="1h")
    async def landing(ctx: Any) -> Any:
        ctx.cursor = 1
        yield AddPartitions(batches, keys())
        yield DeletePartitions(batches, keys(3)[1:])
        for n in range(300):
            yield RunRequest("raw", partition=keys()[n + 5], run_key=str(n))
        yield mistakes[wrong]

    async with rig(tmp_path, [raw, total, landing]) as one:
        state = one.control.sensors()[0]
        assert (state.status, state.cursor) == ("failing", None), state.last_error
        assert [await count(one, table) for table in ("partitions", "runs", "stages", "stage_pieces")] == [0, 0, 0, 0]


@pytest.mark.parametrize("change", ["pause", "set_cursor"])
async def test_a_change_by_hand_while_it_is_written_down_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    @sensor(interval="1h")
    async def landing(ctx: Any) -> Any:
        if ctx.cursor != "mine":
            ctx.cursor = 1
            yield AddPartitions(batches, keys())

    async with rig(tmp_path, [raw, landing]) as one:
        await one.control.set_cursor("landing", "mine")
        await one.settle()
        before = await count(one, "partitions")
        assert before == MANY
        await one.control.delete_partitions("batches", keys())
        changed = False

        def by_hand(name: str) -> Any:
            nonlocal changed
            if name != "stage_pieces" or changed:
                return None
            changed = True
            given = ("mine",) if change == "set_cursor" else ()
            return getattr(one.control, change)("landing", *given)

        writes(monkeypatch, by_hand)
        await one.control.set_cursor("landing", None)
        await one.settle()
        assert changed
        assert one.control.status().refused_ticks == 1
        assert [await count(one, table) for table in (LIVE, "stages", "stage_pieces")] == [0, 0, 0]
        if change == "set_cursor":
            assert one.control.sensors()[0].cursor == "mine"


async def test_a_change_by_hand_while_it_is_carried_out_changes_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Any] = []

    @sensor(interval="1h")
    async def landing(ctx: Any) -> Any:
        looks.append((ctx.cursor, sum(key in ctx.ledger for key in keys())))
        if ctx.cursor is None:
            ctx.cursor = 1
            yield AddPartitions(batches, keys())
            for key in keys():
                ctx.ledger.add(key)

    changes: list[Any] = []

    async def set_cursor() -> None:
        changes.append(asyncio.ensure_future(holder[0].control.set_cursor("landing", "mine")))
        await asyncio.sleep(0.05)  # it commits before the next piece, or after it: both are right

    holder: list[Rig] = []

    def by_hand(name: str) -> Any:
        return set_cursor() if name == "carry_out" and holder and not changes else None

    async with rig(tmp_path, [raw, landing]) as one:
        holder.append(one)
        await one.control.delete_partitions("batches", keys())
        looks.clear()
        writes(monkeypatch, by_hand)
        await one.control.set_cursor("landing", None)
        await one.settle()
        assert changes
        await asyncio.gather(*changes)
        await one.settle()
        assert looks[-1] == ("mine", MANY)
        assert one.control.sensors()[0].cursor == "mine"
        assert await count(one, LIVE) == MANY


async def test_two_large_outcomes_at_once(tmp_path: Path) -> None:
    @sensor(interval="1h")
    async def left(ctx: Any) -> Any:
        yield AddPartitions(batches, keys(MANY, "both"))
        yield AddPartitions(batches, keys(MANY, "left"))

    @sensor(interval="1h")
    async def right(ctx: Any) -> Any:
        yield AddPartitions(batches, keys(MANY, "right"))
        yield AddPartitions(batches, keys(MANY, "both"))

    async with rig(tmp_path, [raw, left, right]) as one:
        assert await count(one, LIVE) == 3 * MANY
        numbers = [number for event in await one.events("partition_added") for number in event.numbers]
        assert sorted(numbers) == list(range(1, 3 * MANY + 1))


async def streamed(deltas: list[PartitionDelta], error: Exception | None = None) -> AsyncIterator[PartitionDelta]:
    for delta in deltas:
        yield delta
    if error is not None:
        raise error


def adding(*names: str) -> list[PartitionDelta]:
    return [
        one for piece in key_pieces([PartitionDelta("batches", tuple((key, {}) for key in names))]) for one in piece
    ]


async def test_keys_by_hand_come_and_go_in_pieces(tmp_path: Path) -> None:
    async with rig(tmp_path, [raw]) as one:
        change = one.control.change_partitions
        assert await change("batches", streamed(adding(*keys()))) == MANY
        written = await count(one, "events")
        assert await change("batches", streamed(adding(*keys()))) == 0
        assert await count(one, "events") == written, "what is there costs no write"
        await one.control.materialize(["raw"], key=keys()[7])
        await one.settle()
        assert await count(one, "asset_state") == 1
        assert await one.control.delete_partitions("batches", keys()) == MANY
        gone = await one.events("partition_deleted")
        assert [number for event in gone for number in event.numbers] == list(range(1, MANY + 1))
        assert await one.control.add_partitions("batches", {key: {"n": 1} for key in keys()}) == MANY
        assert await count(one, "partitions WHERE generation = 2 AND metadata = '{\"n\":1}'") == MANY
        assert await count(one, "asset_state") == 0, "a new generation begins clean"


@pytest.mark.parametrize("error", [PartitionKeyError("line 3"), Conflict("the request ended")])
async def test_a_stream_that_breaks_leaves_nothing(tmp_path: Path, error: Exception) -> None:
    async with rig(tmp_path, [raw]) as one:
        with pytest.raises(type(error)):
            await one.control.change_partitions("batches", streamed(adding(*keys(5 * KEYS)), error))
        await one.settle()
        assert [await count(one, table) for table in ("partitions", "stages", "stage_pieces")] == [0, 0, 0]
        with pytest.raises(Conflict, match="nope"):
            await one.control.change_partitions("batches", streamed([], Conflict("nope")))


async def test_who_asked_may_go_away_after_the_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[asyncio.Task[int]] = []

    def cancel(name: str) -> None:
        if name == "carry_out":
            tasks[0].cancel()

    async with rig(tmp_path, [raw]) as one:
        writes(monkeypatch, cancel)
        tasks.append(asyncio.ensure_future(one.control.change_partitions("batches", streamed(adding(*keys())))))
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        await one.settle()
        assert await count(one, LIVE) == MANY


@pytest.mark.parametrize("decided", [False, True])
async def test_what_an_earlier_daemon_left_is_dropped_or_carried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decided: bool
) -> None:
    @sensor(interval="1h")
    async def landing(ctx: Any) -> Any:
        if ctx.cursor is None:
            ctx.cursor = 1
            yield AddPartitions(batches, keys())
            for key in keys(300):
                ctx.ledger.add(key)
                yield RunRequest("raw", partition=key, run_key=key)

    things = [raw, landing]
    passed = 0

    def cut(name: str) -> Any:
        nonlocal passed
        passed += name == ("carry_out" if decided else "stage_pieces")
        return asyncio.Event().wait() if passed == 2 else None

    with monkeypatch.context() as patched:
        patched.setattr(staging, "_GROUP", 4)  # so that there are two writes to cut between
        writes(patched, cut)
        begun = asyncio.ensure_future(_until_cut(tmp_path, things))
        while passed < 2:
            await asyncio.sleep(0.01)
        begun.cancel()
        await asyncio.wait([begun])
    with sqlite3.connect(tmp_path / "freshet.db") as db:
        assert db.execute("SELECT decided_at IS NOT NULL FROM stages").fetchall() == [(decided,)]
        assert db.execute("SELECT count(*) FROM partitions").fetchone()[0] == (MANY if decided else 0) or decided
    async with rig(tmp_path, things, workers=4) as one:
        assert await count(one, LIVE) == MANY
        assert (await count(one, "ledger"), await count(one, "run_keys"), len(await one.runs())) == (300, 300, 300)
        assert set(await one.states()) == {"succeeded"}
        assert one.control.sensors()[0].cursor == 1
        assert (await count(one, "stages"), await count(one, "stage_pieces")) == (0, 0)
    db.close()


async def _until_cut(folder: Path, things: list[Any]) -> None:
    async with rig(folder, things, workers=4, stop=False):
        pass


async def test_the_store_that_fails_once_decided_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [3]

    def failing(name: str) -> None:
        if name == "carry_out" and failures[0]:
            failures[0] -= 1
            raise StoreUnavailable("no space")

    async with rig(tmp_path, [raw]) as one:
        writes(monkeypatch, failing)
        asked = asyncio.ensure_future(one.control.change_partitions("batches", streamed(adding(*keys()))))
        while not asked.done():
            await one.clock.advance(1, partial(asyncio.sleep, 0.001))  # it waits in virtual time, and is not at rest
        assert (asked.result(), failures) == (MANY, [0])
