"""What a function is given of its upstreams, by mapping; what `ctx` says of the partition and of what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from freshet import (
    All,
    ByDimension,
    Dep,
    DynamicPartitions,
    Last,
    MultiPartitions,
    Partition,
    Static,
    StaticPartitions,
    StepContext,
    TimePartitions,
    TimeWindow,
    asset,
)
from freshet.executors.base import StepEnd
from freshet.executors.input_files import MOST_IN_FRAME
from freshet.io import Values, write_value
from freshet.store.records import StepToRun, ValueRef
from freshet.testing import InlineHost

pytestmark = pytest.mark.anyio

DAYS = TimePartitions("daily", start="2026-01-01", timezone="Europe/Berlin")
HOURS = TimePartitions("hourly", start="2026-01-01", timezone="Europe/Berlin")
LOCAL = TimePartitions("weekly", start="2026-01-01")
BATCHES = DynamicPartitions("batches")
COUNTRIES = StaticPartitions(["de", "fr", "us"], name="countries")
REGIONS = StaticPartitions(["europe", "asia"], name="regions")
GRID = MultiPartitions(day=DAYS, country=COUNTRIES)


def described(value: object) -> Any:
    """What arrived: `dict` where it is by key and not read yet."""
    arrived: Any = value
    if isinstance(value, Values):
        return {"dict": dict(arrived)}
    assert type(value) is not dict
    return value


@asset(partitions=DAYS)
def daily() -> None: ...


@asset(partitions=HOURS)
def hourly() -> None: ...


@asset(partitions=BATCHES)
def batch() -> None: ...


@asset(partitions=COUNTRIES)
def country() -> None: ...


@asset(partitions=GRID)
def cell() -> None: ...


@asset
def plain() -> None: ...


@asset(partitions=DAYS)
def same_day(daily: int, plain: int) -> Any:
    return [described(daily), described(plain)]


@asset(partitions=DAYS)
def day_before(daily: Annotated[int, Dep(mapping=TimeWindow(start=-1, end=-1))]) -> Any:
    return described(daily)


@asset(partitions=DAYS, deps=[Dep("daily", mapping=TimeWindow(start=-6))])
def week(daily: Mapping[str, int]) -> Any:
    return described(daily)


@asset(partitions=DAYS)
def day_of_hours(hourly: dict[str, int]) -> Any:
    return described(hourly)


@asset(partitions=HOURS)
def hour_of_day(daily: int) -> Any:
    return described(daily)


@asset(partitions=DAYS)
def latest(batch: Annotated[int, Dep(mapping=Last())], daily: Annotated[dict[str, int], Dep(mapping=All())]) -> Any:
    return [described(batch), described(daily)]


@asset(partitions=REGIONS, deps=[Dep("country", mapping=Static({"de": "europe", "fr": ["europe"]}))])
def region(country: dict[str, int]) -> Any:
    return described(country)


@asset(partitions=REGIONS, deps=[Dep("country", mapping=Static({"de": "europe"}))])
def region_of_germany(country: dict[str, int]) -> int:
    return country["de"]


@asset(partitions=GRID)
def cell_again(cell: int) -> Any:
    return described(cell)


@asset(partitions=GRID)
def cell_of_country(country: int) -> Any:
    return described(country)


@asset(partitions=DAYS)
def day_of_cells(cell: dict[str, int]) -> Any:
    return described(cell)


@asset(partitions=GRID)
def cell_before(cell: Annotated[int, Dep(mapping=ByDimension(day=TimeWindow(-1, -1)))]) -> Any:
    return described(cell)


@asset(partitions=LOCAL)
def where(ctx: StepContext) -> Any:
    return _window(ctx.partition)


@asset(partitions=GRID)
def where_in_grid(ctx: StepContext) -> Any:
    assert ctx.partition.window is None
    return {name: [part.key, _window(part)] for name, part in ctx.partition.parts.items()}


@asset(partitions=BATCHES)
def where_in_batches(ctx: StepContext, batch: int = 0) -> Any:
    assert dict(ctx.partition.parts) == {}
    missing = {name: [*keys, keys.more] for name, keys in ctx.missing_inputs.items()}
    return [ctx.partition.key, ctx.partition.window, dict(ctx.partition.metadata), missing]


ASSETS = [one for one in list(globals().values()) if type(one).__name__ == "Asset"]


def _window(partition: Partition) -> Any:
    window = partition.window
    if window is None:
        return None
    assert window.start.tzinfo is window.end.tzinfo
    return [window.start.isoformat(), window.end.isoformat(), str(window.start.tzinfo)]


class _Ends:
    """The one end that is waited for."""

    def __init__(self) -> None:
        self.end: asyncio.Future[StepEnd] = asyncio.get_running_loop().create_future()

    def step_received(self, run_id: int, position: int, attempt: int, pid: int) -> None: ...

    def step_ended(self, end: StepEnd) -> None:
        self.end.set_result(end)


async def run(folder: Path, name: str, key: str | None = None, **given: Any) -> StepEnd:
    """One step in an inline host. `inputs`: plain values, by upstream and key."""
    inputs = {
        upstream: {key: _keep(folder, upstream, key, value) for key, value in values.items()}
        for upstream, values in given.pop("inputs", {}).items()
    }
    ends: Any = _Ends()
    host = InlineHost(ASSETS, ends, values_dir=folder / "values", timezone="Asia/Tokyo")
    step = StepToRun(
        run_id=1,
        position=0,
        name=name,
        kind="asset",
        attempt=1,
        failures=0,
        set=None,
        partition=0,
        key=key,
        partition_metadata=given.pop("metadata", {}),
        params={},
        tags={},
        inputs=inputs,
        **given,
    )
    host.run(step)
    end: StepEnd = await asyncio.wait_for(ends.end, 30)
    return end


async def value(folder: Path, name: str, key: str | None = None, **given: Any) -> Any:
    end = await run(folder, name, key, **given)
    assert end.value is not None, end
    assert end.value.io == "json"
    return orjson.loads((folder / "values" / end.value.path).read_bytes())


async def said(folder: Path, name: str, key: str | None = None, **given: Any) -> str:
    end = await run(folder, name, key, **given)
    assert end.error is not None
    assert end.error.type in ("MissingInput", "KeyError")
    return end.error.traceback if end.error.type == "KeyError" else end.error.message


def _keep(folder: Path, upstream: str, key: str | None, value: object) -> ValueRef:
    ref = write_value(
        value, values_dir=folder / "values", asset=upstream, partition_key=key, run_id=9, attempt=1, io=None
    )
    return ValueRef(ref.path, ref.io, ref.size, ref.digest)


DAY, NEXT = "2026-03-28", "2026-03-29"
CELL = f"day={DAY}|country=de"

ONE: dict[str, tuple[str | None, str, str | None]] = {
    "same_day": (DAY, "daily", DAY),
    "day_before": (NEXT, "daily", DAY),
    "hour_of_day": (f"{DAY}T07:00+01:00", "daily", DAY),
    "cell_again": (CELL, "cell", CELL),
    "cell_before": (f"day={NEXT}|country=de", "cell", CELL),
}


@pytest.mark.parametrize("name", ONE)
async def test_where_a_mapping_gives_one_partition_its_value_is_given(tmp_path: Path, name: str) -> None:
    key, upstream, above = ONE[name]
    inputs: dict[str, Any] = {upstream: {above: 7}, "plain": {None: 8}}
    assert await value(tmp_path, name, key, inputs=inputs) == ([7, 8] if name == "same_day" else 7)
    lacking = await said(tmp_path, name, key, inputs={"plain": {None: 8}}, missing={upstream: (above,)})
    assert lacking.startswith(f"asset {name!r} needs {upstream!r} in partition {above!r}, which has no value")
    nothing = await said(tmp_path, name, key, inputs={"plain": {None: 8}}, missing={upstream: ()})
    assert repr(key) in nothing


async def test_a_window_before_the_first_is_told_as_that(tmp_path: Path) -> None:
    text = await said(tmp_path, "day_before", "2026-01-01")
    assert text.startswith(
        "asset 'day_before' needs 'daily': no partition of 'daily' goes with '2026-01-01' by the mapping TimeWindow()"
    )


async def test_the_last_partition(tmp_path: Path) -> None:
    inputs: dict[str, Any] = {"batch": {"b": 1}, "daily": {DAY: 2, NEXT: 3}}
    assert await value(tmp_path, "latest", DAY, inputs=inputs) == [1, {"dict": {DAY: 2, NEXT: 3}}]
    text = await said(tmp_path, "latest", DAY, missing={"batch": ("b",)})
    assert "needs the last partition of 'batch', 'b', which has no value" in text
    assert "needs 'batch': 'batch' has no partitions yet" in await said(tmp_path, "latest", DAY, missing={"batch": ()})


async def test_the_one_value_of_an_asset_without_partitions(tmp_path: Path) -> None:
    text = await said(tmp_path, "same_day", DAY, inputs={"daily": {DAY: 1}}, missing={"plain": (None,)})
    assert text.startswith("asset 'same_day' needs 'plain', which has no value")


SEVERAL: dict[str, tuple[str, str, list[str]]] = {
    "week": (NEXT, "daily", [DAY, NEXT]),
    "day_of_hours": (NEXT, "hourly", ["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00"]),
    "region": ("europe", "country", ["de", "fr"]),
    "day_of_cells": (DAY, "cell", [CELL, f"day={DAY}|country=fr"]),
}


@pytest.mark.parametrize("name", SEVERAL)
async def test_where_a_mapping_gives_several_they_come_by_key_in_order(tmp_path: Path, name: str) -> None:
    key, upstream, above = SEVERAL[name]
    values = {one: number for number, one in enumerate(above)}
    assert await value(tmp_path, name, key, inputs={upstream: values}) == {"dict": values}
    one = {above[0]: 5}
    assert await value(tmp_path, name, key, inputs={upstream: one}, missing={upstream: (above[1],)}) == {"dict": one}
    assert await value(tmp_path, name, key, missing={upstream: tuple(above)}) == {"dict": {}}


async def test_a_dimension_may_give_one(tmp_path: Path) -> None:
    found = await value(tmp_path, "cell_of_country", CELL, inputs={"country": {"de": 4}})
    assert found == 4


async def test_many_inputs_are_the_same_to_an_inline_host(tmp_path: Path) -> None:
    inputs = {"batch": {"x": 1}, "daily": {f"k{number}": number for number in range(MOST_IN_FRAME)}}
    made = await value(tmp_path, "latest", DAY, inputs=inputs)
    assert made == [1, {"dict": inputs["daily"]}]
    assert not list((tmp_path / "runs" / "1").glob("inputs*"))


async def test_a_key_that_is_not_there_is_told_with_its_reason(tmp_path: Path) -> None:
    assert await value(tmp_path, "region_of_germany", "europe", inputs={"country": {"de": 3}}) == 3
    text = await said(tmp_path, "region_of_germany", "asia")
    assert "Static() names no partition of 'country' for 'asia', which therefore depends on none" in text
    text = await said(tmp_path, "region_of_germany", "europe", missing={"country": ("de",)})
    assert "ctx.missing_inputs names those without" in text
    text = await said(tmp_path, "region_of_germany", "europe", inputs={"country": {"fr": 3}})
    assert "the partitions of 'country' that the mapping Static() gives" in text


async def test_the_window_of_a_partition(tmp_path: Path) -> None:
    assert await value(tmp_path, "where", "2026-03-30") == [
        "2026-03-30T00:00:00+09:00",
        "2026-04-06T00:00:00+09:00",
        "Asia/Tokyo",
    ], "of a set that names no zone: in the configuration's"
    assert await value(tmp_path, "where_in_grid", f"day={NEXT}|country=de") == {
        "day": [NEXT, ["2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", "Europe/Berlin"]],
        "country": ["de", None],
    }


async def test_what_else_is_told_of_a_partition(tmp_path: Path) -> None:
    told = await value(tmp_path, "where_in_batches", "b", metadata={"path": "x"}, missing={"batch": ("b",)})
    assert told == ["b", None, {"path": "x"}, {"batch": ["b", 0]}]


def test_a_partition_can_be_made_by_hand_for_a_test() -> None:
    day = Partition(NEXT, set=DAYS)
    assert day.window is not None
    assert day.window.start == datetime(2026, 3, 29, tzinfo=ZoneInfo("Europe/Berlin"))
    assert (day.window.end - day.window.start).days == 1, "as the clock on the wall counts"
    assert day.window.end.timestamp() - day.window.start.timestamp() == 23 * 3600
    assert Partition("a", {"path": "x"}) == Partition("a", {"path": "x"})
    assert repr(day) == f"Partition(key={NEXT!r}, metadata=mappingproxy({{}}))"
