"""`InlineHost`: the interface of a code host, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from freshet import RunRequest, asset, job, sensor
from freshet.definitions.listen import Happenings
from freshet.engine.clock import SimulatedClock
from freshet.executors.base import StepCall, StepEnd, TickEnd, TickOrder
from freshet.io.registry import ValueRef as KeptRef
from freshet.io.registry import read_value
from freshet.store.records import LedgerEntry, StepToRun, ValueRef, WaitingDelivery
from freshet.store.records.offences import Offence
from freshet.testing import InlineHost

pytestmark = pytest.mark.anyio


@sensor
async def looking(ctx: Any) -> AsyncIterator[RunRequest]:
    for number in range(3):
        yield RunRequest("doubled", run_key=str(number))
        ctx.ledger.add(str(number))
        await ctx.checkpoint()
    ctx.cursor = sorted(ctx.ledger.absent(["1"]))


@sensor
def failing(ctx: Any) -> None:
    raise LookupError("gone")


@sensor
async def hanging(ctx: Any) -> None:
    await asyncio.Event().wait()


@asset
def number(ctx: Any) -> int:
    ctx.metadata(rows=1)
    return 21


@asset
async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


@job
def dividing(by: int) -> None:
    print(1 / by)  # noqa: T201


class Recorder:
    """`Answers` that remember; a ledger of one entry."""

    def __init__(self) -> None:
        self.ticks: list[TickEnd] = []
        self.steps: list[StepEnd] = []
        self.received: list[tuple[int, int, int]] = []
        self.changed = asyncio.Event()

    def tick_ended(self, end: TickEnd) -> None:
        self.ticks.append(end)
        self.changed.set()

    def woken(self, sensor: str, hints: tuple[str, ...] | None) -> None:
        raise AssertionError

    def step_calls(self, call: StepCall) -> None:
        raise AssertionError(call)

    def call_left(self, run_id: int, position: int, attempt: int, number: int) -> None:
        raise AssertionError(number)

    def step_received(self, run_id: int, position: int, attempt: int, pid: int) -> None:
        self.received.append((run_id, position, attempt))

    def step_ended(self, end: StepEnd) -> None:
        self.steps.append(end)
        self.changed.set()

    @asynccontextmanager
    async def load_ledger(self, sensor: str) -> AsyncGenerator[AsyncIterator[tuple[LedgerEntry, ...]]]:
        from freshet.host.evaluator.ledger import digest_of, version_of

        async def pieces() -> AsyncIterator[tuple[LedgerEntry, ...]]:
            yield (LedgerEntry(digest_of("old"), version_of(""), "old"),)

        yield pieces()

    def ledger_revision(self, sensor: str) -> int:
        return 5

    async def ledger_keys(self, sensor: str, digests: tuple[bytes, ...]) -> dict[bytes, str]:
        raise AssertionError

    async def deliveries(
        self, sensor: str, *, tick: int, after: int, limit: int, again: bool
    ) -> tuple[tuple[WaitingDelivery, ...], bool]:
        raise AssertionError

    async def happened(
        self, after: int | None, types: tuple[str, ...], names: tuple[str, ...] | None, limit: int
    ) -> Happenings:
        raise AssertionError

    def sensor_offended(self, sensor: str, offence: Offence) -> None:
        raise AssertionError

    def host_lost(self, reason: str) -> None:
        raise AssertionError

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def host(tmp_path: Path, **options: Any) -> AsyncGenerator[tuple[InlineHost, Recorder]]:
    recorder = Recorder()
    objects = [looking, failing, hanging, number, doubled, dividing]
    made = InlineHost(objects, recorder, values_dir=tmp_path / "values", **options)
    report = await made.start()
    assert report.problems == ()
    assert set(report.definitions.asset) == {"number", "doubled"}
    await made.open(workers=1)
    yield made, recorder
    await made.close(grace=0)


def order(tick_id: int, sensor: str, **fields: Any) -> TickOrder:
    standard: dict[str, Any] = {"cursor": None, "ledger_revision": 0, "hints": None, "now": 0.0, "timeout": 5.0}
    return TickOrder(tick_id, sensor, **(standard | fields))


def step(name: str, **fields: Any) -> StepToRun:
    standard: dict[str, Any] = {
        "run_id": 1,
        "position": 0,
        "name": name,
        "kind": "asset",
        "attempt": 1,
        "failures": 0,
        "set": None,
        "partition": 0,
        "key": None,
        "partition_metadata": {},
        "params": {},
        "tags": {},
    }
    return StepToRun(**(standard | fields))


async def test_a_look_commits_part_by_part_on_a_loaded_ledger(tmp_path: Path) -> None:
    async with host(tmp_path) as (made, recorder):
        made.tick(order(1, "looking", ledger_revision=5))
        for tick_id in (1, 2, 3):
            await recorder.until(lambda want=tick_id: recorder.ticks and recorder.ticks[-1].tick_id == want)
            assert recorder.ticks[-1].status == "checkpoint"
            made.tick_committed(tick_id, committed=True, ledger_revision=5 + tick_id, next_tick_id=tick_id + 1)
        await recorder.until(lambda: recorder.ticks[-1].tick_id == 4)
    assert recorder.ticks[-1].status == "ok"
    assert recorder.ticks[-1].cursor == ["0", "2", "old"]


async def test_failures_and_timeouts_are_ends(tmp_path: Path) -> None:
    async with host(tmp_path) as (made, recorder):
        made.tick(order(1, "failing"))
        made.tick(order(2, "hanging", timeout=0.01))
        await recorder.until(lambda: len(recorder.ticks) == 2)
    assert [(end.sensor, end.status) for end in recorder.ticks] == [("failing", "failed"), ("hanging", "timed_out")]


async def test_steps_read_their_inputs_and_keep_their_values(tmp_path: Path) -> None:
    async with host(tmp_path) as (made, recorder):
        made.run(step("number"))
        await recorder.until(lambda: len(recorder.steps) == 1)
        first = recorder.steps[0]
        assert first.metadata == {"rows": 1}
        assert first.value is not None
        made.run(step("doubled", run_id=2, inputs={"number": {None: first.value}}))
        await recorder.until(lambda: len(recorder.steps) == 2)
    assert recorder.received == [(1, 0, 1), (2, 0, 1)]
    assert [end.outcome for end in recorder.steps] == ["succeeded", "succeeded"]
    assert value(tmp_path, recorder.steps[1].value) == 42


def value(tmp_path: Path, ref: ValueRef | None) -> Any:
    assert ref is not None
    return read_value(tmp_path / "values", KeptRef(ref.path, ref.io, ref.size, ref.digest))


async def test_a_step_that_raises_has_failed(tmp_path: Path) -> None:
    async with host(tmp_path) as (made, recorder):
        made.run(step("dividing", kind="job", params={"by": 0}))
        await recorder.until(lambda: recorder.steps)
    assert recorder.steps[0].outcome == "failed"
    assert recorder.steps[0].error is not None
    assert recorder.steps[0].error.type == "ZeroDivisionError"


def one_minute(step: StepToRun) -> float:
    return 60.0


async def test_a_step_may_take_its_time_in_virtual_time(tmp_path: Path) -> None:
    clock, rests = SimulatedClock(), list[bool]()
    async with host(tmp_path, clock=clock, duration=one_minute, resting=rests.append) as (made, recorder):

        async def idle() -> None:
            await asyncio.sleep(0)

        made.run(step("number"))
        await clock.advance(59, idle)
        assert (recorder.steps, rests) == ([], [True])
        await clock.advance(1, idle)
        assert [end.outcome for end in recorder.steps] == ["succeeded"]
        assert rests == [True, False]
        made.run(step("number", run_id=2))
        await idle()
        made.cancel(2, 0, grace=1)
    assert recorder.steps[-1].outcome == "canceled"
