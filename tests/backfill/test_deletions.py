"""Keys that go, and come back, while a backfill begins or goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig

from freshet import DynamicPartitions, MultiPartitions, StaticPartitions, asset
from freshet.engine.backfill.select import BackfillRequest
from freshet.engine.clock import SimulatedClock
from freshet.store.backfills import begin_backfill
from freshet.store.records import StepToRun

pytestmark = pytest.mark.anyio

KEYS = DynamicPartitions("keys")


def _long(step: StepToRun) -> float:
    return 50.0


async def test_what_is_deleted_while_it_begins_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    @asset(partitions=KEYS)
    def each(ctx: Any) -> None:
        made.append(ctx.partition.key)

    async with rig(tmp_path, [each]) as one:
        await one.control.add_partitions("keys", {"a": {}, "b": {}})
        write = one.store.write

        async def slow(transaction: Any, **how: Any) -> Any:
            if getattr(transaction, "func", None) is begin_backfill:
                await one.control.delete_partitions("keys", ["b"])
            return await write(transaction, **how)

        monkeypatch.setattr(one.store, "write", slow)
        begun = await one.control.begin_backfill(BackfillRequest(("each",), "all"))
        await one.advance(1)
        view = await one.control.backfill(begun.row.id)
        assert made == ["a"]
        assert view.row.state == "succeeded" and [(row.wanted, row.done) for row in view.assets] == [(1, 1)]


@pytest.mark.parametrize("several", [False, True], ids=["key", "combination"])
async def test_what_a_single_run_makes_of_a_key_that_is_a_new_one_since_does_not_count(
    tmp_path: Path, several: bool
) -> None:
    @asset(partitions=MultiPartitions(key=KEYS, side=StaticPartitions(["x"])) if several else KEYS)
    def each() -> int:
        return 1

    async with rig(tmp_path, [each], duration=_long) as one:
        await one.control.add_partitions("keys", {"a": {}, "b": {}})
        await one.control.begin_backfill(BackfillRequest(("each",), "all", single_run=True))
        await one.advance(1)
        await one.control.delete_partitions("keys", ["a"])
        await one.advance(1)
        await one.control.add_partitions("keys", {"a": {}})
        await one.advance(100)
        assert await one.states() == ["succeeded"]
        assert [event.partition for event in await one.events("materialized")] == [2]


async def test_what_a_single_run_makes_counts_though_the_clock_was_set_back(tmp_path: Path) -> None:
    @asset(partitions=KEYS)
    def each() -> int:
        return 1

    clock = SimulatedClock()
    async with rig(tmp_path, [each], clock=clock) as one:
        await one.control.add_partitions("keys", {"a": {}, "b": {}})
        await one.advance(1)
        clock.step_wall(-60)
        await one.control.begin_backfill(BackfillRequest(("each",), "all", single_run=True))
        await one.advance(10)
        assert [event.partition for event in await one.events("materialized")] == [1, 2]


async def test_a_key_that_is_a_new_one_since_is_known_though_the_clock_was_set_back(tmp_path: Path) -> None:
    @asset(partitions=KEYS)
    def each() -> int:
        return 1

    clock = SimulatedClock()
    async with rig(tmp_path, [each], clock=clock, duration=_long) as one:
        await one.control.add_partitions("keys", {"a": {}, "b": {}})
        await one.control.begin_backfill(BackfillRequest(("each",), "all", single_run=True))
        await one.advance(1)
        clock.step_wall(-60)
        await one.control.delete_partitions("keys", ["a"])
        await one.control.add_partitions("keys", {"a": {}})
        await one.advance(100)
        assert [event.partition for event in await one.events("materialized")] == [2]
