"""Runs over every kind of partition, and what their steps are given through every mapping: a whole engine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
from structlog.testing import capture_logs
from tests.engine.rig import Rig, rig

from freshet import (
    AddPartitions,
    All,
    ByDimension,
    Dep,
    DynamicPartitions,
    Last,
    MultiPartitions,
    Report,
    RunRequest,
    Static,
    StaticPartitions,
    TimePartitions,
    TimeWindow,
    asset,
    schedule,
    sensor,
)
from freshet.engine.automation import AssetCounts
from freshet.engine.clock import SimulatedClock
from freshet.errors import FreshetError, PartitionKeyError, UnknownName

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 30, 12, tzinfo=UTC).timestamp()
HOURS = TimePartitions("hourly", start="2026-03-28", timezone="UTC")
DAYS = TimePartitions("daily", start="2026-03-28", timezone="UTC")
ZONES = Static({"eu": "west", "us": ["west", "pacific"]})
REGIONS = StaticPartitions(["eu", "us", "as"], name="regions")


def at_noon(moment: float = NOON) -> SimulatedClock:
    return SimulatedClock(moment)


async def make(one: Rig, name: str, *keys: str | None) -> list[str]:
    """Materialize partitions one after the other; returns how the runs ended."""
    states: list[str] = []
    for key in keys:
        (run_id,) = await one.control.materialize([name], key=key)
        await one.settle()
        run = next(run for run in await one.runs() if run.id == run_id)
        states.append(run.state)
    return states


async def why(one: Rig, name: str) -> str:
    """The error of the last run's step."""
    error: Any = (await one.runs(name))[-1].steps[-1].error
    return str(error["message"])


async def test_a_day_is_made_from_its_hours_by_key(tmp_path: Path) -> None:
    seen: list[Any] = []

    @asset(partitions=HOURS)
    def counts(ctx: Any) -> int:
        return int(ctx.partition.key[11:13])

    @asset(partitions=DAYS)
    def total(ctx: Any, counts: dict[str, int]) -> int:
        seen.append((dict(counts), ctx.missing_inputs["counts"]))
        return sum(counts.values())

    @asset(partitions=HOURS)
    def share(total: int) -> int:
        return total

    hours = [f"2026-03-29T{hour:02}:00+00:00" for hour in range(24)]
    async with rig(tmp_path, [counts, total, share], clock=at_noon()) as one:
        await make(one, "counts", hours[3], hours[1], "2026-03-28T07:00+00:00", hours[22])
        assert await make(one, "total", "2026-03-29") == ["succeeded"]
        values, missing = seen.pop()
        assert list(values.items()) == [(hours[1], 1), (hours[3], 3), (hours[22], 22)]
        assert missing == tuple(hour for hour in hours if hour not in values)
        assert await make(one, "share", hours[5]) == ["succeeded"]
        assert await make(one, "share", "2026-03-28T00:00+00:00") == ["failed"]
        assert "2026-03-28" in await why(one, "share")


async def test_a_week_before_looks_back_no_further_than_the_start(tmp_path: Path) -> None:
    seen: list[Any] = []

    @asset(partitions=DAYS)
    def raw(ctx: Any) -> str:
        return str(ctx.partition.key)

    @asset(partitions=DAYS)
    def week(ctx: Any, raw: Annotated[dict[str, str], Dep(mapping=TimeWindow(start=-6))]) -> int:
        seen.append((list(raw), ctx.missing_inputs["raw"]))
        return len(raw)

    async with rig(tmp_path, [raw, week], clock=at_noon()) as one:
        await make(one, "raw", "2026-03-29")
        await make(one, "week", "2026-03-29")
        assert seen == [(["2026-03-29"], ("2026-03-28",))]


async def test_what_is_asked_for_too_early_is_told_when_it_closes(tmp_path: Path) -> None:
    @asset(partitions=DAYS)
    def raw() -> None: ...

    @asset(partitions=MultiPartitions(day=DAYS, region=REGIONS))
    def sales() -> None: ...

    async with rig(tmp_path, [raw, sales], clock=at_noon()) as one:
        with pytest.raises(
            PartitionKeyError, match=r"not closed yet: it is from 2026-03-31T00:00\+00:00 on.*end_offset=1"
        ):
            await one.control.materialize(["raw"], key="2026-03-30")
        with pytest.raises(PartitionKeyError, match=r"before the start of 'daily.UTC' \(the first is '2026-03-28'\)"):
            await one.control.materialize(["raw"], key="2026-03-27")
        with pytest.raises(PartitionKeyError, match=r"the dimension 'day' of .* is not closed yet"):
            await one.control.materialize(["sales"], key="region=eu|day=2026-03-30")
        with pytest.raises(PartitionKeyError, match="did you mean 'eu'"):
            await one.control.materialize(["sales"], key="day=2026-03-29|region=e")
        await one.advance(12 * 3600)
        assert await make(one, "raw", "2026-03-30") == ["succeeded"]
        assert await make(one, "sales", "region=eu|day=2026-03-30") == ["succeeded"]
        assert [run.key for run in await one.runs("sales")] == ["day=2026-03-30|region=eu"], "in the order declared"


async def test_combinations_by_hand_and_by_a_sensor_and_their_downstream(tmp_path: Path) -> None:
    cube = MultiPartitions(day=DAYS, region=REGIONS, name="cube")
    seen: dict[str, Any] = {}

    @asset(partitions=cube)
    def sales(ctx: Any) -> str:
        return str(ctx.partition.key)

    @asset(partitions=cube)
    def clean(sales: str) -> str:
        return sales.upper()

    @asset(partitions=REGIONS)
    def by_region(ctx: Any, clean: dict[str, str]) -> int:
        seen[ctx.partition.key] = (dict(clean), ctx.missing_inputs["clean"])
        return len(clean)

    @asset(partitions=DAYS)
    def by_day(ctx: Any, clean: Annotated[dict[str, str], Dep(mapping=ByDimension())]) -> int:
        seen[ctx.partition.key] = (dict(clean), ctx.missing_inputs["clean"])
        return len(clean)

    @sensor(interval="1h", target=sales)
    async def arrivals(ctx: Any) -> Any:
        yield RunRequest(partition="region=us|day=2026-03-28", run_key="once")
        yield Report("clean", partition="day=2026-03-28|region=as")

    async with rig(tmp_path, [sales, clean, by_region, by_day, arrivals], clock=at_noon()) as one:
        await make(one, "sales", "day=2026-03-28|region=eu", "day=2026-03-29|region=eu")
        await make(one, "clean", *(f"day=2026-03-{day}|region=eu" for day in (29, 28)), "day=2026-03-28|region=us")
        assert await make(one, "by_region", "eu", "us", "as") == ["succeeded"] * 3
        assert seen["eu"] == (
            {
                "day=2026-03-28|region=eu": "DAY=2026-03-28|REGION=EU",
                "day=2026-03-29|region=eu": "DAY=2026-03-29|REGION=EU",
            },
            (),
        )
        assert seen["us"] == ({"day=2026-03-28|region=us": "DAY=2026-03-28|REGION=US"}, ("day=2026-03-29|region=us",))
        assert seen["as"] == ({}, ("day=2026-03-28|region=as", "day=2026-03-29|region=as")), "reported, without a value"
        await make(one, "by_day", "2026-03-29")
        assert list(seen["2026-03-29"][0]) == ["day=2026-03-29|region=eu"]
        assert set(seen["2026-03-29"][1]) == {"day=2026-03-29|region=us", "day=2026-03-29|region=as"}
        assert await make(one, "clean", "day=2026-03-29|region=as") == ["failed"], "its upstream was never made"


async def test_of_many_that_are_missing_a_thousand_are_named(tmp_path: Path) -> None:
    long = TimePartitions("daily", start="2000-01-01", timezone="UTC", name="long")
    seen: list[Any] = []

    @asset(partitions=MultiPartitions(day=long, region=REGIONS))
    def sales() -> int:
        return 1

    @asset(partitions=REGIONS)
    def by_region(ctx: Any, sales: dict[str, int]) -> int:
        seen.append((list(sales), ctx.missing_inputs["sales"]))
        return len(sales)

    async with rig(tmp_path, [sales, by_region], clock=at_noon()) as one:
        days = len(long.live(NOON))
        await make(one, "sales", "day=2000-01-02|region=eu")
        await make(one, "by_region", "eu")
        (values, missing) = seen[0]
        assert values == ["day=2000-01-02|region=eu"]
        assert missing[:2] == ("day=2000-01-01|region=eu", "day=2000-01-03|region=eu")
        assert len(missing) == 1_001
        assert missing[-1] == f"... and {days - 1 - 1000:,} more"


async def test_the_last_of_a_list_is_the_last_that_is_written(tmp_path: Path) -> None:
    @asset(partitions=REGIONS)
    def rates(ctx: Any) -> str:
        return str(ctx.partition.key)

    @asset
    def newest(rates: Annotated[str, Dep(mapping=Last())]) -> str:
        return rates

    @asset(partitions=DAYS)
    def days(ctx: Any) -> str:
        return str(ctx.partition.key)

    @asset
    def yesterday(days: Annotated[str, Dep(mapping=Last())]) -> str:
        return days

    @asset
    def every(rates: Annotated[dict[str, str], Dep(mapping=All())]) -> list[str]:
        return list(rates)

    things = [rates, newest, days, yesterday, every]
    async with rig(tmp_path, things, clock=at_noon()) as one:
        await make(one, "rates", "eu", "us")
        assert await make(one, "newest", None) == ["failed"]
        await make(one, "rates", "as")
        await make(one, "days", "2026-03-28", "2026-03-29")
        assert await make(one, "newest", None) + await make(one, "yesterday", None) == ["succeeded"] * 2
        assert read(tmp_path, "newest") == "as"
        assert read(tmp_path, "yesterday") == "2026-03-29"
    edited = StaticPartitions(["as", "us", "eu"], name="regions")

    @asset(name="rates", partitions=edited)
    def again(ctx: Any) -> str:
        return str(ctx.partition.key)

    async with rig(tmp_path, [again, newest, days, yesterday, every], clock=at_noon(NOON + 86_400)) as one:
        assert await make(one, "newest", None) == ["succeeded"]
        assert read(tmp_path, "newest") == "eu"
        assert await make(one, "every", None) == ["succeeded"]
        assert read(tmp_path, "every") == '["as","us","eu"]', "in the order of the list"
        assert await make(one, "yesterday", None) == ["failed"], "a day has closed, and was not made"


def read(folder: Path, asset: str) -> str:
    """The value made last."""
    newest = max(folder.glob(f"values/{asset}/**/*.*"), key=lambda path: int(path.stem.split("-")[0]))
    return newest.read_text()


async def test_a_list_maps_to_another_by_name(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    @asset(partitions=REGIONS)
    def rates(ctx: Any) -> str:
        return str(ctx.partition.key)

    @asset(partitions=StaticPartitions(["west", "pacific", "south"], name="zones"))
    def zone(ctx: Any, rates: Annotated[dict[str, str], Dep(mapping=ZONES)]) -> None:
        seen[ctx.partition.key] = (dict(rates), ctx.missing_inputs["rates"])

    async with rig(tmp_path, [rates, zone], clock=at_noon()) as one:
        await make(one, "rates", "eu", "as")
        await make(one, "zone", "west", "pacific", "south")
        assert seen == {"west": ({"eu": "eu"}, ("us",)), "pacific": ({}, ("us",)), "south": ({}, ())}
        with pytest.raises(UnknownName, match="did you mean 'west'"):
            await one.control.materialize(["zone"], key="wset")


async def test_a_dynamic_dimension_takes_its_combinations_along(tmp_path: Path) -> None:
    shops = DynamicPartitions("shops")
    looks: list[int] = []

    @asset(partitions=MultiPartitions(shop=shops, region=REGIONS))
    def stock(ctx: Any) -> str:
        return str(ctx.partition.key)

    @asset(partitions=REGIONS)
    def total(ctx: Any, stock: dict[str, str]) -> int:
        looks.append(len(stock))
        return len(stock)

    @sensor(interval="1h", target=stock)
    async def opened(ctx: Any) -> Any:
        if ctx.cursor is None:
            ctx.cursor = 1
            yield AddPartitions(shops, ["a|b", "c"])
            yield RunRequest(partition="shop=a%7Cb|region=eu")

    async with rig(tmp_path, [stock, total, opened], clock=at_noon()) as one:
        await make(one, "stock", "shop=c|region=eu")
        with pytest.raises(UnknownName, match=r"the dimension 'shop'.*'d'"):
            await one.control.materialize(["stock"], key="shop=d|region=eu")
        await make(one, "total", "eu")
        await one.control.delete_partitions("shops", ["a|b"])
        await make(one, "total", "eu")
        await one.control.add_partitions("shops", {"a|b": {}})
        await make(one, "total", "eu")
        assert looks == [2, 1, 1]
        assert await make(one, "stock", "region=eu|shop=a%7Cb") == ["succeeded"]
        await make(one, "total", "eu")
        assert looks[-1] == 2


async def test_a_schedule_runs_each_listed_key_of_the_window_that_closed(tmp_path: Path) -> None:
    @asset(partitions=MultiPartitions(day=DAYS, region=REGIONS))
    def sales() -> None: ...

    @schedule(cron="0 0 * * *", timezone="UTC", target="sales")
    def nightly() -> None: ...

    async with rig(tmp_path, [sales, nightly], clock=at_noon()) as one:
        await one.advance(13 * 3600)
        made = [f"day=2026-03-30|region={region}" for region in REGIONS.keys]
        assert [(run.key, run.state) for run in await one.runs("sales")] == [(key, "succeeded") for key in made]


async def test_a_cadence_that_changes_under_a_name_begins_anew_and_says_so(tmp_path: Path) -> None:
    def counted(cadence: str) -> Any:
        @asset(partitions=TimePartitions(cadence, start="2026-03-29", timezone="UTC", name="steps"))
        def counts() -> int:
            return 1

        return counts

    async with rig(tmp_path, [counted("daily")], clock=at_noon()) as one:
        await make(one, "counts", "2026-03-29")
        assert one.control.asset_counts("counts") == AssetCounts(1, 1, 0, 0)
    with capture_logs() as logs:
        async with rig(tmp_path, [counted("hourly")], clock=at_noon(NOON + 3600)) as one:
            assert one.control.asset_counts("counts") == AssetCounts(24 + 13, 0, 0, 0)
            assert await make(one, "counts", "2026-03-29T00:00+00:00") == ["succeeded"]
    said = [line for line in logs if line["log_level"] == "warning"]
    assert [(line["set"], line["kept_as"]) for line in said] == [("steps", "steps@1")]
    with capture_logs() as logs:
        async with rig(tmp_path, [counted("hourly")], clock=at_noon(NOON + 7200)) as one:
            assert one.control.asset_counts("counts") == AssetCounts(24 + 14, 1, 0, 0)
    assert [line for line in logs if line["log_level"] == "warning"] == []


@pytest.mark.parametrize("key", ["../x", "a\x00b", "x" * 10_000, "", "\ud800"])
async def test_no_door_takes_what_can_be_no_key(tmp_path: Path, key: str) -> None:
    shops = DynamicPartitions("shops")

    @asset(partitions=shops)
    def plain() -> None: ...

    @asset(partitions=MultiPartitions(shop=shops, region=REGIONS))
    def several() -> None: ...

    @sensor(interval="1h")
    async def hostile(ctx: Any) -> Any:
        yield Report("plain", partition=key)

    async with rig(tmp_path, [plain, several, hostile], clock=at_noon()) as one:
        for name, text in (("plain", key), ("several", f"shop={key}|region=eu"), ("several", key)):
            with pytest.raises(FreshetError):
                await one.control.materialize([name], key=text)
        with pytest.raises(PartitionKeyError):
            await one.control.add_partitions("shops", {key: {}})
        assert await one.runs() == []
        assert [one.status for one in one.control.sensors()] == ["failing"]
