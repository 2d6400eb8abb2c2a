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
    Retries,
    RunRequest,
    Schedule,
    asset,
    job,
    sensor,
)
from freshet.definitions.limits import Limits, PoolLimit
from freshet.definitions.pool import Rate
from freshet.engine.clock import SimulatedClock
from freshet.errors import Conflict, DefinitionError, UnknownName
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


@pytest.mark.parametrize("stop", [True, False])
async def test_a_rate_counts_each_attempt_also_after_restarts(tmp_path: Path, stop: bool) -> None:
    under = Under()

    @job(pool="api", retries=Retries(5, delay="1s", backoff=1, jitter=0))
    def ask(ctx: Any) -> None:
        if ctx.attempt < 6:
            raise ConnectionError("once more")

    limits = Limits({"api": PoolLimit(9, Rate(3, 100.0))})

    def short(step: StepToRun) -> float:
        return under(step) / 10

    async with rig(tmp_path, [ask], clock=under.clock, workers=9, limits=limits, duration=short, stop=stop) as one:
        await one.control.call("ask", {})
        await one.advance(5)
        assert len(under.starts) == 3
    for _ in range(3):  # what is cut off is queued again, and starts anew
        async with rig(tmp_path, [ask], clock=under.clock, workers=9, limits=limits, duration=short, stop=stop) as one:
            await one.advance(5)
            assert len(under.starts) == 3
    async with rig(tmp_path, [ask], clock=under.clock, workers=9, limits=limits, duration=short) as one:
        await one.advance(500)
        assert await one.states() == ["succeeded"]
    begun = under.starts[0]
    assert [round(at - begun) for at in under.starts] == [0, 2, 4, 100, 102, 104]


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


async def test_each_run_that_waits_says_what_for_and_a_pause_outlasts_the_daemon(tmp_path: Path) -> None:
    under = Under()

    @job(pool="db")
    def query() -> None: ...

    @job(pool="api")
    def ask() -> None: ...

    @job
    def work() -> None: ...

    limits = Limits({"db": PoolLimit(1), "api": PoolLimit(9, Rate(1, 60.0))}, tags={"customer": 1})
    things = [query, ask, work]
    async with rig(tmp_path, things, clock=under.clock, workers=9, limits=limits, duration=under) as one:
        ids = [await one.control.call(name, {}) for name in ("query", "query", "ask", "ask")]
        ids += [await one.control.call("work", {}, tags={"customer": "acme"}) for _ in range(2)]
        await one.settle()
        assert [one.blocked_by(run_id) for run_id in ids] == [
            None,
            "waits for the pool db (1 of 1 in use)",
            None,
            "the rate of the pool api lets the next one start in 60.0 s",
            None,
            "waits for the limit of runs with customer=acme (1 of 1 under way)",
        ]
        (_, db) = one.control.queue.pools()
        assert (db.name, db.in_use, db.waiting, db.paused) == ("db", 1, 1, False)
        assert (await one.control.queue.pause("db", paused=True)).paused
        await one.advance(15)
        (_, db) = one.control.queue.pools()
        assert (db.in_use, db.waiting, db.paused) == (0, 1, True)
        said = "the pool db is paused; freshet pool db --resume lets it go on"
        assert one.blocked_by(ids[1]) == said
        with pytest.raises(UnknownName, match="there is no pool 'dp'"):
            await one.control.queue.pause("dp", paused=True)
    async with rig(tmp_path, things, clock=under.clock, workers=9, limits=limits, duration=under) as one:
        await one.advance(100)
        assert one.blocked_by(ids[1]) == said
        await one.control.queue.pause("db", paused=False)
        await one.advance(15)
        assert set(await one.states()) == {"succeeded"}


async def test_a_priority_is_changed_while_a_run_is_queued(tmp_path: Path) -> None:
    under = Under()
    order: list[int] = []

    @job
    def work(ctx: Any) -> None:
        order.append(ctx.run.id)

    async with rig(tmp_path, [work], clock=under.clock, workers=1, duration=under) as one:
        ids = [await one.control.call("work", {}) for _ in range(4)]
        await one.control.queue.prioritize(ids[3], 5)
        await one.control.queue.prioritize(ids[1], -5)
    async with rig(tmp_path, [work], clock=under.clock, workers=1, duration=under) as one:
        await one.advance(60)
        assert order == [ids[0], ids[3], ids[0], ids[2], ids[1]], "the first was cut off by the restart"
        assert [run.priority for run in await one.runs()] == [0, -5, 0, 5]
        with pytest.raises(Conflict, match="has ended"):
            await one.control.queue.prioritize(ids[0], 1)
        with pytest.raises(UnknownName, match="there is no run 99"):
            await one.control.queue.prioritize(99, 1)
