"""Runs in virtual time: order, retries, cancel, recovery, and what a restart finds."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig

from freshet import DynamicPartitions, GiveUp, Retries, RetryLater, asset, job
from freshet.engine.clock import SimulatedClock
from freshet.errors import Conflict, StoreUnavailable, UnknownName
from freshet.store.inputs import read_inputs
from freshet.store.records import StepToRun

pytestmark = pytest.mark.anyio


def _minute(step: StepToRun) -> float:
    return 60.0


async def test_a_selection_runs_in_dependency_order_and_passes_values(tmp_path: Path) -> None:
    days = DynamicPartitions("days")

    @asset(partitions=days)
    def raw(ctx: Any) -> list[int]:
        return [1, 2, 3]

    @asset(partitions=days)
    def doubled(raw: list[int]) -> list[int]:
        return [2 * number for number in raw]

    @asset
    def total(ctx: Any, doubled: dict[str, list[int]]) -> dict[str, Any]:
        return {"sum": sum(map(sum, doubled.values())), "without": list(ctx.missing_inputs["doubled"])}

    async with rig(tmp_path, [raw, doubled, total]) as one:
        await one.control.add_partitions("days", {"mon": {}, "tue": {}})
        (run_id,) = await one.control.materialize(["raw"], key="mon", downstream=True)
        await one.settle()
        (run,) = await one.runs()
        assert (run.id, run.state) == (run_id, "succeeded")
        assert [(step.name, step.state) for step in run.steps] == [
            ("raw", "succeeded"),
            ("doubled", "succeeded"),
            ("total", "succeeded"),
        ]
        value = next(tmp_path.glob("values/total/**/*.json")).read_text()
        assert value == '{"sum":12,"without":["tue"]}'


async def test_independent_steps_run_side_by_side_within_the_slots(tmp_path: Path) -> None:
    busy, most = set[str](), [0]

    def track(step: StepToRun) -> float:
        busy.add(step.name)
        most[0] = max(most[0], len(one.engine.launcher.running))
        return 60.0

    @asset
    def a() -> int:
        return 1

    @asset
    def b() -> int:
        return 1

    @asset
    def c() -> int:
        return 1

    @asset
    def tip(a: int, b: int, c: int) -> int:
        return a + b + c

    clock = SimulatedClock()
    async with rig(tmp_path, [a, b, c, tip], clock=clock, duration=track) as one:
        started = clock.monotonic()
        await one.control.materialize(["tip"], upstream=True)
        await one.advance(1000)
        (run,) = await one.runs()
        assert run.state == "succeeded"
        assert most[0] == 2
        assert run.ended_at is not None
        assert run.ended_at - run.created_at == pytest.approx(180)
        assert busy == {"a", "b", "c", "tip"}
        assert started == 0


async def test_retries_back_off_and_then_the_run_fails_with_what_is_below(tmp_path: Path) -> None:
    tries: list[float] = []
    clock = SimulatedClock()

    @asset(retries=Retries(2, delay="10s", backoff=3, jitter=0))
    def shaky() -> int:
        tries.append(clock.monotonic())
        raise ValueError(f"attempt {len(tries)}")

    @asset
    def below(shaky: int) -> int:
        return shaky

    @asset
    def aside() -> int:
        return 7

    async with rig(tmp_path, [shaky, below, aside], clock=clock) as one:
        await one.control.materialize(["shaky", "aside"], downstream=True)
        await one.advance(100)
        assert tries == [0, 10, 40]
        (run,) = await one.runs()
        assert run.state == "failed"
        assert {step.name: step.state for step in run.steps} == {
            "shaky": "failed",
            "below": "skipped",
            "aside": "succeeded",
        }
        failed = next(step for step in run.steps if step.name == "shaky")
        assert (failed.attempt, failed.error["message"]) == (3, "attempt 3")


async def test_a_step_that_gives_up_fails_for_good_at_once(tmp_path: Path) -> None:
    tries: list[str] = []

    @asset(retries=5)
    def hopeless() -> None:
        tries.append("hopeless")
        raise GiveUp("the file is broken")

    @job(retries=Retries(5, delay="1s"))
    def call() -> None:
        tries.append("call")
        raise GiveUp("the account is closed")

    async with rig(tmp_path, [hopeless, call]) as one:
        await one.control.materialize(["hopeless"])
        await one.control.call("call", {})
        await one.advance(1000)
        assert sorted(tries) == ["call", "hopeless"]
        steps = [step for run in await one.runs() for step in run.steps]
        assert sorted((step.state, step.attempt, step.error["message"]) for step in steps) == [
            ("failed", 1, "the account is closed"),
            ("failed", 1, "the file is broken"),
        ]


async def test_a_step_that_asks_for_patience_is_tried_again_when_it_says(tmp_path: Path) -> None:
    tries: list[float] = []
    clock = SimulatedClock()

    @asset(retries=Retries(3, delay="10s", backoff=1, jitter=0))
    def throttled() -> None:
        tries.append(clock.monotonic())
        if len(tries) == 2:
            raise ValueError("in between")
        raise RetryLater("busy", after="5m")

    @asset
    def impatient() -> None:
        raise RetryLater("busy", after="5m")

    async with rig(tmp_path, [throttled, impatient], clock=clock) as one:
        await one.control.materialize(["throttled", "impatient"])
        await one.advance(3000)
        assert tries == [0, 300, 310, 610]
        (run,) = await one.runs()
        assert {(step.name, step.state, step.attempt) for step in run.steps} == {
            ("throttled", "failed", 4),
            ("impatient", "failed", 1),
        }


async def test_a_retry_that_is_due_after_a_restart_is_not_forgotten(tmp_path: Path) -> None:
    tries: list[float] = []
    clock = SimulatedClock()

    @asset(retries=Retries(1, delay="10m", jitter=0))
    def shaky() -> int:
        tries.append(clock.monotonic())
        if len(tries) == 1:
            raise ValueError("once")
        return 1

    async with rig(tmp_path, [shaky], clock=clock) as one:
        await one.control.materialize(["shaky"])
        await one.advance(60)
        assert "tried again in 540.0 s" in (one.blocked_by(1) or "")
    async with rig(tmp_path, [shaky], clock=clock) as one:
        assert len(tries) == 1
        await one.advance(541)
        assert tries == [0, 600]
        assert await one.states() == ["succeeded"]


async def test_a_run_cut_off_by_the_end_of_the_daemon_runs_again(tmp_path: Path) -> None:
    calls: list[int] = []

    @job
    def work(number: int) -> None:
        calls.append(number)

    clock = SimulatedClock()
    async with rig(tmp_path, [work], clock=clock, duration=_minute, stop=False) as one:
        for number in range(4):
            await one.control.call("work", {"number": number})
        await one.settle()
        assert await one.states() == ["started", "started", "queued", "queued"]
        assert one.blocked_by(1) is None
        assert one.blocked_by(3) == "waits for a slot (2 of 2 in use)"
    async with rig(tmp_path, [work], clock=clock, duration=_minute) as one:
        await one.advance(300)
        runs = await one.runs()
        assert [run.state for run in runs] == ["succeeded"] * 4
        assert [run.interruptions for run in runs] == [1, 1, 0, 0]
        assert sorted(calls) == [0, 0, 1, 1, 2, 3]


async def test_stopping_records_what_runs_as_interrupted(tmp_path: Path) -> None:
    @job
    def work() -> None:
        return None

    clock = SimulatedClock()
    async with rig(tmp_path, [work], clock=clock, duration=_minute) as one:
        await one.control.call("work", {})
        await one.settle()
    async with rig(tmp_path, [work], clock=clock, duration=_minute) as one:
        (run,) = await one.runs()
        assert run.interruptions == 1
        await one.advance(60)
        assert await one.states() == ["succeeded"]


async def test_a_run_that_ends_every_daemon_is_given_up(tmp_path: Path) -> None:
    @job
    def poison() -> None:
        return None

    clock = SimulatedClock()
    async with rig(tmp_path, [poison], clock=clock, duration=_minute, stop=False) as one:
        await one.control.call("poison", {})
        await one.settle()
    for _ in range(10):
        async with rig(tmp_path, [poison], clock=clock, duration=_minute, stop=False) as one:
            assert await one.states() == ["started"]
    async with rig(tmp_path, [poison], clock=clock, duration=_minute) as one:
        (run,) = await one.runs()
        assert run.state == "failed"
        assert "cut off 11 times" in run.error["message"]


async def test_cancel_ends_what_runs_and_what_waits(tmp_path: Path) -> None:
    @job
    def work() -> None:
        return None

    async with rig(tmp_path, [work], duration=_minute, workers=1) as one:
        first, second = [await one.control.call("work", {}) for _ in range(2)]
        await one.settle()
        await one.control.cancel(second)
        await one.control.cancel(first)
        await one.settle()
        assert await one.states() == ["canceled", "canceled"]
        await one.advance(120)
        assert await one.states() == ["canceled", "canceled"]
        assert one.engine.launcher.queue.in_use == 0
        with pytest.raises(UnknownName, match="no run 99"):
            await one.control.cancel(99)


async def test_higher_priority_goes_first(tmp_path: Path) -> None:
    order: list[int] = []

    @job
    def work(number: int) -> None:
        order.append(number)

    async with rig(tmp_path, [work], duration=_minute, workers=1) as one:
        for number, priority in enumerate([0, 0, 5, 1]):
            await one.control.call("work", {"number": number}, priority=priority)
        await one.advance(1000)
        assert order == [0, 2, 3, 1]


async def test_what_cannot_be_asked_for_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    days = DynamicPartitions("days")

    @asset(partitions=days)
    def raw(ctx: Any) -> int:
        return 1

    async with rig(tmp_path, [raw]) as one:
        with pytest.raises(Conflict, match="name a partition"):
            await one.control.materialize(["raw"])
        with pytest.raises(UnknownName, match="no key 'mon'"):
            await one.control.materialize(["raw"], key="mon")
        with pytest.raises(UnknownName, match="did you mean 'raw'"):
            await one.control.materialize(["rew"], key="mon")
        assert await one.runs() == []
        assert one.engine.launcher.queue.in_use == 0


async def test_an_asset_that_is_gone_fails_its_queued_run_and_says_so(tmp_path: Path) -> None:
    @asset
    def kept() -> int:
        return 1

    @asset
    def gone() -> int:
        return 1

    clock = SimulatedClock()
    async with rig(tmp_path, [kept, gone], clock=clock, duration=_minute, workers=1, stop=False) as one:
        await one.control.materialize(["kept"])
        await one.control.materialize(["gone"])
        await one.settle()
    async with rig(tmp_path, [kept], clock=clock, duration=_minute, workers=1) as one:
        await one.advance(120)
        assert await one.states() == ["succeeded", "failed"]
        assert "no longer declared" in (await one.runs())[1].steps[0].error["message"]


async def test_a_run_canceled_while_its_inputs_are_read_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    days = DynamicPartitions("days")

    @asset(partitions=days)
    def raw(ctx: Any) -> int:
        return 1

    @asset
    def total(raw: dict[str, int]) -> int:
        calls.append(raw)
        return 1

    async with rig(tmp_path, [raw, total]) as one:
        read, gate, full = one.store.read, asyncio.Event(), [True]

        async def slow(query: Any) -> Any:
            if query.func is read_inputs:
                await gate.wait()
                if full:
                    full.clear()
                    raise StoreUnavailable("no luck")
            return await read(query)

        monkeypatch.setattr(one.store, "read", slow)
        canceled, kept = [(await one.control.materialize(["total"]))[0] for _ in range(2)]
        await one.control.cancel(canceled)
        gate.set()
        async with asyncio.timeout(5):
            while one.engine.launcher.running:
                await one.clock.advance(0.1, partial(asyncio.sleep, 0))
        await one.settle()
        assert [run.state for run in await one.runs() if run.id in (canceled, kept)] == ["canceled", "succeeded"]
        assert calls == [{}]
