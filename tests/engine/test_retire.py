"""`keep=`: what a set of keys does not keep is deleted, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tests.engine.rig import Rig, rig

from freshet import (
    AutomationCondition,
    DefinitionError,
    DynamicPartitions,
    Keep,
    MultiPartitions,
    StaticPartitions,
    asset,
)
from freshet.definitions.graph import Definitions
from freshet.engine.backfill.select import BackfillRequest
from freshet.engine.clock import SimulatedClock
from freshet.store.records import StepToRun
from freshet.store.retiring import look, retire

pytestmark = pytest.mark.anyio

HOUR = 3600.0
DAY = 24 * HOUR


async def _nothing() -> None:
    return None


def _plant(keep: Any, **options: Any) -> list[object]:
    keys = DynamicPartitions("keys", keep=keep)

    @asset(partitions=keys, **options)
    def each(ctx: Any) -> str:
        return str(ctx.partition.key)

    return [each]


async def live(one: Rig, name: str = "keys") -> set[str]:
    """The keys that are there, by the events."""
    keys: set[str] = set()
    named: dict[int, str] = {}
    for event in await one.events():
        if event.set != name or event.type not in ("partition_added", "partition_deleted"):
            continue
        data: Any = event.data
        if "key" in data:
            named[event.partition or 0] = data["key"]
        found = {named[number] for number in event.numbers}
        keys = keys | found if event.type == "partition_added" else keys - found
    assert len(keys) == len(one.engine.instruments.in_force.partitions.sets.named(name))
    return keys


async def reasons(one: Rig) -> list[str]:
    """Why keys were deleted, in order."""
    found: list[Any] = [event.data for event in await one.events("partition_deleted")]
    return [data["reason"] for data in found for _ in range(data.get("count", 1))]


async def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    async with rig(tmp_path, _plant(3)) as one:
        for number in range(5):
            await one.control.add_partitions("keys", {f"k{number}": {}})
            await one.advance(1)
        assert await live(one) == {"k2", "k3", "k4"}
        assert await reasons(one) == ["count", "count"]


async def test_a_key_goes_when_it_is_too_old_and_not_before(tmp_path: Path) -> None:
    async with rig(tmp_path, _plant("2d")) as one:
        await one.control.add_partitions("keys", {"a": {}})
        await one.advance(DAY)
        await one.control.add_partitions("keys", {"b": {}})
        await one.advance(DAY - 1)
        assert await live(one) == {"a", "b"}
        await one.advance(1)
        assert await live(one) == {"b"}
        await one.control.add_partitions("keys", {"a": {}})
        await one.advance(DAY)
        assert await live(one) == {"a"}, "added again, it counts from then"
        await one.advance(DAY)
        assert await live(one) == set()
        assert await reasons(one) == ["age"] * 3
        assert (await one.events("partition_deleted"))[0].at == one.clock.start + 2 * DAY


async def test_what_became_too_old_while_the_daemon_was_down_goes_at_the_start(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with rig(tmp_path, _plant(None), clock=clock) as one:
        await one.control.add_partitions("keys", {f"k{number}": {} for number in range(1200)})
        await one.advance(60)
        await one.control.add_partitions("keys", {"young": {}})
    await clock.advance(DAY - 30, _nothing)
    async with rig(tmp_path, _plant("1d"), clock=clock) as one:
        assert one.engine.instruments.in_force.partitions.sets.named("keys").max() == 1201
        assert len(one.engine.instruments.in_force.partitions.sets.named("keys")) == 1
        gone: dict[int, int] = {}
        for event in await one.events("partition_deleted"):
            gone[event.txn] = gone.get(event.txn, 0) + len(event.numbers)
        assert sorted(gone.values()) == [200, 500, 500], "in pieces"


@pytest.mark.parametrize(("keep", "reason"), [(1, "count"), ("1h", "age")])
async def test_a_key_with_a_run_goes_when_that_has_ended(tmp_path: Path, keep: Any, reason: str) -> None:
    lasts: Callable[[StepToRun], float] = lambda step: 3 * HOUR  # noqa: E731
    async with rig(tmp_path, _plant(keep), duration=lasts, workers=1) as one:
        await one.control.add_partitions("keys", {"old": {}, "older": {}})
        await one.control.materialize(["each"], key="old")
        await one.control.materialize(["each"], key="older")
        await one.advance(60)
        await one.control.add_partitions("keys", {"young": {}})
        await one.advance(2 * HOUR)
        assert {"old", "older"} <= await live(one), "one is under way, the other queued"
        await one.advance(HOUR)
        assert "old" not in await live(one) and "older" in await live(one)
        assert await one.states() == ["succeeded", "started"]
        await one.advance(3 * HOUR)
        assert "older" not in await live(one)
        assert set(await reasons(one)) == {reason}
        assert len(await one.runs()) == 2, "history stays"


async def test_a_key_whose_combination_has_a_run_stays_until_it_has_ended(tmp_path: Path) -> None:
    keys = DynamicPartitions("keys", keep="1h")
    several = MultiPartitions(key=keys, region=StaticPartitions(["eu"]))

    @asset(partitions=several)
    def cube() -> int:
        return 1

    async with rig(tmp_path, [cube], duration=lambda step: 3 * HOUR) as one:
        await one.control.add_partitions("keys", {"a": {}, "b": {}})
        await one.control.materialize(["cube"], key="key=a|region=eu")
        await one.advance(2 * HOUR)
        assert await live(one) == {"a"}
        await one.advance(HOUR)
        assert await live(one) == set()
        assert len(one.engine.instruments.in_force.partitions.sets.named(several.name)) == 0


@settings(max_examples=25, deadline=None)
@given(
    age=st.sampled_from([None, 5.0, 20.0]),
    count=st.sampled_from([None, 1, 3]),
    steps=st.lists(
        st.tuples(st.floats(0, 8), st.sampled_from(["add", "delete"]), st.lists(st.sampled_from("abcdef"), max_size=3)),
        max_size=12,
    ),
)
async def test_against_a_list(
    tmp_path_factory: pytest.TempPathFactory, age: float | None, count: int | None, steps: list[Any]
) -> None:
    """What is there at any moment is what a list of additions says."""
    keep = None if age is None and count is None else Keep(age=age, count=count)
    expected: dict[str, float] = {}
    order: dict[str, int] = {}

    def expire(now: float) -> None:
        for key in [key for key, added in expected.items() if age is not None and added + age <= now]:
            del expected[key]
        while count is not None and len(expected) > count:
            del expected[min(expected, key=lambda key: (expected[key], order[key]))]

    async with rig(tmp_path_factory.mktemp("keep"), _plant(keep)) as one:
        for wait, what, keys in steps:
            await one.advance(wait)
            expire(one.clock.now())
            if what == "add":
                await one.control.add_partitions("keys", {key: {} for key in keys})
                for key in dict.fromkeys(keys):
                    order.setdefault(key, len(order))
                    expected.setdefault(key, one.clock.now())
            else:
                await one.control.delete_partitions("keys", keys)
                for key in keys:
                    expected.pop(key, None)
            await one.settle()
            expire(one.clock.now())
            assert await live(one) == set(expected)


async def test_a_run_that_holds_keys_of_two_sets_lets_both_go(tmp_path: Path) -> None:
    a, b = DynamicPartitions("a", keep=1), DynamicPartitions("b", keep=1)

    @asset(partitions=MultiPartitions(a=a, b=b))
    def cell() -> int:
        return 1

    async with rig(tmp_path, [cell], duration=_long) as one:
        await one.control.add_partitions("a", {"a1": {}})
        await one.control.add_partitions("b", {"b1": {}})
        await one.control.materialize(["cell"], key="a=a1|b=b1")
        await one.control.add_partitions("a", {"a2": {}})
        await one.control.add_partitions("b", {"b2": {}})
        await one.advance(1)
        assert await live(one, "a") == {"a1", "a2"} and await live(one, "b") == {"b1", "b2"}
        await one.advance(100)
        assert await live(one, "a") == {"a2"} and await live(one, "b") == {"b2"}


@pytest.mark.parametrize("several", [False, True], ids=["keys", "combinations"])
async def test_a_run_with_steps_of_many_keys_holds_them(tmp_path: Path, several: bool) -> None:
    keys = DynamicPartitions("keys", keep=2)

    @asset(partitions=MultiPartitions(key=keys, side=StaticPartitions(["x"])) if several else keys)
    def each() -> int:
        return 1

    async with rig(tmp_path, [each], duration=_long, workers=1) as one:
        await one.control.add_partitions("keys", {"k1": {}, "k2": {}})
        await one.control.begin_backfill(BackfillRequest(("each",), "all", single_run=True))
        await one.control.add_partitions("keys", {"k3": {}, "k4": {}})
        await one.advance(1)
        assert await live(one) == {"k1", "k2", "k3", "k4"}
        await one.advance(300)
        assert await one.states() == ["succeeded"] and len(await one.events("materialized")) == 2
        assert await live(one) == {"k3", "k4"}


def _long(step: StepToRun) -> float:
    return 50.0


async def test_a_key_that_goes_between_the_look_and_the_deletion_is_not_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path, _plant(3)) as one:
        for key in ("k1", "k2", "k3"):
            await one.control.add_partitions("keys", {key: {}})
            await one.advance(1)
        write = one.store.write

        async def late(transaction: Any, **how: Any) -> Any:
            if getattr(transaction, "func", None) is retire:
                monkeypatch.undo()
                await one.control.delete_partitions("keys", ["k3"])
            return await write(transaction, **how)

        monkeypatch.setattr(one.store, "write", late)
        await one.control.add_partitions("keys", {"k4": {}})
        await one.advance(10)
        assert await live(one) == {"k1", "k2", "k4"}
        await one.control.add_partitions("keys", {"k5": {}})
        await one.advance(10)
        assert await live(one) == {"k2", "k4", "k5"}


async def test_a_run_that_ends_while_it_is_looked_at_holds_its_key_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path, _plant(1), duration=_long) as one:
        await one.control.add_partitions("keys", {"old": {}})
        await one.control.materialize(["each"], key="old")
        await one.advance(1)
        read = one.store.read

        async def slow(query: Any) -> Any:
            found = await read(query)
            if getattr(query, "func", None) is look:
                monkeypatch.undo()
                assert found.held
                await one.control.cancel(1)
                while one.engine.launcher.running:
                    await asyncio.sleep(0)
            return found

        monkeypatch.setattr(one.store, "read", slow)
        await one.control.add_partitions("keys", {"young": {}})
        await one.settle()
        assert await live(one) == {"young"}


async def test_the_end_of_a_run_costs_a_look_at_its_own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rig(tmp_path, _plant(100), duration=_long, workers=100) as one:
        await one.control.add_partitions("keys", {f"k{number}": {} for number in range(100)})
        for number in range(100):
            await one.control.materialize(["each"], key=f"k{number}")
        await one.control.add_partitions("keys", {f"young{number}": {} for number in range(100)})
        await one.settle()
        there = one.engine.instruments.in_force.partitions.sets
        assert len(there.named("keys")) == 200
        write, counted = one.store.write, list[int]()

        async def counting(transaction: Any, **how: Any) -> Any:
            if getattr(transaction, "func", None) is retire:
                counted.append(len(transaction.keywords["numbers"]))
            return await write(transaction, **how)

        monkeypatch.setattr(one.store, "write", counting)
        await one.advance(100)
        assert list(there.named("keys")) == list(range(101, 201))
        assert sum(counted) == 100, "each of them once"


async def test_a_piece_counts_the_combinations_of_its_keys(tmp_path: Path) -> None:
    def plant(keep: Any) -> list[object]:
        keys = DynamicPartitions("keys", keep=keep)
        several = MultiPartitions(
            key=keys, region=StaticPartitions([f"r{number}" for number in range(100)]), name="all"
        )

        @asset(partitions=several, automation=AutomationCondition.missing())
        def cube() -> int:
            return 1

        return [cube]

    async with rig(tmp_path, plant(None)) as one:
        await one.control.add_partitions("keys", {f"k{number}": {} for number in range(12)})
        await one.settle()
        assert len(one.engine.instruments.in_force.partitions.sets.named("all")) == 1200
        await one.advance(2000)
    async with rig(tmp_path, plant(1)) as one:
        gone: dict[int, int] = {}
        for event in await one.events("partition_deleted"):
            gone[event.txn] = gone.get(event.txn, 0) + len(event.numbers)
        assert sum(gone.values()) == 11 * 101
        assert sorted(gone.values()) == [303, 404, 404]


# --- how it is written ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "age", "count"),
    [
        ("30d", 30 * DAY, None),
        (timedelta(hours=1), HOUR, None),
        (7, None, 7),
        (Keep(age="1h", count=2), HOUR, 2),
        (Keep(count=2), None, 2),
    ],
)
def test_it_is_told_as_plain_data(keep: Any, age: float | None, count: int | None) -> None:
    one = DynamicPartitions("keys", keep=keep)
    assert one.keep == Keep(age=age, count=count)
    both = Definitions(partitions=(one, MultiPartitions(a=one, b=StaticPartitions(["x"]))))
    adapter = TypeAdapter(Definitions)
    assert adapter.validate_json(adapter.dump_json(both)) == both


@pytest.mark.parametrize("keep", [0, -1, True, "30 days", "0s", 1.5, [], timedelta(0), ""])
def test_what_cannot_be_is_refused_with_a_remedy(keep: Any) -> None:
    with pytest.raises(DefinitionError, match=r"DynamicPartitions\('keys'\): keep") as error:
        DynamicPartitions("keys", keep=keep)
    assert error.value.hint


@pytest.mark.parametrize("options", [{}, {"count": 0}, {"age": "soon"}, {"age": 3}, {"count": "7"}])
def test_a_keep_that_cannot_be_is_refused(options: Any) -> None:
    with pytest.raises(DefinitionError) as error:
        Keep(**options)
    assert error.value.hint
