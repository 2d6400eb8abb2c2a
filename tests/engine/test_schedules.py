"""Schedules through the whole engine, in virtual time."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig

from freshet import RunRequest, Schedule, TimePartitions, asset, job, schedule
from freshet.engine.clock import SimulatedClock
from freshet.store.schedules import schedule_ticks

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


def _clock(hours: float = 0) -> SimulatedClock:
    return SimulatedClock(start=MIDNIGHT + hours * 3600)


async def _nothing() -> None:
    return None


async def test_fires_at_each_instant_once_and_never_early(tmp_path: Path) -> None:
    clock = _clock(hours=1)
    calls: list[float] = []

    @job
    def note() -> None:
        calls.append(clock.now())

    hourly = Schedule("hourly", cron="30 * * * *", target=note)
    async with rig(tmp_path, [note, hourly], clock=clock) as one:
        assert calls == [], "nothing of the past fires where a schedule is new"
        await one.advance(5 * 3600)
        assert calls == [MIDNIGHT + hour * 3600 + 1800 for hour in range(1, 6)]
        tags = [run.tags["freshet/scheduled_time"] for run in await one.runs()]
        assert tags[0] == "2026-03-01T01:30:00+00:00"
        rows = await one.store.read(partial(schedule_ticks, name="hourly", limit=10))
        assert [row.status for row in rows] == ["fired"] * 5


@pytest.mark.parametrize(
    ("misfire", "fired", "skipped"), [("latest", 1, 9), ("all", 10, 0), ("skip", 0, 10)], ids=["latest", "all", "skip"]
)
async def test_what_passed_while_the_daemon_was_down_is_decided_and_recorded(
    tmp_path: Path, misfire: Any, fired: int, skipped: int
) -> None:
    clock = _clock()

    @job
    def note() -> None:
        return None

    things = [note, Schedule("often", every="1m", target=note, misfire=misfire)]
    async with rig(tmp_path, things, clock=clock) as one:
        await one.advance(61)
        assert len(await one.runs()) == 1
    await clock.advance(600, _nothing)
    async with rig(tmp_path, things, clock=clock, workers=20) as one:
        assert len(await one.runs()) == 1 + fired
        rows = await one.store.read(partial(schedule_ticks, name="often", limit=100))
        assert sum(row.count for row in rows if row.status == "skipped") == skipped
        assert sum(row.count for row in rows) == 11
    async with rig(tmp_path, things, clock=clock) as one:
        assert len(await one.runs()) == 1 + fired, "a restart decides nothing again"


async def test_an_edit_fires_nothing_of_the_past(tmp_path: Path) -> None:
    clock = _clock()

    @job
    def note() -> None:
        return None

    async with rig(tmp_path, [note, Schedule("s", cron="0 12 * * *", target=note)], clock=clock) as one:
        await one.advance(3600)
    await clock.advance(6 * 3600, _nothing)
    async with rig(tmp_path, [note, Schedule("s", cron="0 5 * * *", target=note)], clock=clock) as one:
        assert await one.runs() == []
        await one.advance(24 * 3600)
        assert len(await one.runs()) == 1


async def test_a_clock_set_back_fires_nothing_again(tmp_path: Path) -> None:
    clock = _clock()

    @job
    def note() -> None:
        return None

    async with rig(tmp_path, [note, Schedule("s", every="10m", target=note)], clock=clock) as one:
        await one.advance(3600)
        assert len(await one.runs()) == 6
        clock.step_wall(-1800)
        await one.advance(1800)
        assert len(await one.runs()) == 6
        await one.advance(600)
        assert len(await one.runs()) == 7


async def test_a_time_partitioned_target_gets_the_partition_that_the_tick_closed(tmp_path: Path) -> None:
    days = TimePartitions("daily", start="2026-02-01", timezone="Europe/Berlin")
    made: list[str] = []

    @asset(partitions=days)
    def daily(ctx: Any) -> str:
        made.append(ctx.partition.key)
        return str(ctx.partition.key)

    @asset(partitions=days)
    def below(daily: str) -> str:
        return daily.upper()

    nightly = Schedule("nightly", cron="0 0 * * *", timezone="Europe/Berlin", target=daily)
    async with rig(tmp_path, [daily, below, nightly], clock=_clock()) as one:
        await one.advance(48 * 3600)
        assert made == ["2026-03-01", "2026-03-02"]
        await one.control.materialize(["below"], key="2026-03-01")
        await one.control.materialize(["daily"], key="2026-02-07", downstream=True)
        await one.settle()
        assert set(await one.states()) == {"succeeded"}
        assert made[-1] == "2026-02-07"


async def test_a_body_is_asked_about_each_instant_and_answers_with_runs(tmp_path: Path) -> None:
    clock = _clock()
    asked: list[datetime] = []
    done: list[Any] = []
    broken = [False]

    @job
    def note(day: str) -> None:
        done.append(day)

    @schedule(cron="0 6 * * *", target=note, misfire="all")
    async def every_morning(ctx: Any) -> Any:
        asked.append(ctx.scheduled_time)
        if broken[0]:
            raise ValueError("not today")
        yield RunRequest(params={"day": ctx.scheduled_time.date().isoformat()})

    things = [note, every_morning]
    async with rig(tmp_path, things, clock=clock) as one:
        await one.advance(24 * 3600)
        assert done == ["2026-03-01"]
        broken[0] = True
        await one.advance(24 * 3600)
        assert done == ["2026-03-01"]
    broken[0] = False
    async with rig(tmp_path, things, clock=clock) as one:
        await one.advance(3600)
        assert done == ["2026-03-01", "2026-03-02"], "what failed is asked about again"
        assert asked[0] == datetime(2026, 3, 1, 6, tzinfo=UTC)
        await one.advance(24 * 3600)
        assert done[-1] == "2026-03-03"


async def test_a_thousand_schedules_of_one_instant_all_fire(tmp_path: Path) -> None:
    @job
    def note() -> None:
        return None

    schedules = [Schedule(f"s{number}", cron="0 1 * * *", target=note) for number in range(1000)]
    async with rig(tmp_path, [note, *schedules], clock=_clock(), workers=50) as one:
        await one.advance(3600)
        runs = await one.runs()
        assert len(runs) == 1000
        assert {run.created_at for run in runs} == {MIDNIGHT + 3600}
        assert {run.origin for run in runs} == {f"schedule:s{number}" for number in range(1000)}
