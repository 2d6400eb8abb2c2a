"""Pools, rates and limits through the doors that runs come by: by hand, by sensors, schedules and automation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig

from freshet import (
    AutomationCondition,
    DynamicPartitions,
    Pool,
    RunRequest,
    Schedule,
    asset,
    job,
    sensor,
)
from freshet.definitions.limits import Limits, PoolLimit
from freshet.definitions.pool import Rate
from freshet.engine.clock import SimulatedClock
from freshet.errors import DefinitionError
from freshet.store.records import StepToRun

pytestmark = pytest.mark.anyio


class Under:
    """How many steps are under way, by name; each takes ten seconds."""

    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.until: list[tuple[float, str]] = []
        self.most = Counter[str]()
        self.starts: list[float] = []

    def __call__(self, step: StepToRun) -> float:
        now = self.clock.now()
        self.starts.append(now)
        self.until = [(end, name) for end, name in self.until if end > now] + [(now + 10.0, step.name)]
        for name, count in Counter(name for _, name in self.until).items():
            self.most[name] = max(self.most[name], count)
        self.most["all"] = max(self.most["all"], len(self.until))
        return 10.0


async def test_however_runs_come_a_pool_is_never_overdrawn_and_never_idle(tmp_path: Path) -> None:
    days, under = DynamicPartitions("days"), Under()

    @asset(partitions=days, pool="db")
    def raw() -> int:
        return 1

    @asset(partitions=days, pool="db", automation=AutomationCondition.eager())
    def clean(raw: int) -> int:
        return raw

    @job(pool=Pool("db", slots=2))
    def vacuum() -> None: ...

    @job
    def free() -> None: ...

    @sensor(interval="5s", target="raw")
    def arrivals(ctx: Any) -> Any:
        if ctx.cursor is None:
            ctx.cursor = 1
            for key in ("a", "b", "c", "d", "e", "f"):
                yield RunRequest("raw", partition=key)

    hourly = Schedule("hourly", cron="0 * * * *", target="vacuum")
    limits = Limits({"db": PoolLimit(3)})
    things = [raw, clean, vacuum, free, arrivals, hourly]
    async with rig(tmp_path, things, clock=under.clock, workers=8, limits=limits, duration=under) as one:
        await one.control.add_partitions("days", {key: {} for key in "abcdef"})
        await one.advance(6)
        assert under.most["raw"] == 3
        await one.control.call("free", {})
        await one.settle()
        assert under.most["free"] == 1, "it wants nothing of the pool"
        await one.control.call("vacuum", {})
        await one.advance(120)
        assert set(await one.states()) == {"succeeded"}
        assert under.most["clean"] + under.most["vacuum"] > 0
        begun, ended = under.starts[0], max(end for end, _ in under.until)
        assert ended - begun <= 10.0 * 6, "six by three, six by three, one of two: never idle"
        await one.advance(3700)
        assert set(await one.states("vacuum")) == {"succeeded"}
        assert under.most["raw"] <= 3 and under.most["clean"] <= 3


async def test_a_rate_spreads_starts_and_a_restart_does_not_forget_the_last_ones(tmp_path: Path) -> None:
    under = Under()

    @job(pool="api")
    def ask() -> None: ...

    limits = Limits({"api": PoolLimit(100, Rate(3, 60.0))})
    async with rig(tmp_path, [ask], clock=under.clock, workers=50, limits=limits, duration=under) as one:
        for _ in range(8):
            await one.control.call("ask", {})
        begun = one.clock.now()
        await one.advance(50)
        assert len(under.starts) == 3
        await one.advance(20)
        assert len(under.starts) == 6
    async with rig(tmp_path, [ask], clock=under.clock, workers=50, limits=limits, duration=under) as one:
        await one.advance(40)
        assert len(under.starts) == 6, "those of before the restart count"
        await one.advance(20)
        assert [round(at - begun) for at in under.starts] == [0, 0, 0, 60, 60, 60, 120, 120]


async def test_runs_are_limited_together_and_by_their_tags(tmp_path: Path) -> None:
    under = Under()

    @job
    def work(customer: str) -> None: ...

    limits = Limits(runs=4, tags={"customer": 1, "customer=acme": 2})
    async with rig(tmp_path, [work], clock=under.clock, workers=50, limits=limits, duration=under) as one:
        for customer in ("acme", "acme", "acme", "b", "b", "c", "d", "e"):
            await one.control.call("work", {"customer": customer}, tags={"customer": customer})
        await one.settle()
        assert under.most["all"] == 4
        assert [run.tags["customer"] for run in await one.runs() if run.state == "started"] == [
            "acme",
            "acme",
            "b",
            "c",
        ]
        await one.advance(35)
        assert set(await one.states()) == {"succeeded"}
        assert under.most["all"] == 4


async def test_a_pool_that_there_is_not_and_one_that_is_too_small_are_named_with_their_remedy(tmp_path: Path) -> None:
    @asset(pool="wharehouse")
    def one_asset() -> None: ...

    @job(pool=Pool("db", slots=5))
    def one_job() -> None: ...

    limits = Limits({"warehouse": PoolLimit(2), "db": PoolLimit(4)})
    with pytest.raises(DefinitionError) as refused:
        async with rig(tmp_path, [one_asset, one_job], limits=limits):
            pass
    said = str(refused.value.message)
    assert "asset 'one_asset': there is no pool 'wharehouse' (did you mean 'warehouse'?" in said
    assert "[pools] wharehouse = 4" in said
    assert "job 'one_job' takes 5 slots of the pool 'db', which has 4" in said
