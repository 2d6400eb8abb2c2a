"""Sensors in virtual time: due and woken, committed whole, backed off, paused, by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig

from freshet import AddPartitions, DynamicPartitions, GiveUp, RetryLater, RunRequest, Skip, asset, job, sensor
from freshet.definitions.job import Job
from freshet.engine.clock import SimulatedClock
from freshet.errors import Conflict, UnknownName

pytestmark = pytest.mark.anyio


def _job(calls: list[Any]) -> Job:
    @job
    def note(number: int = 0) -> None:
        calls.append(number)

    return note


async def test_a_sensor_looks_at_its_interval_and_its_cursor_goes_on(tmp_path: Path) -> None:
    calls: list[Any] = []

    @sensor(interval="10s", target="note")
    async def counting(ctx: Any) -> Any:
        ctx.cursor = (ctx.cursor or 0) + 1
        yield RunRequest(run_key=str(ctx.cursor), params={"number": ctx.cursor})

    clock = SimulatedClock()
    things = [_job(calls), counting]
    async with rig(tmp_path, things, clock=clock) as one:
        assert calls == [1]
        await one.advance(10)
        assert calls == [1, 2]
        await one.advance(30)
        assert calls == [1, 2, 3, 4, 5]
    async with rig(tmp_path, things, clock=clock) as again:
        assert calls == [1, 2, 3, 4, 5, 6]
        assert set(await again.states()) == {"succeeded"}


async def test_a_tick_that_raises_commits_nothing_and_backs_off(tmp_path: Path) -> None:
    looks: list[float] = []
    clock = SimulatedClock()
    broken = [True]

    @sensor(interval="10s", target="note")
    def shaky(ctx: Any) -> Any:
        looks.append(clock.monotonic())
        ctx.cursor = "moved"
        yield RunRequest()
        if broken[0]:
            raise ValueError("no luck")

    async with rig(tmp_path, [_job([]), shaky], clock=clock) as one:
        await one.advance(3600)
        state = one.control.sensors()[0]
        assert (state.status, state.cursor, state.failures) == ("failing", None, len(looks))
        assert state.last_error["message"] == "no luck"
        assert await one.runs() == []
        gaps = [later - earlier for earlier, later in pairwise(looks)]
        assert all(gap <= 10 * 10 * 1.25 for gap in gaps)
        assert gaps[0] < gaps[2] < gaps[4]
        assert len(looks) < 60
        broken[0] = False
        await one.advance(200)
        state = one.control.sensors()[0]
        assert (state.status, state.cursor, state.failures) == ("ok", "moved", 0)
        assert [event.type for event in await one.events() if event.type.startswith("ticker")] == [
            "ticker_failing",
            "ticker_recovered",
        ]


async def test_back_off_goes_on_after_a_restart(tmp_path: Path) -> None:
    looks: list[float] = []
    clock = SimulatedClock()

    @sensor(interval="10s")
    async def failing(ctx: Any) -> None:
        looks.append(clock.monotonic())
        raise ValueError("still broken")

    async with rig(tmp_path, [failing], clock=clock) as one:
        await one.advance(300)
    before = len(looks)
    async with rig(tmp_path, [failing], clock=clock) as one:
        assert len(looks) == before
        assert one.control.sensors()[0].failures == before
        await one.advance(125)
        assert len(looks) > before


async def test_retry_later_waits_as_long_as_it_says_and_is_no_failure(tmp_path: Path) -> None:
    looks: list[float] = []
    clock = SimulatedClock()

    @sensor(interval="10s")
    async def patient(ctx: Any) -> None:
        looks.append(clock.monotonic())
        if len(looks) == 1:
            raise RetryLater("maintenance", after="7m")

    async with rig(tmp_path, [patient], clock=clock) as one:
        await one.advance(419)
        assert len(looks) == 1
        await one.advance(1)
        assert len(looks) == 2
        assert one.control.sensors()[0].failures == 0


async def test_who_gives_up_is_left_alone_until_resumed(tmp_path: Path) -> None:
    looks: list[float] = []
    clock = SimulatedClock()

    @sensor(interval="10s")
    async def hopeless(ctx: Any) -> None:
        looks.append(clock.monotonic())
        if len(looks) == 1:
            raise GiveUp("the account is closed")

    async with rig(tmp_path, [hopeless], clock=clock) as one:
        await one.advance(1000)
        assert len(looks) == 1
        assert one.control.sensors()[0].quarantined == "the account is closed"
        await one.control.resume("hopeless")
        await one.settle()
        assert len(looks) == 2
        assert one.control.sensors()[0].status == "ok"


async def test_a_wake_is_a_tick_now_and_its_hints_arrive(tmp_path: Path) -> None:
    seen: list[Any] = []

    @sensor(interval="1h")
    async def watching(ctx: Any) -> None:
        seen.append(ctx.hints)

    async with rig(tmp_path, [watching]) as one:
        assert seen == [None]
        one.engine.answers.woken("watching", ("b", "a"))
        one.engine.answers.woken("watching", ("c",))
        await one.settle()
        assert seen == [None, ("a", "b"), ("c",)]
        await one.advance(3600)
        assert seen[-1] is None, "a hinted look never postpones the full one"


async def test_a_wake_neither_ends_a_back_off_nor_a_pause(tmp_path: Path) -> None:
    looks: list[Any] = []

    @sensor(interval="1h")
    async def failing(ctx: Any) -> None:
        looks.append(ctx.hints)
        raise ValueError("broken")

    async with rig(tmp_path, [failing]) as one:
        one.engine.answers.woken("failing", ("a",))
        await one.settle()
        assert looks == [None]
        await one.control.pause("failing")
        await one.advance(100_000)
        assert looks == [None]
        await one.control.resume("failing")
        await one.settle()
        assert looks == [None, None], "after a failure the next look is full"


async def test_a_run_key_admits_one_run_and_says_who_holds_it(tmp_path: Path) -> None:
    calls: list[Any] = []

    @sensor(interval="10s", target="note")
    async def repeating(ctx: Any) -> Any:
        ctx.cursor = (ctx.cursor or 0) + 1
        yield RunRequest(run_key="only once", params={"number": ctx.cursor})
        yield RunRequest(run_key="only once", params={"number": -ctx.cursor})

    async with rig(tmp_path, [_job(calls), repeating]) as one:
        await one.advance(50)
        report = await one.control.tick("repeating")
        assert calls == [1]
        assert [dropped["held_by"] for dropped in report.dropped] == [1, 1]
        assert report.runs == ()


async def test_partition_and_run_commit_together(tmp_path: Path) -> None:
    batches = DynamicPartitions("batches")

    @asset(partitions=batches)
    def raw(ctx: Any) -> Any:
        return ctx.partition.metadata["size"]

    @sensor(interval="10s", target=raw)
    async def finding(ctx: Any) -> Any:
        yield AddPartitions(batches, {"a": {"size": 3}})
        yield RunRequest(partition="a", run_key="a")
        if ctx.cursor is None:
            ctx.cursor = 1
            yield RunRequest(partition="never added")

    async with rig(tmp_path, [raw, finding]) as one:
        state = one.control.sensors()[0]
        assert state.status == "failing"
        assert "never added" in state.last_error["message"]
        assert await one.runs() == []
        assert await one.events("partition_added") == []


async def test_asking_for_what_nobody_declares_is_the_sensor_s_failure(tmp_path: Path) -> None:
    @sensor(interval="10s")
    async def lost(ctx: Any) -> Any:
        yield RunRequest("notee")

    async with rig(tmp_path, [_job([]), lost]) as one:
        assert "did you mean 'note'?" in one.control.sensors()[0].last_error["message"]


async def test_a_checkpoint_keeps_what_came_before_a_failure(tmp_path: Path) -> None:
    calls: list[Any] = []

    @sensor(interval="1h", target="note")
    async def long_look(ctx: Any) -> Any:
        for number in range(3):
            yield RunRequest(run_key=str(number), params={"number": number})
            ctx.cursor = number
            await ctx.checkpoint()
        yield RunRequest(run_key="lost")
        raise ValueError("the listing broke")

    async with rig(tmp_path, [_job(calls), long_look], workers=8) as one:
        assert sorted(calls) == [0, 1, 2]
        assert one.control.sensors()[0].cursor == 2
        assert one.control.sensors()[0].status == "failing"


async def test_a_dry_run_shows_everything_and_commits_nothing(tmp_path: Path) -> None:
    calls: list[Any] = []

    @sensor(interval="1h", target="note")
    async def eager_one(ctx: Any) -> Any:
        if ctx.cursor is None:
            yield Skip("nothing yet")
            return
        ctx.ledger.add("item")
        yield RunRequest(run_key="x")
        ctx.cursor += 1

    async with rig(tmp_path, [_job(calls), eager_one]) as one:
        report = await one.control.tick("eager_one", dry_run=True, cursor=41)
        assert (report.cursor, report.ledger_added, report.runs[0]["run_key"]) == (42, 1, "x")
        assert (await one.control.tick("eager_one", dry_run=True)).skip == "nothing yet"
        assert calls == []
        assert one.control.sensors()[0].cursor is None


async def test_a_dry_run_names_the_runs_that_hold_a_run_key(tmp_path: Path) -> None:
    target = ["note"]

    @sensor(interval="1h", target="note")
    async def repeating(ctx: Any) -> Any:
        yield RunRequest(run_key="x")
        if ctx.cursor is not None:
            for _ in range(2):
                yield RunRequest(run_key="y", target=target[0])
        ctx.cursor = 1

    async with rig(tmp_path, [_job([]), repeating]) as one:
        report = await one.control.tick("repeating", dry_run=True)
        assert [(run["target"], run["run_key"]) for run in report.runs] == [("note", "y")]
        assert [(held["target"], held["run_key"], held["held_by"]) for held in report.dropped] == [
            ("note", "x", 1),
            ("note", "y", None),
        ]
        target[0] = "nothing"
        refused = await one.control.tick("repeating", dry_run=True)
        assert (refused.status, refused.error["type"]) == ("failed", "UnknownName")
        assert len(await one.runs()) == 1


async def test_a_cursor_set_by_hand_refuses_the_tick_in_flight(tmp_path: Path) -> None:
    @sensor(interval="1h", target="note")
    async def slow(ctx: Any) -> Any:
        ctx.cursor = (ctx.cursor or 0) + 1
        yield RunRequest(run_key=f"k{ctx.cursor}")

    async with rig(tmp_path, [_job([]), slow]) as one:
        one.engine.answers.woken("slow", None)
        await one.control.set_cursor("slow", 100)
        await one.settle()
        assert one.control.sensors()[0].cursor == 101
        keys = [run.run_key for run in await one.runs()]
        assert keys[-1] == "k101"
        assert len(keys) == len(set(keys))


async def test_unknown_names_are_answered_with_the_nearest(tmp_path: Path) -> None:
    @sensor(interval="1h")
    async def landing(ctx: Any) -> None:
        return None

    async with rig(tmp_path, [landing]) as one:
        with pytest.raises(UnknownName, match="did you mean 'landing'"):
            await one.control.pause("landng")
        with pytest.raises(Conflict, match="dry-run"):
            await one.control.tick("landing", cursor=1)


async def test_ticks_that_did_nothing_are_counted_and_not_stored(tmp_path: Path) -> None:
    @sensor(interval="30s")
    async def idle(ctx: Any) -> None:
        return None

    clock = SimulatedClock()
    async with rig(tmp_path, [idle], clock=clock) as one:
        await one.advance(7 * 24 * 3600)
        ticks = one.control.sensors()[0].ticks
        assert 20_160 <= ticks <= 20_162
        assert one.control.sensors()[0].idle_ticks == ticks
    async with rig(tmp_path, [idle], clock=clock) as one:
        assert one.control.sensors()[0].ticks == ticks + 1
        assert await one.store.read(lambda db: db.execute("SELECT count(*) FROM ticks").fetchone()[0]) == 0


async def test_a_run_that_starts_in_place_of_a_dropped_one_has_its_inputs(tmp_path: Path) -> None:
    taken: list[Any] = []

    @asset
    def base() -> int:
        return 7

    @asset
    def above(base: int) -> int:
        taken.append(base)
        return base

    @sensor(interval="1h")
    async def asks(ctx: Any) -> Any:
        yield RunRequest("base", run_key="once")
        if ctx.cursor is not None:
            yield RunRequest("above")
        ctx.cursor = (ctx.cursor or 0) + 1

    async with rig(tmp_path, [base, above, asks], workers=1) as one:
        await one.advance(3601)
        assert taken == [7]
        assert await one.states() == ["succeeded", "succeeded"]
