"""A refresh whose attempts are used up is told once an episode, shown, and told again when it recovers."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.rig import Rig, rig

from freshet import Asset, AutomationCondition, Freshness, Job, asset, job
from freshet.engine.clock import SimulatedClock
from freshet.store.records import ReportedMaterialization
from freshet_sensors import AssetSensor

pytestmark = pytest.mark.anyio


class World:
    """Whether the asset can be made just now."""

    broken = True


def shaky(world: World) -> Asset:
    @asset(freshness=Freshness(within="1h"), automation=AutomationCondition.on_lapse(attempts=2, delay="10s"))
    def prices() -> int:
        if world.broken:
            raise RuntimeError("the exchange is closed")
        return 1

    return prices


def alarmed(calls: list[str]) -> tuple[Job, AssetSensor]:
    @job
    def page(event: str) -> None:
        calls.append(event)

    return page, AssetSensor(
        "alarm", asset="prices", on=("exhausted", "recovered"), target=page, params=["event"], interval="1d"
    )


async def told(engine: Rig) -> list[str]:
    return [event.type for event in await engine.events() if event.type.startswith("refresh_")]


async def test_exhausted_once_shown_and_recovered_once(tmp_path: Path) -> None:
    world, clock = World(), SimulatedClock()
    prices = shaky(world)
    async with rig(tmp_path, [prices], clock=clock) as engine:
        await engine.advance(3600)
        assert await engine.states() == ["failed"] and await told(engine) == []
        assert not engine.engine.automator.exhausted("prices")
        await engine.advance(60)
        assert await engine.states() == ["failed", "failed"]
        (event,) = await engine.events("refresh_exhausted")
        assert (event.asset, event.partition) == ("prices", 0)
        assert list(engine.engine.automator.exhausted("prices")) == [0]
        await engine.advance(1e6)
        assert await told(engine) == ["refresh_exhausted"] and len(await engine.runs()) == 2
        await engine.control.materialize(["prices"])
        await engine.settle()
        assert await told(engine) == ["refresh_exhausted"], "a try by hand that fails is no news"
    async with rig(tmp_path, [prices], clock=clock, stop=False) as engine:
        await engine.advance(1e4)
        assert await told(engine) == ["refresh_exhausted"] and list(engine.engine.automator.exhausted("prices")) == [0]
    async with rig(tmp_path, [prices], clock=clock) as engine:
        world.broken = False
        await engine.control.materialize(["prices"])
        await engine.settle()
        assert await told(engine) == ["refresh_exhausted", "refresh_recovered"]
        assert not engine.engine.automator.exhausted("prices")
        world.broken = True
        await engine.advance(3600 + 60)
        assert await told(engine) == ["refresh_exhausted", "refresh_recovered", "refresh_exhausted"]
        await engine.control.report_made(ReportedMaterialization("prices"))
        await engine.settle()
        assert (await told(engine))[3:] == ["refresh_recovered"]


async def test_a_cancel_asks_for_no_more_and_is_no_exhaustion(tmp_path: Path) -> None:
    world = World()
    async with rig(tmp_path, [shaky(world)], duration=lambda step: 100.0) as engine:
        await engine.advance(3600)
        (run,) = await engine.runs()
        await engine.control.cancel(run.id)
        await engine.advance(1e4)
        assert await told(engine) == [] and len(await engine.runs()) == 1
        assert not engine.engine.automator.exhausted("prices")


async def test_a_sensor_is_woken_when_a_refresh_is_exhausted_and_when_it_recovers(tmp_path: Path) -> None:
    world, calls = World(), list[str]()
    async with rig(tmp_path, [shaky(world), *alarmed(calls)]) as engine:
        await engine.advance(3600 + 60)
        assert calls == ["exhausted"]
        world.broken = False
        await engine.control.materialize(["prices"])
        await engine.settle()
        assert calls == ["exhausted", "recovered"]


async def test_what_is_made_when_it_warns_does_not_lapse(tmp_path: Path) -> None:
    before = AutomationCondition.freshness_warned() | AutomationCondition.on_lapse()

    @asset(freshness=Freshness(within="1h", warn="45m"), automation=before)
    def hourly() -> int:
        return 1

    @asset(freshness=Freshness(cron="0 6 * * *", window="2h", warn="30m"), automation=before)
    def by_six() -> int:
        return 1

    async with rig(tmp_path, [hourly, by_six]) as engine:
        await engine.advance(2 * 86_400)
        assert await engine.events("freshness_lapsed") == []
        assert len(await engine.runs("by_six")) == 2 and len(await engine.runs("hourly")) == 64
