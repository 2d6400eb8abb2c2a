"""Keys that many combinations hang on come and go in pieces that count those too."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.rig import rig

from freshet import (
    AddPartitions,
    AutomationCondition,
    DeletePartitions,
    DynamicPartitions,
    MultiPartitions,
    SensorContext,
    StaticPartitions,
    asset,
    sensor,
)
from freshet.engine.pieces import COMBINATIONS, lighter
from freshet.store.records import PartitionDelta

pytestmark = pytest.mark.anyio


@given(added=st.lists(st.integers(0, 1500), max_size=12), deleted=st.lists(st.integers(0, 1500), max_size=12))
def test_nothing_is_lost_or_moved(added: list[int], deleted: list[int]) -> None:
    weights = {f"a{at}": one for at, one in enumerate(added)} | {f"d{at}": one for at, one in enumerate(deleted)}
    add: tuple[tuple[str, dict[str, Any]], ...] = tuple((f"a{at}", {}) for at in range(len(added)))
    whole = PartitionDelta("keys", add, tuple(f"d{at}" for at in range(len(deleted))))
    pieces = list(lighter(whole, [*added, *deleted]))
    keys = [[*(key for key, _ in one.add), *one.delete] for one in pieces]
    assert [key for one in keys for key in one] == list(weights)
    for one in keys:
        assert len(one) <= 1 or sum(weights[key] for key in one) <= COMBINATIONS


async def test_deleted_by_hand(tmp_path: Path) -> None:
    keys = DynamicPartitions("keys")
    several = MultiPartitions(key=keys, region=StaticPartitions([f"r{number}" for number in range(200)]), name="all")

    @asset(partitions=several, automation=AutomationCondition.missing() & AutomationCondition.in_progress())
    def cube() -> int:
        return 1

    async with rig(tmp_path, [cube]) as one:
        names = [f"k{number}" for number in range(12)]
        await one.control.add_partitions("keys", {name: {} for name in names})
        await one.settle()
        sets = one.engine.instruments.in_force.partitions.sets
        assert len(sets.named("all")) == 2400
        assert await one.control.delete_partitions("keys", names) == 12
        assert await one.control.add_partitions("keys", {name: {} for name in names}) == 12
        for kind in ("partition_deleted", "partition_added"):
            moved: dict[int, int] = {}
            for event in (await one.events(kind))[-6:]:
                moved[event.txn] = moved.get(event.txn, 0) + (len(event.numbers) if event.set == "all" else 0)
            assert max(moved.values()) <= COMBINATIONS
        assert len(sets.named("all")) == 2400


@pytest.mark.parametrize("by_hand", [True, False])
async def test_of_one_key_more_than_a_transaction_takes(tmp_path: Path, by_hand: bool) -> None:
    """They come and go in pieces, as new generations, and what is asked for meanwhile is of the new one."""
    keys = DynamicPartitions("keys")
    regions = StaticPartitions([f"r{number}" for number in range(COMBINATIONS * 2 + 500)])
    several = MultiPartitions(key=keys, region=regions, name="all")
    count = COMBINATIONS * 2 + 500
    say: list[object] = []

    @asset(partitions=several, automation=AutomationCondition.missing() & AutomationCondition.in_progress())
    def cube() -> int:
        return 1

    @sensor(interval="1m")
    def mover(ctx: SensorContext) -> Iterator[object]:
        yield from say
        say.clear()

    async with rig(tmp_path, [cube, mover]) as one:

        async def change(what: AddPartitions | DeletePartitions) -> None:
            if not by_hand:
                say.append(what)
                await one.advance(60)
            elif isinstance(what, AddPartitions):
                assert await one.control.add_partitions("keys", {"k": {}}) == 1
            else:
                assert await one.control.delete_partitions("keys", ["k"]) == 1
            await one.settle()

        await change(AddPartitions(keys, ["k"]))
        sets = one.engine.instruments.in_force.partitions.sets
        assert len(sets.named("all")) == count
        await one.control.materialize(["cube"], key="key=k|region=r7")
        await one.settle()
        for what, kind, live in (
            (DeletePartitions(keys, ["k"]), "partition_deleted", 0),
            (AddPartitions(keys, ["k"]), "partition_added", count),
        ):
            before = len(await one.events(kind))
            await change(what)
            told = (await one.events(kind))[before:]
            assert [event.set for event in told if event.set == "keys"] == ["keys"]
            moved: dict[int, int] = {}
            for event in told:
                moved[event.txn] = moved.get(event.txn, 0) + (len(event.numbers) if event.set == "all" else 0)
            assert sum(moved.values()) == count and max(moved.values()) <= COMBINATIONS
            assert len(sets.named("all")) == live
        rows = await one.store.read(partial(_generations, name="all"))
        assert rows == {(2, True): count}
        assert await one.store.read(_materialized) == 0


def _generations(db: sqlite3.Connection, name: str) -> dict[tuple[int, bool], int]:
    """Partitions of a set by generation, and whether they are live."""
    rows = db.execute(
        """
        SELECT p.generation, p.deleted_at IS NULL, count(*) FROM partitions p JOIN partition_sets s ON s.id = p.set_id
        WHERE s.name = ? GROUP BY 1, 2
        """,
        (name,),
    )
    return {(generation, bool(live)): count for generation, live, count in rows}


def _materialized(db: sqlite3.Connection) -> int:
    (count,) = db.execute("SELECT count(*) FROM asset_state").fetchone()
    return int(count)


async def test_by_a_sensor(tmp_path: Path) -> None:
    keys = DynamicPartitions("keys")
    several = MultiPartitions(key=keys, region=StaticPartitions([f"r{number}" for number in range(200)]), name="all")
    names = [f"k{number}" for number in range(12)]
    say: list[object] = [AddPartitions(keys, names)]

    @asset(partitions=several, automation=AutomationCondition.missing() & AutomationCondition.in_progress())
    def cube() -> int:
        return 1

    @sensor(interval="1m")
    def mover(ctx: SensorContext) -> Iterator[object]:
        yield from say
        say.clear()

    async with rig(tmp_path, [cube, mover]) as one:
        sets = one.engine.instruments.in_force.partitions.sets
        for what, kind, live in (
            (DeletePartitions(keys, names), "partition_deleted", 0),
            (AddPartitions(keys, names), "partition_added", 2400),
        ):
            say.append(what)
            before = len(await one.events(kind))
            await one.advance(60)
            moved: dict[int, int] = {}
            for event in (await one.events(kind))[before:]:
                moved[event.txn] = moved.get(event.txn, 0) + (len(event.numbers) if event.set == "all" else 0)
            assert sum(moved.values()) == 2400 and max(moved.values()) <= COMBINATIONS
            assert len(sets.named("all")) == live
