"""Schedules through the whole engine, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.engine.rig import Rig, rig

from freshet import AddPartitions, RunRequest, Schedule, TimePartitions, asset, job, schedule
from freshet.engine.clock import SimulatedClock
from freshet.errors import UnknownName
from freshet.store.records import StepToRun
from freshet.store.schedules import last_ticks, schedule_ticks

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


async def test_a_failing_body_says_what_it_is_held_at_and_when_it_is_asked_again(tmp_path: Path) -> None:
    broken = [True]

    @job
    def note() -> None:
        return None

    @schedule(cron="0 6 * * *", target=note)
    async def every_morning(ctx: Any) -> Any:
        if broken[0]:
            raise ValueError("not today")
        yield RunRequest()

    six = MIDNIGHT + 6 * 3600
    async with rig(tmp_path, [note, every_morning], clock=_clock()) as one:
        with capture_logs() as logs:
            await one.advance(6 * 3600 + 60)
            (view,) = one.control.schedules()
            assert (view.status, view.held_at, view.next) == ("failing", six, six + 86_400)
            assert view.retry_at is not None
            assert one.clock.now() < view.retry_at
            broken[0] = False
            await one.advance(view.retry_at - one.clock.now())
            (view,) = one.control.schedules()
            assert (view.status, view.held_at, view.retry_at, view.next) == ("ok", None, None, six + 86_400)
        said = [line["event"] for line in logs if line.get("schedule") == "every_morning"]
        assert said == ["schedule failing", "schedule recovered"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (RunRequest(), "schedule 'wrong' asked for a run without a target"),
        (RunRequest("nobody"), "schedule 'wrong' asked for 'nobody', which is no asset and no job"),
        (7, "schedule 'wrong' yielded 7 (int); a schedule yields RunRequest or Skip"),
        (RunRequest("note", tags={"a": 1}), "schedule 'wrong' yielded a wrong RunRequest"),  # type: ignore[dict-item]
        (AddPartitions("keys", ["a"]), "schedule 'wrong' yielded partitions; a schedule yields RunRequest or Skip"),
    ],
    ids=["target", "unknown", "type", "field", "partitions"],
)
async def test_what_a_body_yields_wrongly_is_said_of_a_schedule(tmp_path: Path, wrong: object, says: str) -> None:
    @schedule(cron="0 6 * * *", name="wrong")
    def body(ctx: Any) -> Any:
        yield wrong

    async with rig(tmp_path, [body], clock=_clock()) as one:
        await one.advance(6 * 3600 + 1)
        (view,) = one.control.schedules()
        error: Any = view.last_error
        assert error["message"].startswith(says)
        assert await one.runs() == []


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


# --- what is due while the run before is not done -----------------------------------------------------------------


def _long(seconds: float) -> Callable[[StepToRun], float]:
    return lambda step: seconds


def _every_minute(overlap: Any) -> list[object]:
    @job
    def note() -> None:
        return None

    return [note, Schedule("often", every="1m", target=note, overlap=overlap, misfire="all")]


async def _ticks(one: Rig, name: str = "often") -> list[tuple[str, str | None]]:
    rows = await one.store.read(partial(schedule_ticks, name=name, limit=100))
    return [(row.status, row.reason) for row in reversed(rows)]


async def test_overlap_allow_runs_side_by_side(tmp_path: Path) -> None:
    async with rig(tmp_path, _every_minute("allow"), clock=_clock(), workers=9, duration=_long(150)) as one:
        await one.advance(3 * 60)
        assert await one.states() == ["started"] * 3


async def test_overlap_skip_records_the_tick_and_asks_for_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path, _every_minute("skip"), clock=_clock(), workers=9, duration=_long(150)) as one:
        await one.advance(4 * 60 + 1)
        fired, overlap = ("fired", None), ("skipped", "overlap")
        assert await _ticks(one) == [fired, overlap, overlap, fired], "the first ends at 3:30"
        assert [run.created_at - MIDNIGHT for run in await one.runs()] == [60, 240]


async def test_overlap_skip_counts_a_run_that_is_still_queued(tmp_path: Path) -> None:
    @job
    def busy() -> None:
        return None

    things = [*_every_minute("skip"), busy]
    async with rig(tmp_path, things, clock=_clock(), workers=1, duration=_long(150)) as one:
        await one.control.call("busy", {})
        await one.advance(2 * 60)
        assert await one.states("note") == ["queued"]
        assert await _ticks(one) == [("fired", None), ("skipped", "overlap")]


async def test_overlap_queue_runs_one_after_the_other_also_after_a_restart(tmp_path: Path) -> None:
    clock, things = _clock(), _every_minute("queue")
    async with rig(tmp_path, things, clock=clock, workers=9, duration=_long(100), stop=False) as one:
        await one.advance(3 * 60 + 1)
        assert await one.states() == ["succeeded", "started", "queued"]
        second, third = (await one.runs())[1:]
        assert one.blocked_by(third.id) == f"waits until run {second.id} has ended"
    async with rig(tmp_path, things, clock=clock, workers=9, duration=_long(100)) as one:
        assert await one.states() == ["succeeded", "started", "queued"]
        await one.advance(10 * 60)
        runs = [run for run in await one.runs() if run.ended_at is not None]
        assert len(runs) >= 5
        for before, after in pairwise(runs):
            assert before.ended_at is not None and after.started_at is not None
            assert before.ended_at <= after.started_at
        assert {status for status, _ in await _ticks(one)} == {"fired"}


async def test_a_held_run_holds_back_nobody_else(tmp_path: Path) -> None:
    @job
    def other() -> None:
        return None

    things = [*_every_minute("queue"), other]
    async with rig(tmp_path, things, clock=_clock(), workers=2, duration=_long(600)) as one:
        await one.advance(3 * 60 + 1)
        await one.control.call("other", {})
        await one.settle()
        assert await one.states("note") == ["started", "queued", "queued"]
        assert await one.states("other") == ["started"]


async def test_a_queued_run_that_is_canceled_leaves_the_line(tmp_path: Path) -> None:
    async with rig(tmp_path, _every_minute("queue"), clock=_clock(), workers=9, duration=_long(200)) as one:
        await one.advance(3 * 60 + 1)
        first, second, third = await one.runs()
        await one.control.cancel(second.id)
        assert one.blocked_by(third.id) == f"waits until run {first.id} has ended"
        await one.control.cancel(first.id)
        await one.settle()
        assert await one.states() == ["canceled", "canceled", "started"]


async def test_overlap_latest_cancels_what_is_still_queued(tmp_path: Path) -> None:
    async with rig(tmp_path, _every_minute("latest"), clock=_clock(), workers=1, duration=_long(1000)) as one:
        await one.advance(4 * 60)
        assert await one.states() == ["started", "canceled", "canceled", "queued"]


async def test_overlap_cancel_cancels_what_is_under_way(tmp_path: Path) -> None:
    async with rig(tmp_path, _every_minute("cancel"), clock=_clock(), workers=1, duration=_long(1000)) as one:
        await one.advance(3 * 60)
        assert await one.states() == ["canceled", "canceled", "started"]
        await one.advance(1000)
        assert {status for status, _ in await _ticks(one)} == {"fired"}


@pytest.mark.parametrize(
    ("overlap", "admitted", "kept"), [("skip", 1, 0), ("latest", 1, -1), ("cancel", 1, -1), ("queue", 5, 0)]
)
async def test_instants_that_are_caught_up_together_overlap_too(
    tmp_path: Path, overlap: Any, admitted: int, kept: int
) -> None:
    clock, things = _clock(), _every_minute(overlap)
    async with rig(tmp_path, things, clock=clock):
        pass
    await clock.advance(5 * 60 + 1, _nothing)
    async with rig(tmp_path, things, clock=clock, workers=9, duration=_long(10)) as one:
        runs = await one.runs()
        assert len(runs) == admitted
        minute = [1, 2, 3, 4, 5][kept]
        assert runs[0].tags["freshet/scheduled_time"] == f"2026-03-01T00:0{minute}:00+00:00"
        assert len(await _ticks(one)) == 5


async def test_partitions_of_one_schedule_do_not_overlap(tmp_path: Path) -> None:
    days = TimePartitions("daily", start="2026-02-01", timezone="UTC")

    @asset(partitions=days)
    def daily() -> int:
        return 1

    nightly = Schedule("nightly", cron="0 0 * * *", timezone="UTC", target=daily, overlap="skip")
    async with rig(tmp_path, [daily, nightly], clock=_clock(), workers=9, duration=_long(3 * 86400)) as one:
        await one.advance(2 * 86400)
        assert await one.states() == ["started"] * 2


# --- paused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("misfire", "fired"), [("latest", 1), ("all", 5), ("skip", 0)])
async def test_paused_it_fires_nothing_and_resumed_the_misfire_policy_decides(
    tmp_path: Path, misfire: Any, fired: int
) -> None:
    clock = _clock()

    @job
    def note() -> None:
        return None

    things = [note, Schedule("often", every="1m", target=note, misfire=misfire)]
    async with rig(tmp_path, things, clock=clock) as one:
        await one.advance(60)
        view = await one.control.pause_schedule("often")
        assert (view.status, view.next) == ("paused", None)
        await one.advance(121)
        assert len(await one.runs()) == 1
    async with rig(tmp_path, things, clock=clock) as one:
        await one.advance(180)
        assert len(await one.runs()) == 1, "a restart does not end a pause"
        assert one.control.schedules()[0].status == "paused"
        view = await one.control.resume_schedule("often")
        await one.settle()
        assert view.status == "ok"
        assert len(await one.runs()) == 1 + fired
        rows = await one.store.read(partial(schedule_ticks, name="often", limit=100))
        assert sum(row.count for row in rows) == 6, "what passed is recorded, fired or skipped"
        last = (await one.store.read(last_ticks))["often"]
        assert (last.skipped is None) == (misfire == "all")
        await one.advance(60)
        assert len(await one.runs()) == 2 + fired


async def test_a_short_pause_is_a_misfire_too(tmp_path: Path) -> None:
    @job
    def note() -> None:
        return None

    async with rig(tmp_path, [note, Schedule("s", every="1s", target=note, misfire="skip")], clock=_clock()) as one:
        await one.advance(1)
        await one.control.pause_schedule("s")
        await one.advance(3.5)
        await one.control.resume_schedule("s")
        await one.advance(1)
        assert [run.created_at - MIDNIGHT for run in await one.runs()] == [1, 5]


async def test_a_body_that_is_asked_while_it_is_paused_decides_nothing(tmp_path: Path) -> None:
    clock, asked = _clock(), list[datetime]()

    @job
    def note() -> None:
        return None

    @schedule(cron="0 6 * * *", target=note)
    async def morning(ctx: Any) -> Any:
        asked.append(ctx.scheduled_time)
        if len(asked) == 1:
            await one.control.pause_schedule("morning")
        yield RunRequest()

    async with rig(tmp_path, [note, morning], clock=clock) as one:
        await one.advance(86400)
        assert len(asked) == 1 and await one.runs() == []
        await one.control.resume_schedule("morning")
        await one.settle()
        assert len(asked) == 2 and len(await one.runs()) == 1


async def test_a_wrong_name_is_told(tmp_path: Path) -> None:
    async with rig(tmp_path, _every_minute("allow"), clock=_clock()) as one:
        with pytest.raises(UnknownName, match="no schedule 'oftn'") as error:
            await one.control.pause_schedule("oftn")
        assert "often" in error.value.hint
