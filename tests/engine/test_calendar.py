"""Partition sets that grow by the clock, in virtual time."""

from __future__ import annotations

import shutil
import zoneinfo
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.engine.rig import Rig, rig

from freshet import (
    AutomationCondition,
    DynamicPartitions,
    MultiPartitions,
    Schedule,
    StaticPartitions,
    TimePartitions,
    asset,
    job,
)
from freshet.definitions.windows import forget_rules
from freshet.engine.clock import SimulatedClock
from freshet.store.schedules import schedule_ticks

pytestmark = pytest.mark.anyio

BERLIN = ZoneInfo("Europe/Berlin")
LATE = 0.1
"""Seconds that a window may be late."""


def at(*when: int, zone: Any = UTC) -> float:
    return datetime(*when, tzinfo=zone).timestamp()  # type: ignore[misc, arg-type]


async def _nothing() -> None:
    return None


async def opened(one: Rig, name: str) -> list[tuple[float, Sequence[int]]]:
    """When which numbers were opened, beyond those that the definitions brought with them."""
    found = [(event.at, event.numbers) for event in await one.events("partition_added") if event.set == name]
    return found[1:]


@pytest.mark.parametrize("day", [(2026, 3, 28), (2026, 10, 24), (2026, 6, 1)], ids=["spring", "autumn", "summer"])
@pytest.mark.parametrize("cadence", ["daily", "hourly"])
async def test_a_window_opens_when_it_has_closed_and_never_early(tmp_path: Path, day: Any, cadence: Any) -> None:
    begin = at(*day, zone=BERLIN)
    windows = TimePartitions(cadence, start="2026-01-01", timezone="Europe/Berlin")

    @asset(partitions=windows)
    def one_of_many() -> int:
        return 1

    async with rig(tmp_path, [one_of_many], clock=SimulatedClock(start=begin + 1)) as one:
        await one.advance(3 * 86400)
        closed = [number for number in windows.live(begin + 3 * 86400 + 1) if number not in windows.live(begin + 1)]
        came = await opened(one, windows.name)
        assert [number for _, numbers in came for number in numbers] == closed
        for when, numbers in came:
            assert 0 <= when - windows.windows.edge(numbers[-1] + 1) < LATE
            assert len(numbers) == 1


@pytest.mark.parametrize("condition", ["on_missing", "eager"])
async def test_a_daily_asset_runs_just_after_midnight_of_its_zone(tmp_path: Path, condition: str) -> None:
    """Also on the day of 23 hours: the midnights lie 24, 23 and 24 hours apart."""
    days = TimePartitions("daily", start="2026-03-27", timezone="Europe/Berlin")

    @asset(partitions=days, automation=getattr(AutomationCondition, condition)())
    def daily(ctx: Any) -> str:
        return str(ctx.partition.key)

    async with rig(tmp_path, [daily], clock=SimulatedClock(start=at(2026, 3, 28, 12, zone=BERLIN))) as one:
        before = {run.key for run in await one.runs()}
        await one.advance(3 * 86400)
        later = [run for run in await one.runs() if run.key not in before]
        assert [run.key for run in later] == ["2026-03-28", "2026-03-29", "2026-03-30"]
        for run in later:
            midnight = datetime.fromisoformat(run.key or "").replace(tzinfo=BERLIN) + timedelta(days=1)
            assert 0 <= run.created_at - midnight.timestamp() < LATE
            assert run.state == "succeeded"


async def test_what_closed_while_the_daemon_was_down_opens_in_one_transaction(tmp_path: Path) -> None:
    days = TimePartitions("daily", start="2026-01-01", timezone="UTC")

    @asset(partitions=days)
    def daily() -> int:
        return 1

    clock = SimulatedClock(start=at(2026, 3, 1, 12))
    async with rig(tmp_path, [daily], clock=clock) as one:
        assert len(one.engine.instruments.in_force.partitions.live("daily")) == 59
    await clock.advance(10 * 86400, _nothing)
    async with rig(tmp_path, [daily], clock=clock) as one:
        assert len(one.engine.instruments.in_force.partitions.live("daily")) == 69
    async with rig(tmp_path, [daily], clock=clock) as one:
        numbers = [number for _, found in await opened(one, days.name) for number in found]
        assert len(numbers) == len(set(numbers)), "nothing is opened twice"


async def test_a_step_forward_opens_all_at_once_and_one_back_nothing_again(tmp_path: Path) -> None:
    hours = TimePartitions("hourly", start="2026-03-01", timezone="UTC")
    days = TimePartitions("daily", start="2026-01-01", timezone="UTC")

    @asset(partitions=hours)
    def hourly() -> int:
        return 1

    @asset(partitions=days)
    def daily() -> int:
        return 1

    clock = SimulatedClock(start=at(2026, 3, 1, 12, 30))
    async with rig(tmp_path, [hourly, daily], clock=clock) as one:
        clock.step_wall(3 * 86400)
        await one.settle()
        came = [event for event in await one.events("partition_added") if event.at > at(2026, 3, 2)]
        assert sorted(len(event.numbers) for event in came) == [3, 72]
        assert len({event.txn for event in came}) == 1
        clock.step_wall(-2 * 86400)
        await one.advance(86400)
        assert [event for event in await one.events("partition_added") if event.seq > came[-1].seq] == []
        await one.advance(86400 + 1861)
        later = [event for event in await one.events("partition_added") if event.seq > came[-1].seq]
        assert [event.set for event in later] == [hours.name], "what comes after the last that was open"


async def test_an_idle_calendar_does_nothing(tmp_path: Path) -> None:
    """A turn of the heap a window, and those with which it looks at the wall clock."""
    days = TimePartitions("daily", start="2026-01-01", timezone="UTC")

    @asset(partitions=days)
    def daily() -> int:
        return 1

    async with rig(tmp_path, [daily], clock=SimulatedClock(start=at(2026, 3, 1, 0, 30))) as one:
        events = len(await one.events())
        await one.advance(23 * 3600)
        assert len(await one.events()) == events
        assert one.engine.instruments.heap.due_at(("calendar", days.name)) == at(2026, 3, 2)


# --- several dimensions -----------------------------------------------------------------------------------------------


def _several() -> MultiPartitions:
    shops = DynamicPartitions("shops")
    days = TimePartitions("daily", start="2026-03-01", timezone="UTC")
    return MultiPartitions(day=days, region=StaticPartitions(["eu", "us"]), shop=shops)


async def test_a_set_with_a_condition_is_numbered_in_full_as_its_dimensions_grow(tmp_path: Path) -> None:
    several = _several()

    @asset(partitions=several, automation=AutomationCondition.on_missing())
    def cube() -> int:
        return 1

    clock = SimulatedClock(start=at(2026, 3, 3, 12))
    async with rig(tmp_path, [cube], clock=clock, workers=20) as one:
        combinations = one.engine.instruments.in_force.partitions.sets.named
        assert len(combinations(several.name)) == 0
        await one.control.add_partitions("shops", {"a": {}, "b": {}})
        await one.settle()
        assert len(combinations(several.name)) == 2 * 2 * 2
        await one.advance(86400)
        assert len(combinations(several.name)) == 3 * 2 * 2
        await one.control.add_partitions("shops", {"c": {}})
        await one.settle()
        assert len(combinations(several.name)) == 3 * 2 * 3
        assert set(await one.states()) == {"succeeded"}
        assert len({run.key for run in await one.runs()}) == 18
    await clock.advance(86400, _nothing)
    async with rig(tmp_path, [cube], clock=clock, workers=20) as one:
        assert len(one.engine.instruments.in_force.partitions.sets.named(several.name)) == 4 * 2 * 3


async def test_a_set_that_nothing_asks_about_is_not_numbered(tmp_path: Path) -> None:
    several = _several()

    @asset(partitions=several)
    def cube() -> int:
        return 1

    @asset(partitions=several)
    def below(cube: int) -> int:
        return cube

    async with rig(tmp_path, [cube, below], clock=SimulatedClock(start=at(2026, 3, 3, 12))) as one:
        await one.control.add_partitions("shops", {"a": {}})
        await one.settle()
        assert len(one.engine.instruments.in_force.partitions.sets.named(several.name)) == 0


async def test_beyond_the_limit_only_what_is_used_is_numbered_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = MultiPartitions(
        hour=TimePartitions("hourly", start="2020-01-01", timezone="UTC"), region=StaticPartitions(["eu", "us", "jp"])
    )

    @asset(partitions=several)
    def cube() -> int:
        return 1

    @asset
    def total(cube: dict[str, int]) -> int:
        return sum(cube.values())

    async with rig(tmp_path, [cube, total], clock=SimulatedClock(start=at(2026, 3, 3, 12))) as one:
        assert len(one.engine.instruments.in_force.partitions.sets.named(several.name)) == 0
        report = one.control.load_report
        assert len(report.warnings) == 1 and "more than 100000" in report.warnings[0].message
        assert report.warnings[0].file == __file__
        await one.advance(7200)
    assert capsys.readouterr().out.count("too many combinations") == 1


async def test_a_transaction_numbers_a_few_hundred_at_most(tmp_path: Path) -> None:
    several = MultiPartitions(
        one=StaticPartitions([f"k{number}" for number in range(40)]),
        two=StaticPartitions([f"k{number}" for number in range(60)], name="two"),
    )

    @asset(partitions=several)
    def grid() -> int:
        return 1

    @asset
    def total(grid: dict[str, int]) -> int:
        return sum(grid.values())

    async with rig(tmp_path, [grid, total], clock=SimulatedClock(start=at(2026, 3, 3, 12))) as one:
        assert len(one.engine.instruments.in_force.partitions.sets.named(several.name)) == 2400
        sizes: dict[int, int] = {}
        for event in await one.events("partition_added"):
            if event.set == several.name:
                sizes[event.txn] = sizes.get(event.txn, 0) + len(event.numbers)
        assert sum(sizes.values()) == 2400 and max(sizes.values()) <= 500


# --- the rules of zones -----------------------------------------------------------------------------------------------


@pytest.fixture
def zone_files(tmp_path: Path) -> Iterator[Path]:
    """A folder of zone files of our own, in which a rule may change."""
    folder = tmp_path / "zoneinfo"
    source = next(Path(one) for one in zoneinfo.TZPATH if (Path(one) / "Europe/Berlin").exists())
    for name in ("Europe/Berlin", "Europe/Lisbon", "Europe/Moscow", "UTC"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, folder / name)
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(folder)])
    forget_rules()
    yield folder
    zoneinfo.reset_tzpath(before)
    forget_rules()


@pytest.mark.parametrize(("like", "shift"), [("Europe/Lisbon", 3600), ("Europe/Moscow", -7200)], ids=["west", "east"])
async def test_a_change_of_the_rules_is_noticed_within_the_hour(
    tmp_path: Path, zone_files: Path, like: str, shift: int
) -> None:
    """Berlin (UTC+1 in winter) gets the clock of another city; nothing of that day fires again."""
    days = TimePartitions("daily", start="2026-01-01", timezone="Europe/Berlin")

    @asset(partitions=days)
    def daily() -> int:
        return 1

    @job
    def note() -> None:
        return None

    things = [daily, note, Schedule("morning", cron="0 6 * * *", timezone="Europe/Berlin", target=note)]
    start = at(2026, 1, 15, 0)
    async with rig(tmp_path, things, clock=SimulatedClock(start=start)) as one:
        await one.advance(5.2 * 3600)
        assert [run.created_at for run in await one.runs()] == [at(2026, 1, 15, 5)]
        shutil.copy(zone_files / like, zone_files / "Europe/Berlin")
        await one.advance(3600)
        await one.advance(3 * 86400)
        fired = [run.created_at for run in await one.runs()]
        assert fired == [at(2026, 1, 15, 5), *(at(2026, 1, day, 5) + shift for day in (16, 17, 18))]
        came = [when for when, _ in await opened(one, days.name)]
        assert came == [at(2026, 1, day, 23) + shift for day in (15, 16, 17)]
        rows = await one.store.read(partial(schedule_ticks, name="morning", limit=10))
        assert [row.status for row in rows] == ["fired"] * 4


async def test_rules_that_stay_change_nothing(tmp_path: Path, zone_files: Path) -> None:
    @job
    def note() -> None:
        return None

    things = [note, Schedule("s", cron="0 6 * * *", timezone="Europe/Berlin", target=note)]
    async with rig(tmp_path, things, clock=SimulatedClock(start=at(2026, 1, 15))) as one:
        await one.advance(3 * 86400)
        assert len(await one.runs()) == 3
