"""What a step knows of its run, whichever transaction started it; and which failures are tried again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig

from freshet import Retries, RunInfo, RunRequest, asset, job, sensor
from freshet.store.records import StepToRun

pytestmark = pytest.mark.anyio


def _second(step: StepToRun) -> float:
    return 1.0


async def test_steps_of_a_run_know_it_alike(tmp_path: Path) -> None:
    seen: dict[str, RunInfo] = {}

    @asset
    def first(ctx: Any) -> int:
        seen["first"] = ctx.run
        return 1

    @asset
    def second(ctx: Any, first: int) -> int:
        seen["second"] = ctx.run
        return 1

    @asset
    def third(ctx: Any, second: int) -> int:
        seen["third"] = ctx.run
        return 1

    async with rig(tmp_path, [first, second, third], duration=_second) as one:
        (run_id,) = await one.control.materialize(["first"], downstream=True, priority=4, tags={"team": "sales"})
        await one.advance(10)
        (run,) = await one.runs()
    assert run.state == "succeeded"
    assert list(seen) == ["first", "second", "third"]
    for info in seen.values():
        assert (info.id, info.target, info.origin, info.priority) == (run_id, run.target, run.origin, 4)
        assert (info.attempt, info.partition, dict(info.tags)) == (1, None, {"team": "sales"})


async def test_a_run_by_hand_has_what_its_assets_say_and_what_is_asked_on_top(tmp_path: Path) -> None:
    seen: list[RunInfo] = []

    @asset(tags={"kind": "nightly", "team": "sales"}, priority=3)
    def orders(ctx: Any) -> None:
        seen.append(ctx.run)

    async with rig(tmp_path, [orders]) as one:
        await one.control.materialize(["orders"])
        await one.settle()
        await one.control.materialize(["orders"], priority=4, tags={"team": "books", "by": "me"})
        await one.settle()
    assert [(info.priority, dict(info.tags)) for info in seen] == [
        (3, {"kind": "nightly", "team": "sales"}),
        (7, {"kind": "nightly", "team": "books", "by": "me"}),
    ]


async def test_a_job_that_a_sensor_asked_for_says_so_in_each_attempt(tmp_path: Path) -> None:
    seen: list[RunInfo] = []

    @job(retries=Retries(3, delay="1s", on=ConnectionError))
    def pays(ctx: Any, amount: int) -> None:
        seen.append(ctx.run)
        raise ConnectionError("away") if ctx.attempt == 1 else ValueError("for good")

    @sensor(interval="1h", target=pays)
    def orders(ctx: Any) -> Any:
        yield RunRequest(run_key="7", params={"amount": 3})

    async with rig(tmp_path, [pays, orders], duration=_second) as one:
        await one.advance(60)
        (run,) = await one.runs()
    assert [(info.origin, info.target, dict(info.params), info.attempt) for info in seen] == [
        ("sensor:orders", "pays", {"amount": 3}, 1),
        ("sensor:orders", "pays", {"amount": 3}, 2),
    ], "a ConnectionError is tried again, a ValueError is not"
    assert (run.state, run.steps[0].failures) == ("failed", 2)
