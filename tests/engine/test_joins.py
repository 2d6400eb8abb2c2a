"""Joins, windows and tags of runs, from plugins through the store to runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.rig import Rig, rig

from freshet import AutomationCondition, asset

pytestmark = pytest.mark.anyio
C = AutomationCondition


@asset(tags={"kind": "nightly"})
def orders() -> int:
    return 1


@asset
def prices() -> int:
    return 2


async def _made(one: Rig, *names: str) -> list[str]:
    """What runs that conditions asked for have made, after these."""
    for name in names:
        await one.control.materialize([name])
        await one.settle()
    runs = [run for run in await one.runs() if run.origin == "automation"]
    return [step.name for run in runs for step in run.steps if step.state == "succeeded"]


async def test_both_of_two_assets_that_are_no_dependencies(tmp_path: Path) -> None:
    @asset(automation=C.all_of(orders, "prices", within="1h"))
    def report() -> int:
        return 3

    async with rig(tmp_path, [orders, prices, report]) as one:
        assert await _made(one, "orders", "orders") == []
    async with rig(tmp_path, [orders, prices, report]) as one:
        assert await _made(one, "prices") == ["report"]
        assert await _made(one, "prices") == ["report"]
        assert await _made(one, "orders") == ["report", "report"]


async def test_updates_of_tagged_runs_alone(tmp_path: Path) -> None:
    tagged = C.any_deps_match(C.any_new_update_has_run_tags(tag_values={"kind": "nightly"}))

    @asset(automation=tagged.since_last_handled(), deps=[orders, prices])
    def report() -> int:
        return 3

    async with rig(tmp_path, [orders, prices, report]) as one:
        assert await _made(one, "prices") == []
        assert await _made(one, "orders") == ["report"]
