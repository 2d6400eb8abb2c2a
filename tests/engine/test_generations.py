"""A partition that is deleted and added again while a run of it waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig

from freshet import AutomationCondition, DynamicPartitions, Retries, asset, job
from freshet.store.records import StepToRun

pytestmark = pytest.mark.anyio


def _blocks(step: StepToRun) -> float:
    return 60.0 if step.name == "block" else 0.0


async def test_what_waits_makes_the_partition_as_it_is_when_it_starts(tmp_path: Path) -> None:
    days = DynamicPartitions("days")
    made: list[int] = []

    @job
    def block() -> None:
        """Takes the only slot."""

    @asset(partitions=days)
    def raw(ctx: Any) -> int:
        return int(ctx.partition.metadata["value"])

    @asset(partitions=days, automation=AutomationCondition.eager())
    def clean(raw: int) -> int:
        made.append(raw)
        return raw

    async with rig(tmp_path, [block, raw, clean], workers=1, duration=_blocks) as one:
        await one.control.add_partitions("days", {"mon": {"value": 1}})
        await one.control.materialize(["raw"], key="mon")
        await one.settle()
        assert made == [1]
        await one.control.call("block", {}, priority=100)
        await one.control.materialize(["clean"], key="mon", priority=-10)
        await one.control.delete_partitions("days", ["mon"])
        await one.control.add_partitions("days", {"mon": {"value": 2}})
        await one.control.materialize(["raw"], key="mon", priority=10)
        await one.advance(120)
        assert made[-1] == 2
        assert [event.asset for event in await one.events("materialized")][-2:] == ["raw", "clean"]


async def test_what_fails_for_a_partition_that_is_gone_is_no_failure_of_the_new_one(tmp_path: Path) -> None:
    days = DynamicPartitions("days")

    @asset(partitions=days, retries=Retries(1, delay="1m", jitter=0))
    def raw(ctx: Any) -> int:
        raise ValueError("no luck")

    async with rig(tmp_path, [raw]) as one:
        await one.control.add_partitions("days", {"mon": {}})
        await one.control.materialize(["raw"], key="mon")
        await one.settle()
        await one.control.delete_partitions("days", ["mon"])
        await one.control.add_partitions("days", {"mon": {}})
        await one.advance(60)
        assert await one.states() == ["failed"]
        assert [event.asset for event in await one.events("failed")] == []
        assert [event.asset for event in await one.events("released")] == ["raw"]
