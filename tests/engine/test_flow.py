"""Automation and freshness through the whole engine, in virtual time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig

from freshet import (
    AddPartitions,
    AutomationCondition,
    DynamicPartitions,
    Freshness,
    RunRequest,
    asset,
    sensor,
)
from freshet.engine.clock import SimulatedClock
from freshet.store.records import StepToRun

pytestmark = pytest.mark.anyio

EAGER = AutomationCondition.eager()


async def test_what_lands_moves_everything_below_it(tmp_path: Path) -> None:
    batches = DynamicPartitions("batches")

    @asset(partitions=batches)
    def raw(ctx: Any) -> int:
        return int(ctx.partition.key)

    @asset(partitions=batches, automation=EAGER)
    def clean(raw: int) -> int:
        if raw == 3:
            raise ValueError("dirty")
        return raw

    @asset(automation=EAGER)
    def total(clean: dict[str, int]) -> int:
        return sum(clean.values())

    @sensor(interval="10s", target=raw)
    async def arrivals(ctx: Any) -> Any:
        if (ctx.cursor or 0) < 5:
            ctx.cursor = (ctx.cursor or 0) + 1
            yield AddPartitions(batches, [str(ctx.cursor)])
            yield RunRequest(partition=str(ctx.cursor), run_key=str(ctx.cursor))

    async with rig(tmp_path, [raw, clean, total, arrivals]) as one:
        await one.advance(200)
        assert await one.states("raw") == ["succeeded"] * 5
        assert await one.states("clean") == ["succeeded"] * 2 + ["failed"] + ["succeeded"] * 2
        assert set(await one.states("total")) == {"succeeded"}
        newest = max(tmp_path.glob("values/total/**/*.json"), key=lambda path: int(path.stem.split("-")[0]))
        assert newest.read_text() == str(1 + 2 + 4 + 5)
        before = len(await one.runs())
        await one.advance(100_000)
        assert len(await one.runs()) == before, "nothing moves, nothing runs"


async def test_a_storm_is_a_few_runs_and_the_last_one_sees_everything(tmp_path: Path) -> None:
    batches = DynamicPartitions("batches")
    seen: list[tuple[float, int]] = []
    clock = SimulatedClock()

    def slow_total(step: StepToRun) -> float:
        return 5.0 if step.name == "total" else 0.5

    @asset(partitions=batches)
    def raw(ctx: Any) -> int:
        return 1

    @asset(partitions=batches, automation=EAGER)
    def clean(raw: int) -> int:
        return raw

    @asset(automation=EAGER)
    def total(clean: dict[str, int]) -> int:
        seen.append((clock.monotonic(), len(clean)))
        return sum(clean.values())

    @sensor(interval="1s", target=raw)
    async def arrivals(ctx: Any) -> Any:
        if (ctx.cursor or 0) < 200:
            ctx.cursor = (ctx.cursor or 0) + 1
            yield AddPartitions(batches, [str(ctx.cursor)])
            yield RunRequest(partition=str(ctx.cursor), run_key=str(ctx.cursor))

    async with rig(tmp_path, [raw, clean, total, arrivals], clock=clock, workers=4, duration=slow_total) as one:
        await one.advance(200)
        during = [at for at, _ in seen]
        await one.advance(300)
        assert seen[-1][1] == 200, "the last run covers every arrival"
        assert len(seen) <= 200 / 60 + 12, f"{len(seen)} runs for 200 arrivals in 200 seconds"
        gaps = [later - earlier for earlier, later in pairwise(during)]
        assert max(gaps) <= 60 + 5 + 2, "at least one run each max_wait"


async def test_a_lapse_is_answered_once_an_episode(tmp_path: Path) -> None:
    clock = SimulatedClock()

    @asset(freshness=Freshness(within="60s", warn="45s"))
    def source() -> int:
        return 1

    @asset(automation=AutomationCondition.on_lapse())
    def report(source: int) -> int:
        return source

    things = [source, report]
    async with rig(tmp_path, things, clock=clock) as one:
        await one.control.materialize(["source"])
        await one.settle()
        start = clock.now()
        await one.advance(59.9)
        assert await one.runs("report") == []
        assert [event.type for event in await one.events() if event.type.startswith("fresh")] == ["freshness_warned"]
        await one.advance(0.1)
        assert await one.states("report") == ["succeeded"]
        await one.advance(10_000)
        assert len(await one.runs("report")) == 1
        (lapse,) = await one.events("freshness_lapsed")
        assert lapse.at == pytest.approx(start + 60, abs=0.1)
    async with rig(tmp_path, things, clock=clock) as one:
        await one.advance(10_000)
        assert len(await one.runs("report")) == 1, "a restart is no new episode"
        await one.control.materialize(["source"])
        await one.advance(61)
        assert len(await one.events("freshness_restored")) == 1
        assert len(await one.events("freshness_lapsed")) == 2
        assert len(await one.runs("report")) == 2


async def test_a_lapse_while_the_daemon_is_down_is_found_at_its_start(tmp_path: Path) -> None:
    clock = SimulatedClock()

    @asset(freshness=Freshness(within="60s"), automation=AutomationCondition.on_lapse())
    def source() -> int:
        return 1

    async with rig(tmp_path, [source], clock=clock) as one:
        await one.control.materialize(["source"])
        await one.settle()
        deadline = clock.now() + 60
    await clock.advance(3600, _nothing)
    async with rig(tmp_path, [source], clock=clock) as one:
        (lapse,) = await one.events("freshness_lapsed")
        assert lapse.data["deadline"] == pytest.approx(deadline, abs=0.1)
        assert len(await one.runs("source")) == 2


async def test_a_clock_set_back_re_opens_nothing(tmp_path: Path) -> None:
    clock = SimulatedClock()

    @asset(freshness=Freshness(within="60s"))
    def source() -> int:
        return 1

    async with rig(tmp_path, [source], clock=clock) as one:
        await one.advance(61)
        assert len(await one.events("freshness_lapsed")) == 1
        clock.step_wall(-3600)
        await one.advance(7200)
        assert len(await one.events("freshness_lapsed")) == 1


async def test_what_was_not_looked_at_before_a_crash_is_looked_at_after_it(tmp_path: Path) -> None:
    clock = SimulatedClock()

    @asset
    def source() -> int:
        return 1

    @asset(automation=EAGER)
    def below(source: int) -> int:
        return source

    things = [source, below]
    async with rig(tmp_path, things, clock=clock, stop=False) as one:
        await one.settle()
        one.engine.automator.stop()
        await one.control.materialize(["source"])
        await one.settle()
        assert await one.runs("below") == []
    async with rig(tmp_path, things, clock=clock) as one:
        assert await one.states("below") == ["succeeded"]
    async with rig(tmp_path, things, clock=clock) as one:
        assert await one.states("below") == ["succeeded"]


async def _nothing() -> None:
    return None
