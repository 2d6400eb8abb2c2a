"""Conditions through mappings in a whole engine, over a real store, with a restart in the middle."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig

from freshet import AutomationCondition, MultiPartitions, StaticPartitions, TimePartitions, asset
from freshet.engine.automation import AssetCounts
from freshet.engine.clock import SimulatedClock

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()


async def test_hours_make_days_and_days_their_regions(tmp_path: Path) -> None:
    hours = TimePartitions("hourly", start="2026-03-28T00:00", timezone="UTC")
    days = TimePartitions("daily", start="2026-03-28", timezone="UTC")
    grid = MultiPartitions(day=days, region=StaticPartitions(["eu", "us"], name="regions"))
    eager = AutomationCondition.eager()

    @asset(partitions=hours, automation=eager)
    def hour() -> int:
        return 1

    @asset(partitions=days, automation=eager)
    def day(hour: dict[str, int]) -> int:
        return sum(hour.values())

    @asset(partitions=grid, automation=eager)
    def share(ctx: Any, day: int) -> int:
        return day

    @asset(partitions=days, automation=eager)
    def total(share: dict[str, int]) -> int:
        return sum(share.values())

    plugins, clock = [hour, day, share, total], SimulatedClock(start=NOON)
    async with rig(tmp_path, plugins, clock=clock, workers=4) as one:
        await one.settle()
        assert {run.target for run in await one.runs()} == {"hour"}
        await one.advance(18 * 3600)
        assert set(await one.states()) == {"succeeded"}
        assert Counter(run.target for run in await one.runs()) == {"hour": 30, "day": 1, "share": 2, "total": 1}
        before = len(await one.runs())
    async with rig(tmp_path, plugins, clock=clock, workers=4) as one:
        await one.settle()
        assert len(await one.runs()) == before
        summary = one.engine.automator.counts
        assert summary("hour") == AssetCounts(30, 30, 0, 0) and summary("share") == AssetCounts(2, 2, 0, 0)
        await one.advance(24 * 3600)
        assert Counter(run.target for run in await one.runs()) == {"hour": 54, "day": 2, "share": 4, "total": 2}
        assert {run.key for run in await one.runs("total")} == {"2026-03-28", "2026-03-29"}
