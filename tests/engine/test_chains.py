"""Chains of automatic runs: how deep each run is, where a loop ends, and what is no loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.engine.rig import Duration, Rig, rig
from tests.support.served import served_engine

from freshet import (
    Asset,
    AutomationCondition,
    Listen,
    Report,
    RunRequest,
    Sensor,
    SensorContext,
    asset,
    job,
)
from freshet_sensors import AssetSensor, RunStatusSensor

pytestmark = pytest.mark.anyio

EAGER = AutomationCondition.eager()


def lasting(seconds: float) -> Duration:
    """All steps take so long."""
    return lambda step: seconds


def chain(length: int) -> list[Asset]:
    """Assets of which each is made when the one before was."""
    found: list[Asset] = []
    for number in range(length):
        above = [found[-1]] if found else []

        @asset(name=f"a{number}", deps=above, automation=EAGER if above else None)
        def one() -> int:
            return 1

        found.append(one)
    return found


def loop() -> list[Any]:
    """`second` follows `first` by its condition, and `first` follows `second` by a sensor."""
    first, second = chain(2)
    return [first, second, AssetSensor("closes", asset=second, target=first)]


async def depths(one: Rig, target: str | None = None) -> list[int]:
    return [run.depth for run in await one.runs(target)]


async def test_a_loop_is_stopped_and_goes_on_from_a_new_cause(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with rig(tmp_path, loop(), max_chain=10, duration=lasting(1.0)) as one:
            await one.settle()
            await one.control.materialize(["a0"])
            await one.advance(60)
            assert await depths(one) == list(range(11))
            (stopped,) = await one.events("chain_stopped")
            last = (await one.runs())[-1]
            assert (stopped.asset, stopped.data) == ("a1", {"depth": 11, "run": last.id})
            assert last.target == "a0"
            await one.control.materialize(["a0"])
            await one.advance(60)
            assert await depths(one) == [*range(11), *range(11)]
            assert len(await one.events("chain_stopped")) == 2
    told = [line for line in logs if line["log_level"] == "error"]
    assert [(line["targets"], line["depth"]) for line in told] == [(["a1"], 11)] * 2


async def test_a_restart_within_a_loop_begins_it_not_anew(tmp_path: Path) -> None:
    async with rig(tmp_path, loop(), max_chain=10, duration=lasting(1.0), stop=False) as one:
        await one.settle()
        await one.control.materialize(["a0"])
        await one.advance(4.5)
        clock = one.clock
    async with rig(tmp_path, loop(), max_chain=10, duration=lasting(1.0), clock=clock) as one:
        await one.advance(60)
        assert await depths(one) == list(range(11))
        assert len(await one.events("chain_stopped")) == 1


async def test_a_sensor_stopped_at_its_request_shows_it_on_the_tick(tmp_path: Path) -> None:
    async with rig(tmp_path, loop(), max_chain=9, duration=lasting(1.0)) as one:
        await one.settle()
        await one.control.materialize(["a0"])
        await one.advance(60)
        (stopped,) = await one.events("chain_stopped")
        assert (stopped.asset, stopped.data["depth"]) == ("a0", 10)
        assert await depths(one) == list(range(10))
        await one.control.materialize(["a0"])  # its key was not taken: what comes later is asked for
        await one.advance(3)
        assert (await depths(one))[10:] == [0, 1, 2, 3]


async def test_a_loop_through_reports_is_stopped(tmp_path: Path) -> None:
    first, second = chain(2)
    back = AssetSensor("back", asset=second, map=lambda event: Report("a0"))
    async with rig(tmp_path, [first, second, back], max_chain=10, duration=lasting(1.0)) as one:
        await one.settle()
        await one.control.materialize(["a0"])
        await one.advance(60)
        assert await depths(one, "a1") == list(range(1, 11))
        assert len(await one.events("chain_stopped")) == 1


async def test_a_request_that_waited_is_as_deep_as_its_cause(tmp_path: Path) -> None:
    first, second = chain(2)
    closes = AssetSensor("closes", asset=second, target=first, debounce="5s")
    async with rig(tmp_path, [first, second, closes], max_chain=10, duration=lasting(1.0)) as one:
        await one.settle()
        await one.control.materialize(["a0"])
        await one.advance(300)
        assert await depths(one) == list(range(11))


async def test_a_wave_is_one_run_however_long(tmp_path: Path) -> None:
    async with rig(tmp_path, chain(300), max_chain=10) as one:
        await one.settle()
        await one.control.materialize(["a0"])
        await one.settle()
        assert [(run.depth, len(run.steps)) for run in await one.runs()] == [(0, 1), (1, 299)]
        assert not await one.events("chain_stopped")


async def test_an_asset_that_is_always_busy_is_no_chain(tmp_path: Path) -> None:
    """It is asked for at the end of each of its runs, because of what came meanwhile."""
    takes = {"a0": 1.0, "a1": 10.0}
    async with rig(tmp_path, chain(2), max_chain=5, duration=lambda step: takes[step.name]) as one:
        await one.settle()
        for _ in range(60):
            await one.control.materialize(["a0"])
            await one.advance(2)
        await one.advance(60)
        busy = await depths(one, "a1")
        assert len(busy) > 10 and set(busy) == {1}
        assert not await one.events("chain_stopped")


async def test_an_asset_that_asks_for_itself_is_a_loop(tmp_path: Path) -> None:
    again = AutomationCondition.execution_failed() & ~AutomationCondition.in_progress()

    @asset(automation=again)
    def stubborn() -> int:
        raise ValueError("no")

    async with rig(tmp_path, [stubborn], max_chain=5, duration=lasting(1.0)) as one:
        await one.settle()
        await one.control.materialize(["stubborn"])
        await one.advance(60)
        assert await depths(one) == list(range(6))
        assert len(await one.events("chain_stopped")) == 1


async def test_a_notifier_that_hears_itself_is_no_chain(tmp_path: Path) -> None:
    """Each notice is because of one event, whatever others the look was given."""

    @asset
    def made() -> int:
        return 1

    @job
    def tell(run: int) -> None: ...

    sensor = RunStatusSensor("told", on="succeeded", target=tell, params="run")
    async with rig(tmp_path, [made, tell, sensor], max_chain=5) as one:
        await one.settle()
        for _ in range(20):
            await one.control.materialize(["made"])
            await one.advance(1)
        assert await depths(one, "tell") == [1] * 20


class Custom(Sensor):
    """Asks again for what was made, without saying why."""

    def __init__(self, says: bool) -> None:
        self._says = says
        super().__init__("custom", interval="1h", listens=Listen("materialized"))

    async def evaluate(self, ctx: SensorContext) -> AsyncIterator[RunRequest]:
        found = await ctx.events("materialized", after=ctx.cursor or 0)
        ctx.cursor = found.seq
        for event in found:
            yield RunRequest("made", run_key=str(event.seq), cause=event if self._says else None)


@pytest.mark.parametrize("says", [True, False])
async def test_a_sensor_of_ones_own_is_stopped_too(tmp_path: Path, says: bool) -> None:
    @asset
    def made() -> int:
        return 1

    async with rig(tmp_path, [made, Custom(says)], max_chain=5, duration=lasting(1.0)) as one:
        await one.settle()
        await one.control.materialize(["made"])
        await one.advance(60)
        assert await depths(one) == list(range(6))


def test_status_and_why_show_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served_engine(tmp_path, loop(), capsys, max_chain=4, duration=lasting(1.0)) as one:
        one.cli("materialize", "a0")
        one.advance(60)
        assert one.cli("--json", "status").json["stopped"] == {"a1": 1}
        assert "chains of automatic runs stopped in the last day: a1 (1)" in one.cli("status").out
        found = one.cli("--json", "why", "a1").json
        assert found["stopped"]["data"] == {"depth": 5, "run": 5} and found["run"]["depth"] == 3
        assert "4 automatic runs led to it, the last of them run 5; break the loop" in one.cli("why", "a1").out
        assert one.cli("--json", "why", "a0").json["stopped"] is None
        one.cli("materialize", "a1")
        assert one.cli("--json", "why", "a1").json["stopped"] is None
