"""What conditions remember is committed with what they ask for; while runs are under way, that may take a while."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.rig import Rig, rig

from freshet import AutomationCondition, asset
from freshet.store.assets import automation_seq, condition_chunks

pytestmark = pytest.mark.anyio
C = AutomationCondition


@asset
def long() -> int:
    return 0


@asset
def orders() -> int:
    return 1


@asset
def prices() -> int:
    return 2


@asset(automation=C.all_of(orders, prices, within="1h"))
def report() -> int:
    return 3


ASSETS = (long, orders, prices, report)


def duration(step: object) -> float:
    return 3600.0 if getattr(step, "name", "") == "long" else 0.0


async def _remembered(one: Rig) -> int:
    return sum(chunk.asset == "report" for chunk in await one.store.read(condition_chunks))


async def _orders_while_another_runs(one: Rig) -> int:
    """How much was remembered of the report before they came."""
    await one.control.materialize(["long"])
    await one.settle()
    before = await _remembered(one)
    await one.control.materialize(["orders"])
    await one.settle()
    assert await _remembered(one) == before, "it waits for what asks for a run"
    return before


async def test_it_waits_half_a_second_for_what_asks_for_a_run(tmp_path: Path) -> None:
    async with rig(tmp_path, ASSETS, duration=duration) as one:
        before = await _orders_while_another_runs(one)
        await one.advance(1.0)
        assert await _remembered(one) > before
        made = next(event for event in await one.events("materialized") if event.asset == "orders")
        assert await one.store.read(automation_seq) >= made.seq


@pytest.mark.parametrize("stop", [True, False], ids=["stopped", "crashed"])
async def test_nothing_is_lost_at_the_end_of_the_daemon(tmp_path: Path, stop: bool) -> None:
    async with rig(tmp_path, ASSETS, duration=duration, stop=stop) as one:
        await _orders_while_another_runs(one)
    async with rig(tmp_path, ASSETS, duration=duration) as one:
        await one.control.materialize(["prices"])
        await one.settle()
        assert [run.target for run in await one.runs() if run.origin == "automation"] == ["report"]
