"""Steps that ask for runs, in virtual time: depth, limits, retries, cancels."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import JobContext, Pool, Retries, RunFailed, StaticPartitions, StepContext, asset, current, job
from freshet.definitions.limits import Limits, PoolLimit
from freshet.store.records import RunRow

pytestmark = pytest.mark.anyio

LETTERS = StaticPartitions(["a", "b"])


async def last(one: Rig, target: str) -> RunRow:
    return (await one.runs(target))[-1]


async def until(condition: Callable[[], bool]) -> None:
    """The threads of steps have got so far: a step that rests lets time pass, whatever its thread does."""
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


async def test_a_chain_of_runs_that_ask_for_each_other_is_stopped(tmp_path: Path) -> None:
    @job
    def endless(ctx: JobContext, deep: int = 0) -> None:
        assert current() is ctx
        ctx.call("endless", deep=deep + 1)

    async with rig(tmp_path, [endless], workers=1, max_chain=5) as one:
        await one.control.call("endless", {})
        await one.settle()
        runs = await one.runs()
        assert [run.depth for run in runs] == list(range(6))
        assert {run.state for run in runs} == {"failed"}
        error: Any = runs[-1].steps[0].error
        assert error["type"] == "RunFailed" and "too many automatic runs led to it" in error["message"]
        (stopped,) = await one.events("chain_stopped")
        assert stopped.data == {"depth": 6, "run": runs[-1].id, "target": "endless"}


async def test_no_limit_is_held_by_who_waits(tmp_path: Path) -> None:
    """One worker, one slot of the pool, one run at once, one with the tag: free for who is waited for."""
    seen: list[str] = []

    @job(pool="narrow", tags={"team": "x"})
    def below(ctx: JobContext, name: str) -> None:
        seen.append(name)

    @asset(pool="narrow", tags={"team": "x"}, partitions=LETTERS)
    def made(ctx: StepContext) -> str:
        seen.append(ctx.partition.key)
        return ""

    @job(pool=Pool("narrow", slots=1), tags={"team": "x"})
    async def above(ctx: JobContext) -> None:
        await asyncio.gather(*(ctx.call(below, name=name) for name in "cde"), ctx.call(made, partition="b"))
        seen.append("above")

    limits = Limits(pools={"narrow": PoolLimit(1)}, runs=1, tags={"team": 1})
    async with rig(tmp_path, [below, above, made], workers=1, limits=limits) as one:
        await one.control.call("above", {})
        await one.control.call("above", {})
        await one.settle()
        assert set(await one.states()) == {"succeeded"}
        assert sorted(seen) == sorted(["above", "b", "c", "d", "e"] * 2)
        assert one.engine.launcher.queue.in_use == 0


async def test_who_waits_is_shown_and_time_passes_meanwhile(tmp_path: Path) -> None:
    @job(retries=Retries(2, delay="1h", jitter=0, backoff=1))
    def flaky(ctx: JobContext) -> None:
        if ctx.attempt < 3:
            raise ConnectionError("not yet")

    @job
    def above(ctx: JobContext) -> None:
        ctx.call(flaky)

    async with rig(tmp_path, [flaky, above], workers=1) as one:
        number = await one.control.call("above", {})
        await one.settle()
        below = await last(one, "flaky")
        assert one.blocked_by(number) == f"waits for run {below.id}"
        assert "tried again in 3600" in (one.blocked_by(below.id) or "")
        await one.advance(4 * 3600)
        assert await one.states() == ["succeeded", "succeeded"]
        assert one.blocked_by(number) is None


async def test_a_cancel_reaches_all_that_is_waited_for(tmp_path: Path) -> None:
    ended: list[str] = []

    @job(retries=Retries(2, delay="1h"))
    def lowest(ctx: JobContext) -> None:
        raise ConnectionError("not yet")

    @job
    def middle(ctx: JobContext) -> None:
        ctx.call(lowest)

    @job
    def above(ctx: JobContext) -> None:
        ctx.call(lowest, wait=False)
        try:
            ctx.call(middle)
        except RunFailed as error:
            ended.append(error.state)

    async with rig(tmp_path, [lowest, middle, above], workers=1) as one:
        number = await one.control.call("above", {})
        await one.settle()
        assert await one.states() == ["started"] * 4
        await one.control.cancel(number)
        await one.settle()
        assert {run.id: run.state for run in await one.runs()} == {
            1: "canceled",
            2: "started",
            3: "canceled",
            4: "canceled",
        }
        assert one.engine.launcher.queue.in_use == 0


async def test_what_a_step_waited_for_is_canceled_once_it_has_failed_for_good(tmp_path: Path) -> None:
    @job(retries=Retries(1, delay="1h", jitter=0, backoff=1))
    def patient(ctx: JobContext, kept: bool) -> None:
        if ctx.attempt == 1:
            raise ConnectionError("in an hour")

    @job
    def bad(ctx: JobContext) -> None:
        raise ValueError("never")

    @job(retries=Retries(1, delay="1m", jitter=0, backoff=1))
    async def above(ctx: JobContext) -> None:
        await ctx.call(patient, {"kept": False}, wait=False)
        await asyncio.gather(
            ctx.call(patient, kept=False), ctx.call(patient, {"kept": True}, detach=True), ctx.call(bad)
        )

    async with rig(tmp_path, [patient, bad, above], workers=2) as one:
        number = await one.control.call("above", {})
        await one.settle()
        await until(lambda: "tried again" in (one.blocked_by(number) or ""))
        assert await one.states("patient") == ["started"] * 3, "the next attempt finds them"
        await one.advance(60)
        await until(lambda: not one.engine.launcher.running)
        await one.settle()
        assert await one.states("above") == ["failed"]
        assert await one.states("bad") == ["failed", "failed"]
        assert Counter(await one.states("patient")) == {"started": 2, "canceled": 1}
        (canceled,) = [run for run in await one.runs("patient") if run.state == "canceled"]
        assert canceled.params == {"kept": False}
        await one.advance(3600)
        assert Counter(await one.states("patient")) == {"succeeded": 2, "canceled": 1}
        assert one.engine.launcher.queue.in_use == 0


async def test_a_run_that_is_cut_off_too_often_takes_what_it_waited_for_with_it(tmp_path: Path) -> None:
    @job(retries=Retries(1, delay="9h"))
    def patient(ctx: JobContext) -> None:
        raise ConnectionError("later")

    @job
    def above(ctx: JobContext) -> None:
        ctx.call(patient)

    async with rig(tmp_path, [patient, above], stop=False) as one:
        await one.control.call("above", {})
        await one.settle()
        clock = one.clock
    for _ in range(10):
        async with rig(tmp_path, [patient, above], clock=clock, stop=False) as one:
            assert await one.states() == ["started", "started"]
    async with rig(tmp_path, [patient, above], clock=clock) as one:
        assert await one.states() == ["failed", "canceled"]
        assert not one.engine.launcher.running and not len(one.engine.launcher.queue)


async def test_parameters_may_be_called_as_the_options_are(tmp_path: Path) -> None:
    heard: list[tuple[Any, ...]] = []

    @job
    def below(wait: float, partition: str, detach: bool, params: dict[str, int], target: str = "") -> None:
        heard.append((wait, partition, detach, params, target))

    @job
    def above(ctx: JobContext) -> None:
        ctx.call(below, {"wait": 1.5, "partition": "a", "detach": True}, params={"n": 1}, target="x")
        with pytest.raises(TypeError, match="'target' is given twice"):
            ctx.call(below, {"target": "y"}, target="x")
        with pytest.raises(TypeError, match="the parameters are a dict, found 'y'"):
            ctx.call(below, "y")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async with rig(tmp_path, [below, above]) as one:
        await one.control.call("above", {})
        await one.settle()
        assert await one.states() == ["succeeded", "succeeded"]
        assert heard == [(1.5, "a", True, {"n": 1}, "x")]


async def test_what_was_asked_for_is_found_by_the_next_daemon(tmp_path: Path) -> None:
    made: list[int] = []

    @job
    def below(ctx: JobContext, number: int) -> None:
        made.append(number)

    @job(retries=Retries(1, delay="1h"))
    def above(ctx: JobContext) -> None:
        for number in (1, 2, 2):
            ctx.call(below, number=number)
        if ctx.attempt == 1:
            raise ConnectionError("now")
        ctx.call(below, number=3)

    async with rig(tmp_path, [below, above], workers=1, stop=False) as one:
        number = await one.control.call("above", {})
        await one.settle()
        clock = one.clock
    async with rig(tmp_path, [below, above], workers=1, clock=clock) as one:
        await one.advance(7200)
        assert made == [1, 2, 2, 3]
        row = await last(one, "above")
        assert (row.id, row.state, row.steps[0].attempt) == (number, "succeeded", 2)
        assert [run.parent for run in await one.runs("below")] == [number] * 4
