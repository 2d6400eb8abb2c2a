"""External assets: reported by sensors, by hand and over the API, and never asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.engine.rig import rig
from tests.support.served import served_engine

from freshet import (
    AutomationCondition,
    DefinitionError,
    DynamicPartitions,
    FreshetError,
    Freshness,
    Report,
    SensorContext,
    asset,
    external_asset,
    sensor,
)
from freshet.definitions.graph import Definitions, validate
from freshet.engine.backfill.select import BackfillRequest
from freshet.engine.clock import SimulatedClock
from freshet.errors import Conflict
from freshet.store.records import ReportedMaterialization

pytestmark = pytest.mark.anyio

orders = external_asset("orders", freshness=Freshness(within="1h"), group="shop", description="Made by the shop.")


@asset(deps=[orders], automation=AutomationCondition.eager())
def sums() -> int:
    return 1


async def test_a_report_makes_what_is_below_and_keeps_it_fresh(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with rig(tmp_path, [orders, sums], clock=clock) as engine:
        assert await engine.control.report_made(ReportedMaterialization("orders", metadata={"rows": 3}))
        await engine.settle()
        assert await engine.states("sums") == ["succeeded"]
        await engine.advance(3599)
        assert await engine.events("freshness_lapsed") == []
        await engine.advance(1)
        (lapse,) = await engine.events("freshness_lapsed")
        assert lapse.asset == "orders" and lapse.at == lapse.data["deadline"]
        old = clock.now() - 3600
        assert await engine.control.report_made(ReportedMaterialization("orders", at=old + 1))
        await engine.settle()
        assert len(await engine.events("freshness_restored")) == 1, "as late as that it is fresh for another second"
        await engine.advance(1)
        assert [event.data for event in await engine.events("freshness_lapsed")][1:] == [{"deadline": old + 3601}]


async def test_what_is_not_later_than_what_is_known_is_told_and_moves_nothing(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with rig(tmp_path, [orders, sums], clock=clock) as engine:
        begun = clock.now()
        assert await engine.control.report_made(ReportedMaterialization("orders", at=begun - 10))
        for older in (begun - 10, begun - 11):
            assert not await engine.control.report_made(ReportedMaterialization("orders", at=older, metadata={"n": 1}))
        assert await engine.control.report_made(ReportedMaterialization("orders", at=begun + 1e9)), (
            "to come: taken for now"
        )
        await engine.settle()
        assert [event.data for event in await engine.events("reported")] == [
            {"metadata": {"n": 1}, "begun": at, "at": at} for at in (begun - 10, begun - 11)
        ]
        assert [event.data["at"] for event in await engine.events("materialized") if event.asset == "orders"] == [
            begun - 10,
            begun,
        ]
        assert len(await engine.runs("sums")) == 2
        await engine.advance(3599.9)
        assert await engine.events("freshness_lapsed") == []


async def test_nothing_ever_asks_for_it(tmp_path: Path) -> None:
    async with rig(tmp_path, [orders, sums]) as engine:
        with pytest.raises(Conflict, match="external") as refused:
            await engine.control.materialize(["orders"])
        assert refused.value.hint == "freshet report orders says that it was made"
        with pytest.raises(Conflict, match="external"):
            await engine.control.begin_backfill(BackfillRequest(("orders",), "all"))
        await engine.control.materialize(["sums"], upstream=True)
        await engine.settle()
        assert [[step.name for step in run.steps] for run in await engine.runs()] == [["sums"]]
        await engine.control.begin_backfill(BackfillRequest(("sums",), "all", upstream=True))
        await engine.settle()
        assert {step.name for run in await engine.runs() for step in run.steps} == {"sums"}


async def test_sensors_say_when_it_was_made(tmp_path: Path) -> None:
    days = DynamicPartitions("days")
    parts = external_asset("parts", partitions=days)
    clock = SimulatedClock()
    at = datetime.fromtimestamp(clock.now() - 60, UTC)

    @sensor(interval="10s")
    def shop(ctx: SensorContext) -> list[Report]:
        return [Report("orders", at=at, data_version="v1")]

    async with rig(tmp_path, [orders, parts, shop], clock=clock) as engine:
        await engine.settle()
        (made,) = await engine.events("materialized")
        assert made.data == {"version": "v1", "begun": at.timestamp(), "at": at.timestamp()}
        await engine.control.add_partitions("days", {"mon": {}})
        assert await engine.control.report_made(ReportedMaterialization("parts", "mon"))
        with pytest.raises(FreshetError, match="names no partition"):
            await engine.control.report_made(ReportedMaterialization("parts"))


@pytest.mark.parametrize(
    ("at", "says"),
    [(datetime(2026, 1, 1), "without a zone"), (float("nan"), "no moment"), (True, "no moment"), ("now", "no moment")],
)
async def test_a_moment_that_is_none_fails_the_look(tmp_path: Path, at: float, says: str) -> None:
    @sensor(interval="10s")
    def shop(ctx: SensorContext) -> Report:
        return Report("orders", at=at)

    async with rig(tmp_path, [orders, shop]) as engine:
        await engine.settle()
        (state,) = engine.control.sensors()
        assert state.failures == 1 and says in str(state.last_error)


def test_definitions_around_it_are_checked() -> None:
    @asset
    def takes(orders: int) -> int:
        return orders

    (problem,) = validate(Definitions(assets=(orders.spec, takes.spec)))
    assert "takes the value of 'orders', which is external" in problem.message and 'deps=["orders"]' in problem.hint
    assert orders.spec.source is not None
    assert orders.spec.source.file == __file__
    with pytest.raises(DefinitionError, match="nothing to call"):
        orders()


def test_it_is_reported_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served_engine(tmp_path, [orders, sums], capsys) as served:
        cli = served.cli
        said = cli("report", "orders", "--metadata", "rows=12", "--metadata", "by=shop", "--data-version", "v7")
        assert (said.status, said.out.strip()) == (0, "orders: reported")
        served.settle()
        found = cli("assets", "orders", "--json").json
        assert (found["external"], found["metadata"], found["freshness"]["state"]) == (
            True,
            {"rows": 12, "by": "shop"},
            "fresh",
        )
        assert "nothing moves" in cli("report", "orders", "--at", "2001-01-01T00:00").out
        assert cli("report", "orders", "--at", "yesterday").status == 2
        assert cli("report", "nothing").status == 1
        assert "freshet report orders" in cli("materialize", "orders").err
