"""An edit that changes what an asset depends on, or how, is looked at once, though nothing else happened."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.rig import Rig, rig

from freshet import (
    All,
    AutomationCondition,
    Dep,
    DynamicPartitions,
    Freshness,
    Last,
    StepContext,
    asset,
    external_asset,
)
from freshet.definitions.mapping import Mapping
from freshet.engine.clock import SimulatedClock
from freshet.store.records import ReportedMaterialization

pytestmark = pytest.mark.anyio

keys = DynamicPartitions("keys")
parts = external_asset("parts", partitions=keys)


def graph(mapping: Mapping, *, far: bool = False) -> list[object]:
    """`total` waits for all of `parts`, or for the last; `far` below it asks whether that is so."""

    @asset(deps=[Dep("parts", mapping=mapping)], automation=None if far else AutomationCondition.eager())
    def total(ctx: StepContext) -> int:
        return 1

    held = AutomationCondition.any_deps_match(AutomationCondition.any_deps_match(AutomationCondition.missing()))

    @asset(deps=["total"], automation=~held if far else None)
    def report(ctx: StepContext) -> int:
        return 1

    return [parts, total, report]


async def targets(one: Rig) -> list[str]:
    return [run.target for run in await one.runs()]


async def first_key_missing(one: Rig) -> None:
    await one.control.add_partitions("keys", {"a": {}})
    await one.control.add_partitions("keys", {"b": {}})
    await one.control.report_made(ReportedMaterialization("parts", "b"))
    await one.settle()


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("stop", [False, True])
async def test_another_mapping(tmp_path: Path, far: bool, stop: bool) -> None:
    """Also far below it, and only once."""
    clock = SimulatedClock()
    async with rig(tmp_path, graph(All(), far=far), clock=clock, stop=stop) as one:
        await first_key_missing(one)
        before = await targets(one)
    for _ in range(2):
        async with rig(tmp_path, graph(Last(), far=far), clock=clock, stop=stop) as one:
            assert await targets(one) == [*before, "report" if far else "total"]
            assert [event.asset for event in await one.events("rewired")] == ["total"]


async def test_a_dependency_that_goes(tmp_path: Path) -> None:
    clock = SimulatedClock()
    other = external_asset("other")

    def whole(*deps: str) -> list[object]:
        @asset(deps=list(deps), automation=AutomationCondition.eager())
        def total(ctx: StepContext) -> int:
            return 1

        return [parts, other, total]

    async with rig(tmp_path, whole("parts", "other"), clock=clock) as one:
        await first_key_missing(one)
        await one.control.report_made(ReportedMaterialization("other"))
        await one.settle()
        assert await targets(one) == []
    async with rig(tmp_path, whole("other"), clock=clock) as one:
        assert await targets(one) == ["total"]
    async with rig(tmp_path, whole("parts", "other"), clock=clock) as one:
        assert await targets(one) == ["total"]
        assert len(await one.events("rewired")) == 2


async def test_a_policy_that_goes(tmp_path: Path) -> None:
    """Those below it see no lapse of it any more."""
    clock = SimulatedClock()

    def lapsing(policy: Freshness | None) -> list[object]:
        @asset(deps=["raw"], automation=~AutomationCondition.upstream_lapsed())
        def fresh(ctx: StepContext) -> int:
            return 1

        return [external_asset("raw", freshness=policy), fresh]

    async with rig(tmp_path, lapsing(Freshness(within="10s")), clock=clock) as one:
        await one.advance(20)
        assert len(await one.runs()) == 1
    async with rig(tmp_path, lapsing(None), clock=clock) as one:
        assert len(await one.runs()) == 2


async def test_what_stays_as_it_was_is_not_looked_at(tmp_path: Path) -> None:
    for _ in range(3):
        async with rig(tmp_path, graph(All())) as one:
            assert await one.events("rewired") == []
