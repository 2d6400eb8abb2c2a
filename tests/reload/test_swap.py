"""Other definitions come into force in virtual time: what is known goes on by its name."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
from tests.reload.edits import Edited, edited, load

from freshet import (
    AutomationCondition,
    DynamicPartitions,
    Freshness,
    RunRequest,
    StaticPartitions,
    asset,
    job,
    schedule,
    sensor,
)
from freshet.store.records import StepToRun

pytestmark = pytest.mark.anyio


def counting(interval: str = "10s", step: int = 1) -> Any:
    @sensor(name="counting", interval=interval)
    async def look(ctx: Any) -> Any:
        ctx.cursor = (ctx.cursor or 0) + step
        yield RunRequest("note", run_key=str(ctx.cursor))

    return look


@job
def note() -> None:
    """Nothing."""


@job
def other() -> None:
    """Nothing."""


async def test_a_sensor_keeps_its_cursor_and_looks_by_its_new_text(tmp_path: Path) -> None:
    async with edited(tmp_path, counting(), note) as one:
        await one.advance(20)
        before = one.engine.ticks.sensors["counting"].row.cursor
        assert await load(one, counting(step=100), note) == "changed"
        assert one.engine.ticks.sensors["counting"].row.cursor == before + 100
        assert await load(one, note) == "changed"
        assert one.engine.ticks.sensors == {}
        await one.advance(100)
        assert await load(one, counting(), note) == "changed"
        assert one.engine.ticks.sensors["counting"].row.cursor == before + 101


async def test_definitions_with_a_problem_leave_those_of_before_in_force(tmp_path: Path) -> None:
    async with edited(tmp_path, counting(), note) as one:
        version = one.control.definitions.version
        assert await load(one, note, note, counting()) == "refused"
        status = one.control.status()
        assert status.definitions_version == version
        assert "note" in (status.held_back or "")
        assert one.control.load_report.problems
        ticks = one.engine.ticks.sensors["counting"].row.cursor
        await one.advance(10)
        assert one.engine.ticks.sensors["counting"].row.cursor == ticks + 1
        assert await load(one, note, counting()) == "changed"
        assert one.control.status().held_back is None
        assert not one.control.load_report.problems


async def test_a_schedule_goes_on_and_an_edited_one_begins_anew(tmp_path: Path) -> None:
    @schedule(every="10s", target="note")
    def often() -> None: ...

    @schedule(name="often", every="10s", target="other")
    def elsewhere() -> None: ...

    async with edited(tmp_path, often, note) as one:
        await one.advance(25)
        fired = len(await one.runs("note"))
        assert await load(one, elsewhere, other) == "changed"
        await one.advance(10)
        assert (len(await one.runs("note")), len(await one.runs("other"))) == (fired, 1)
        assert await load(one, other) == "changed"
        await one.advance(100)
        assert len(await one.runs("other")) == 1


batches = DynamicPartitions("batches")


def raw(**options: Any) -> Any:
    @asset(name="raw", partitions=batches, **options)
    def made() -> int:
        return 1

    return made


async def test_assets_keep_their_partitions_and_new_conditions_look_at_them(tmp_path: Path) -> None:
    @asset(partitions=batches, automation=AutomationCondition.eager())
    def clean(raw: int) -> int:
        return raw + 1

    async with edited(tmp_path, raw()) as one:
        await one.control.add_partitions("batches", {"a": {}, "b": {}})
        await one.control.materialize(["raw"], key="a")
        await one.settle()
        assert await load(one, raw(), clean) == "changed"
        assert one.control.asset_counts("raw").materialized == 1
        await one.control.materialize(["raw"], key="b")
        await one.advance(120)
        assert one.control.asset_counts("clean").materialized >= 1
        assert await load(one, raw()) == "changed"
        assert await load(one, raw(), clean) == "changed"
        assert one.control.asset_counts("clean").materialized >= 1


async def test_a_set_that_grows_shows_its_keys_at_once(tmp_path: Path) -> None:
    def over(*keys: str) -> Any:
        @asset(partitions=StaticPartitions(list(keys), name="regions"), automation=AutomationCondition.on_missing())
        def regional() -> int:
            return 1

        return regional

    async with edited(tmp_path, over("east")) as one:
        await one.advance(10)
        assert one.control.asset_counts("regional").materialized == 1
        assert await load(one, over("east", "west")) == "changed"
        await one.advance(10)
        counts = one.control.asset_counts("regional")
        assert (counts.partitions, counts.materialized) == (2, 2)
        assert await load(one, over("west")) == "changed"
        counts = one.control.asset_counts("regional")
        assert (counts.partitions, counts.materialized) == (1, 1)


async def test_deadlines_move_with_the_policy(tmp_path: Path) -> None:
    async with edited(tmp_path, raw()) as one:
        assert await load(one, raw(freshness=Freshness(within="1h"))) == "changed"
        await one.advance(1800)
        assert not await one.events("freshness_lapsed")
        assert await load(one, raw(freshness=Freshness(within="40m"))) == "changed"
        await one.advance(601)
        assert len(await one.events("freshness_lapsed")) == 1
        assert await load(one, raw()) == "changed"
        await one.advance(7200)
        assert len(await one.events("freshness_lapsed")) == 1


def _half_a_minute(step: StepToRun) -> float:
    return 30.0


async def test_a_step_under_way_ends_on_the_version_it_began_with(tmp_path: Path) -> None:
    def told(value: int) -> Any:
        @asset(name="slow", overlap="allow")
        def made(ctx: Any) -> int:
            ctx.metadata(value=value)
            return value

        return made

    async with edited(tmp_path, told(1), duration=_half_a_minute) as one:
        await one.control.materialize(["slow"])
        await one.settle()
        assert await load(one, told(2)) == "changed"
        assert len(one.engine.instruments.in_force.leaving) == 1
        await one.control.materialize(["slow"])
        await one.advance(31)
        assert await one.states("slow") == ["succeeded", "succeeded"]
        data: list[Any] = [event.data for event in await one.events("materialized")]
        values = [one["metadata"]["value"] for one in data]
        assert values == [1, 2]
        await asyncio.sleep(0)
        assert not one.engine.instruments.in_force.hosts[1:]


async def test_a_look_in_flight_of_a_sensor_that_is_gone_commits_nothing(tmp_path: Path) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    @sensor(interval="10s")
    async def slow(ctx: Any) -> Any:
        begun.set()
        await go.wait()
        yield RunRequest("note", run_key="1")

    async with edited(tmp_path, note) as one:
        Edited.folder = [slow, note]
        assert (await one.control.reload()).outcome == "changed"
        await begun.wait()
        Edited.folder = [note]
        assert (await one.control.reload()).outcome == "changed"
        go.set()
        await one.settle()
        await one.advance(0.1)
        assert await one.runs() == []
        assert one.engine.ticks._gone == []  # pyright: ignore[reportPrivateUsage]


async def test_what_is_asked_for_while_a_load_is_under_way_is_one_more(tmp_path: Path) -> None:
    async with edited(tmp_path, note) as one:
        made = Edited.made
        await asyncio.gather(*(one.control.reload() for _ in range(50)))
        assert Edited.made - made in (1, 2)


async def test_what_is_renamed_keeps_what_it_had(tmp_path: Path) -> None:
    def named(name: str, was: str | None = None) -> tuple[object, ...]:
        @sensor(name=name, interval="10s", was=was)
        async def look(ctx: Any) -> None:
            ctx.cursor = (ctx.cursor or 0) + 1

        @schedule(name=f"{name}_clock", every="10s", target="note", was=was and f"{was}_clock")
        def clock() -> None: ...

        @asset(name=f"{name}_raw", partitions=batches, was=was and f"{was}_raw")
        def made() -> int:
            return 1

        return look, clock, made, note

    async with edited(tmp_path, *named("old")) as one:
        await one.control.add_partitions("batches", {"a": {}, "b": {}})
        await one.control.materialize(["old_raw"], key="a")
        await one.advance(15)
        cursor, fired = one.engine.ticks.sensors["old"].row.cursor, len(await one.runs("note"))
        decided = one.engine.timetable.schedules["old_clock"].state
        assert await load(one, *named("new", was="old")) == "changed"
        assert one.engine.ticks.sensors["new"].row.cursor == cursor + 1
        assert one.engine.timetable.schedules["new_clock"].state == decided
        counts = one.control.asset_counts("new_raw")
        assert (counts.partitions, counts.materialized) == (2, 1)
        assert await one.states("new_raw") == ["succeeded"]
        await one.advance(10)
        assert len(await one.runs("note")) == fired + 1
        assert await load(one, *named("new", was="old")) == "changed"
        assert one.control.asset_counts("new_raw").materialized == 1
        assert await load(one, *named("new", was="old"), *named("old")[:1]) == "refused"


async def test_nothing_of_the_definitions_before_is_kept(tmp_path: Path) -> None:
    def all_kinds() -> tuple[object, ...]:
        @asset(name="clean", automation=AutomationCondition.eager(), freshness=Freshness(within="1h"))
        def clean() -> int:
            return 1

        @schedule(name="often", every="10s", target="note")
        def often() -> None: ...

        return counting(), raw(), clean, often, note

    async with edited(tmp_path, *all_kinds()) as one:

        async def objects_after(reloads: int) -> int:
            for _ in range(reloads):
                assert await load(one, *all_kinds()) == "changed"
                await asyncio.sleep(0)
            gc.collect()
            return len(gc.get_objects())

        before = await objects_after(10)
        assert await objects_after(30) - before < 30 * 5
