"""Runs whose steps wait for each other: the call that would close the circle is refused, and all end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.rig import Rig, rig

from freshet import JobContext, Retries, RunFailed, StaticPartitions, StepContext, asset, job
from freshet.engine.circles import Circles, Thing
from freshet.engine.clock import SimulatedClock

pytestmark = pytest.mark.anyio

LETTERS = StaticPartitions(["a", "b"])


async def all_end(one: Rig) -> None:
    """Nothing rests, waits or runs any more, however long the threads of steps take."""
    for _ in range(3000):
        await one.advance(1)  # what finds its partition taken when it is to start looks again
        if {run.state for run in await one.runs()} <= {"succeeded", "failed", "canceled"}:
            return
        await asyncio.sleep(0.01)
    raise AssertionError([(run.id, run.target, run.state, one.blocked_by(run.id)) for run in await one.runs()])


async def test_two_that_make_what_the_other_waits_for(tmp_path: Path) -> None:
    heard: list[str] = []

    @job(retries=Retries(1, delay="1h", jitter=0))
    def pause(ctx: JobContext) -> None:
        if ctx.attempt == 1:
            raise ConnectionError("in an hour")

    @asset(partitions=LETTERS)
    async def left(ctx: StepContext) -> int:
        if not ctx.run.origin.startswith("run:"):
            await ctx.call(pause)
            await ctx.call("right", partition="b")
        return 1

    @job
    async def between(ctx: JobContext, key: str) -> None:
        try:
            await ctx.call("left", partition=key)
        except RunFailed as error:
            heard.append(str(error))

    @asset(partitions=LETTERS)
    async def right(ctx: StepContext) -> int:
        if not ctx.run.origin.startswith("run:"):
            await ctx.call(pause)
            await ctx.call("between", key="a")
        return 1

    things = [pause, left, between, right]
    async with rig(tmp_path, things, workers=8) as one:
        (first,) = await one.control.materialize(("left",), key="a")
        (second,) = await one.control.materialize(("right",), key="b")
        await one.advance(4000)  # each has begun before either asks
        await all_end(one)
        (asked,) = await one.runs("between")
        (said,) = heard
        circle = f"run {first}, which waits for run {second}, which waits for this one, run {asked.id}"
        assert f"a run of 'left' would wait for {circle}" in said
        assert {run.state for run in await one.runs()} == {"succeeded"}
        assert len(await one.runs()) == 6, "nothing was admitted for the call that was refused"


async def test_who_makes_another_partition_closes_no_circle(tmp_path: Path) -> None:
    @asset(partitions=LETTERS)
    async def made(ctx: StepContext) -> int:
        if ctx.partition.key == "a":
            await ctx.call("made", partition="b")
        return 1

    async with rig(tmp_path, [made], workers=8) as one:
        await one.control.materialize(("made",), key="a")
        await all_end(one)
        assert await one.states() == ["succeeded", "succeeded"]


NAMES = ("one", "two", "three", "four")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.lists(st.lists(st.lists(st.sampled_from(NAMES), max_size=2), max_size=3), min_size=4, max_size=4),
    asked=st.lists(st.sampled_from(NAMES), min_size=1, max_size=6),
    workers=st.integers(1, 4),
)
async def test_whoever_asks_for_whom_all_end(
    tmp_path_factory: pytest.TempPathFactory,
    plan: Sequence[Sequence[Sequence[str]]],
    asked: Sequence[str],
    workers: int,
) -> None:
    """Of four assets and jobs each asks for some, one after the other and side by side, and goes on where it cannot."""

    def made(name: str, calls: Sequence[Sequence[str]]) -> Any:
        async def function(ctx: StepContext) -> int:
            for together in calls:
                await asyncio.gather(*(ctx.call(name) for name in together), return_exceptions=True)
            return 1

        return asset(name=name)(function)

    @job(name="four", overlap="queue")
    async def four(ctx: JobContext) -> None:
        for together in plan[3]:
            await asyncio.gather(*(ctx.call(name) for name in together), return_exceptions=True)

    things = [*(made(name, calls) for name, calls in zip(NAMES[:3], plan, strict=False)), four]
    folder = tmp_path_factory.mktemp("circles")
    async with rig(folder, things, clock=SimulatedClock(), workers=workers) as one:
        for name in asked:
            if name == "four":
                await one.control.call(name, {})
            else:
                await one.control.materialize((name,))
        await all_end(one)
        assert {run.state for run in await one.runs()} == {"succeeded"}
        assert one.engine.launcher.queue.in_use == 0


# --- the decision --------------------------------------------------------------------------------------------------

STEPS = [(run, position) for run in range(4) for position in range(2)]
THINGS: list[Thing | None] = [None, ("x", None), ("x", "a"), ("y", None)]


@settings(max_examples=300)
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(["waits", "leaves", "over"]),
            st.integers(0, len(STEPS) - 1),
            st.integers(0, 1),
            st.one_of(st.none(), st.integers(0, 3)),
            st.sampled_from(THINGS),
        ),
        max_size=25,
    ),
    by=st.sampled_from(STEPS),
    run_id=st.one_of(st.none(), st.integers(0, 3)),
    thing=st.sampled_from(THINGS),
)
def test_a_circle_is_found_where_there_is_one(
    changes: Sequence[tuple[str, int, int, int | None, Thing | None]],
    by: tuple[int, int],
    run_id: int | None,
    thing: Thing | None,
) -> None:
    """Against all steps that can be come to, worked out anew; the one that asks rests from then on. No two make the
    same: the third, fourth and seventh make something."""
    making: dict[tuple[int, int], Thing | None] = {STEPS[2]: THINGS[1], STEPS[3]: THINGS[2], STEPS[6]: THINGS[3]}
    circles = Circles()
    calls: dict[tuple[int, int], dict[int, tuple[int | None, Thing | None]]] = {}
    for what, at, number, run, wanted in changes:
        step = STEPS[at]
        if what == "waits":
            circles.waits(step, (1, number), run, wanted, makes=making.get(step))
            calls.setdefault(step, {})[number] = run, wanted
        elif what == "leaves":
            circles.leaves(step, (1, number))
            calls.get(step, {}).pop(number, None)
        else:
            circles.over(step)
            calls.pop(step, None)

    def after(run: int | None, wanted: Thing | None) -> set[tuple[int, int]]:
        resting = [step for step, of in calls.items() if of or step == by]
        return {one for one in resting if one[0] == run or (wanted is not None and making.get(one) == wanted)}

    calls.setdefault(by, {})
    reached = after(run_id, thing)
    for _ in STEPS:
        reached |= {one for step in reached for call in calls[step].values() for one in after(*call)}
    found = circles.find(by, run_id, thing, makes=making.get(by))
    assert bool(found) == (by in reached)
    assert not found or found[-1] == by[0]
