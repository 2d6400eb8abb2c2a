"""Backfills over windows of time and over several dimensions, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyroaring import BitMap
from tests.engine.rig import Rig, rig

from freshet import All, Dep, MultiPartitions, StaticPartitions, TimePartitions, asset
from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.graph import Definitions
from freshet.engine.backfill.active import BackfillView
from freshet.engine.backfill.boxes import OpenBox, held_by
from freshet.engine.backfill.select import BackfillRequest
from freshet.engine.clock import SimulatedClock
from freshet.engine.partitions.graph import PartitionGraph
from freshet.engine.partitions.sets import Sets
from freshet.errors import Conflict, FreshetError, PartitionKeyError, UnknownName
from freshet.store.queries import partition_rows

pytestmark = pytest.mark.anyio

NOW = 1_774_000_000.0  # 2026-03-20T09:46:40Z
DAYS = TimePartitions("daily", start="2026-03-01", timezone="UTC", name="days")
HOURS = TimePartitions("hourly", start="2026-03-01", timezone="UTC", name="hours")
REGIONS = StaticPartitions(["eu", "us", "asia"], name="regions")
GRID = MultiPartitions(day=DAYS, region=REGIONS, name="grid")
WIDE = MultiPartitions(hour=HOURS, shop=StaticPartitions([f"s{n}" for n in range(30)], name="shops"), name="wide")


class Plant:
    """hourly -> daily by windows; cells over day and region, a day's summary below; and a wide set of thousands."""

    def __init__(self) -> None:
        self.seen = Counter[tuple[str, str]]()

        def noted(ctx: Any, name: str) -> int:
            self.seen[name, ctx.partition.key] += 1
            return 1

        @asset(partitions=HOURS)
        def hourly(ctx: Any) -> int:
            return noted(ctx, "hourly")

        @asset(partitions=DAYS, deps=[hourly])
        def daily(ctx: Any) -> int:
            return noted(ctx, "daily")

        @asset(partitions=GRID)
        def cells(ctx: Any) -> int:
            return noted(ctx, "cells")

        @asset(partitions=DAYS, deps=[cells])
        def summary(ctx: Any) -> int:
            return noted(ctx, "summary")

        @asset(partitions=WIDE)
        def wide(ctx: Any) -> int:
            return noted(ctx, "wide")

        @asset(partitions=WIDE, deps=[wide])
        def wider(ctx: Any) -> int:
            return noted(ctx, "wider")

        self.objects: list[object] = [hourly, daily, cells, summary, wide, wider]

    def keys(self, name: str) -> list[str]:
        assert set(self.seen.values()) <= {1}, "made once"
        return sorted(key for asset_, key in self.seen if asset_ == name)


def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


async def begun(one: Rig, *assets: str, **options: Any) -> BackfillView:
    chosen: dict[str, Any] = {"select": "partitions" if "partitions" in options else "all", **options}
    return await one.control.begin_backfill(BackfillRequest(assets, **chosen))


def wanted(view: BackfillView) -> dict[str, int]:
    return {row.asset: row.wanted for row in view.assets}


async def test_windows_by_time_and_what_covers_them(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, clock=clock()) as one:
        view = await begun(one, "hourly", partitions="2026-03-03T22:00+00:00..2026-03-05T01:00+00:00", downstream=True)
        assert wanted(view) == {"hourly": 28, "daily": 3}
        await one.settle()
        assert plant.keys("daily") == ["2026-03-03", "2026-03-04", "2026-03-05"]
        assert len(plant.keys("hourly")) == 28
        view = await begun(one, "daily", partitions="2026-03-10,2026-03-12", upstream=True)
        assert wanted(view) == {"hourly": 48, "daily": 2}
        view = await begun(one, "hourly", "daily", partitions="2026-03-15T00:00+00:00..2026-03-15T05:00+00:00")
        assert wanted(view) == {"hourly": 6, "daily": 1}
        await one.settle()
        rows = await one.store.read(partial(partition_rows, set="hours", limit=1000))
        assert len([row for row in rows if (row.added_at or 0.0) >= NOW]) == 28 + 48 + 6


async def test_a_range_that_is_clipped_says_so(tmp_path: Path) -> None:
    async with rig(tmp_path, Plant().objects, clock=clock()) as one:
        ends = "2026-03-20 is not closed yet: the last is 2026-03-19"
        for partitions, count, notes in (
            ("2026-03-18..2026-03-20", 2, (ends,)),
            ("2026-02-01..2026-03-20", 19, ("days begins at 2026-03-01", ends)),
            ("2026-03-18..2026-03-19", 2, ()),
            ("..", 19, ()),
        ):
            view = await begun(one, "daily", partitions=partitions)
            assert (wanted(view), view.notes) == ({"daily": count}, notes)
        view = await begun(one, "cells", partitions="day=2026-03-18..2026-03-20|region=eu")
        assert (wanted(view), view.notes) == ({"cells": 2}, (ends,))
        assert (await one.control.backfill(view.row.id)).notes == (), "told when begun"


async def test_by_dimension_and_what_is_left_out_means_all(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, clock=clock()) as one:
        view = await begun(one, "cells", partitions="day=2026-03-02..2026-03-04|region=eu,us", downstream=True)
        assert wanted(view) == {"cells": 6, "summary": 3}
        await one.settle()
        assert plant.keys("cells") == [f"day=2026-03-0{d}|region={r}" for d in (2, 3, 4) for r in ("eu", "us")]
        view = await begun(one, "cells", partitions="day=2026-03-07")
        assert wanted(view) == {"cells": 3}
        await one.settle()
        view = await begun(one, "cells", select="missing")
        assert wanted(view) == {"cells": 19 * 3 - 9}
        await one.settle()
        assert len(plant.keys("cells")) == 57


async def test_a_large_box_gets_its_numbers_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshet.engine.backfill.desk._AT_ONCE", 50)
    monkeypatch.setattr("freshet.engine.backfill.loop.PIECE", 7)
    plant = Plant()
    width = 30 * 5
    async with rig(tmp_path, plant.objects, clock=clock(), workers=10, stop=False) as one:
        await begun(one, "wide", partitions="hour=2026-03-04T00:00+00:00|shop=s1")
        await one.settle()
        view = await begun(
            one, "wide", partitions="hour=2026-03-03T22:00+00:00..2026-03-04T02:00+00:00", downstream=True
        )
        assert (wanted(view)["wide"], view.planned_runs) == (width, width)
        while len(await one.runs()) < 40:
            await asyncio.sleep(0)
        assert len(one.engine.instruments.in_force.partitions.sets.named("wide")) < width, "not all of them yet"
    async with rig(tmp_path, plant.objects, clock=one.clock, workers=10) as one:
        await one.settle()
        found = await one.control.backfill(view.row.id)
        assert (found.row.state, wanted(found)) == ("succeeded", {"wide": width, "wider": width})
        made = Counter((s.name, r.key) for r in await one.runs() for s in r.steps if s.state == "succeeded")
        assert made.pop(("wide", "hour=2026-03-04T00:00+00:00|shop=s1")) == 2
        assert set(made.values()) == {1}
        assert len(made) == 2 * width - 1


async def test_only_what_is_asked_for_gets_a_number(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, clock=clock(), duration=lambda _: 1.0) as one:
        view = await begun(one, "wide")
        await one.advance(3)
        await one.control.change_backfill(view.row.id, "cancel")
        sets = one.engine.instruments.in_force.partitions.sets
        assert 0 < len(sets.named("wide")) <= 250
        view = await one.control.backfill(view.row.id)
        total = len(sets.named("hours")) * 30
        assert wanted(view) == {"wide": total}
        again = await one.control.change_backfill(view.row.id, "retry")
        assert (again.assets[0].wanted, again.assets[0].done) == (total, view.assets[0].done)
        assert again.planned_runs == total - view.assets[0].done


def test_what_depends_on_several_combinations_waits_for_all_numbers() -> None:
    hours = WIDE.dimension("hour")
    assets = (
        AssetSpec("source", partitions=hours),
        AssetSpec("wide", deps=(DepSpec("source"),), partitions=WIDE),
        AssetSpec("wider", deps=(DepSpec("wide"),), partitions=WIDE),
        AssetSpec("by_hour", deps=(DepSpec("wider"),), partitions=hours),
        AssetSpec("report", deps=(DepSpec("by_hour"),), partitions=hours),
        AssetSpec("aside", deps=(DepSpec("source"),), partitions=hours),
    )
    graph = PartitionGraph(Definitions(assets=assets), Sets(Definitions(assets=assets), {}))
    assert held_by(graph, {"wide"}, graph.definitions.order) == {"by_hour", "report"}


def test_a_box_is_gone_through_piece_by_piece() -> None:
    box = OpenBox("wide", (BitMap([3, 9]), BitMap([1, 2, 70_000])), 0, 0, {})
    seen: list[tuple[int, ...]] = []
    left: OpenBox | None = box
    while left is not None:
        assert OpenBox.load(json.loads(json.dumps(left.dump()))) == left
        seen += left.piece(4)
        left = left.moved(4)
    assert seen == [(3, 1), (3, 2), (3, 70_000), (9, 1), (9, 2), (9, 70_000)]


@pytest.mark.parametrize(
    ("assets", "partitions", "kind", "says"),
    [
        (("daily",), "2026-03-25", PartitionKeyError, "is not closed yet: it is from 2026-03-26T00:00+00:00 on"),
        (("daily",), "2026-02-25", PartitionKeyError, "lies before the start of 'days' (the first is '2026-03-01')"),
        (("daily",), "2026-03-10,2026-03-20", PartitionKeyError, "'2026-03-20' of 'days' is not closed yet"),
        (("daily",), "2026-03-05..2026-03-03", PartitionKeyError, "write 2026-03-03..2026-03-05"),
        (("daily",), "2027-03-05..2027-03-09", Conflict, "holds no partition of daily"),
        (("daily",), "2027-03-05..2027-03-09", Conflict, "2027-03-09 is not closed yet: the last is 2026-03-19"),
        (("daily",), "../../etc", PartitionKeyError, "'../../etc'"),
        (("daily",), "March", PartitionKeyError, "March"),
        (("cells",), "2026-03-05", PartitionKeyError, "write day=A..B|region=KEY"),
        (("cells",), "day=2026-03-05|regin=eu", PartitionKeyError, "did you mean 'region'?"),
        (("cells",), "day=2026-03-05|region=mars", UnknownName, "has no key 'mars'"),
        (("cells",), "day=2026-03-05|region=../../etc", UnknownName, "has no key '../../etc'"),
        (("cells",), "day=2026-03-05|region=../mars", UnknownName, "has no key '/mars', nor '../mars'"),
        (("cells",), "region=us..eu", PartitionKeyError, "runs backward"),
        (("cells",), "region=eu|region=us", PartitionKeyError, "write region=K1,K2"),
    ],
)
async def test_ranges_that_cannot_be(
    tmp_path: Path, assets: tuple[str, ...], partitions: str, kind: type[FreshetError], says: str
) -> None:
    async with rig(tmp_path, Plant().objects, clock=clock()) as one:
        with pytest.raises(kind) as caught:
            await begun(one, *assets, partitions=partitions)
        assert says in str(caught.value)
        assert caught.value.hint


async def test_too_many_combinations_need_a_range_each(tmp_path: Path) -> None:
    many = TimePartitions("* * * * *", start="2025-01-01", timezone="UTC", name="minutes")
    huge = MultiPartitions(minute=many, shop=WIDE.dimension("shop"), name="huge")

    @asset(partitions=huge)
    def each(ctx: Any) -> int:
        return 1

    @asset(deps=[Dep(each, mapping=All())])
    def total() -> int:
        return 1

    async with rig(tmp_path, [each, total], clock=clock()) as one:
        with pytest.raises(Conflict, match="over 10,000,000 combinations"):
            await begun(one, "each")
        with pytest.raises(Conflict, match="over 10,000,000 combinations"):
            await begun(one, "each", partitions="shop=s1")
        view = await begun(one, "each", partitions="minute=2026-01-01T00:00+00:00..2026-01-01T00:05+00:00|shop=s1")
        assert wanted(view) == {"each": 6}
