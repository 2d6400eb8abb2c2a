"""Versions of data and code, from a function's word to who is woken by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import AutomationCondition, DynamicPartitions, Report, asset, sensor
from freshet.definitions.graph import Definitions
from freshet.engine.clock import SimulatedClock
from freshet.store.definitions import register_definitions
from freshet.store.records import ReportedMaterialization
from freshet.store.store import Store

pytestmark = pytest.mark.anyio
C = AutomationCondition
FOLLOWS = C.any_deps_match(C.data_version_changed()).since_last_handled() & ~C.in_progress()


def _chain(said: list[Any], values: list[Any]) -> list[Any]:
    """`raw` makes and says what comes next; `clean` follows what is another."""

    @asset
    def raw(ctx: Any) -> Any:
        if said and (version := said.pop(0)) is not None:
            ctx.data_version(version)
        return values.pop(0)

    @asset(automation=FOLLOWS)
    def clean(raw: Any) -> int:
        return len(str(raw))

    @asset(automation=FOLLOWS)
    def total(clean: int) -> int:
        return clean

    return [raw, clean, total]


async def _made(one: Rig, times: int, asset_name: str = "raw") -> list[tuple[int, int]]:
    """How many runs of `clean` and `total` there were after each run."""
    found: list[tuple[int, int]] = []
    for _ in range(times):
        await one.control.materialize([asset_name])
        await one.settle()
        steps = [step for run in await one.runs() for step in run.steps if step.state == "succeeded"]
        found.append((sum(step.name == "clean" for step in steps), sum(step.name == "total" for step in steps)))
    return found


async def test_unchanged_data_does_not_wake_who_asks_for_changed_data(tmp_path: Path) -> None:
    async with rig(tmp_path, _chain([], [[1], [1], [2], [1], [1]])) as one:
        assert await _made(one, 5) == [(1, 1), (1, 1), (2, 1), (3, 1), (3, 1)], "its length stays, too"
        same = [bool(event.data["same"]) for event in await one.events("materialized") if "same" in event.data]
        assert len(same) == 4 and all(same), "raw twice, clean twice"


async def test_what_the_function_says_counts_and_not_what_it_gives(tmp_path: Path) -> None:
    async with rig(tmp_path, _chain(["a", "a", "b", None], [[1], [2], [2], [2]])) as one:
        assert [clean for clean, _ in await _made(one, 4)] == [1, 1, 2, 3]
        versions = [event.data["version"] for event in await one.events("materialized") if event.asset == "raw"]
        assert versions[:3] == ["a", "a", "b"] and len(versions[3]) == 32


async def test_of_nothing_nothing_is_known(tmp_path: Path) -> None:
    async with rig(tmp_path, _chain([], [None, None, None])) as one:
        assert [clean for clean, _ in await _made(one, 3)] == [1, 2, 3]


async def test_each_partition_has_a_version_of_its_own(tmp_path: Path) -> None:
    keys = DynamicPartitions("keys")

    @asset(partitions=keys)
    def raw() -> int:
        return 1

    @asset(partitions=keys, automation=FOLLOWS)
    def clean(raw: int) -> int:
        return raw

    async with rig(tmp_path, [raw, clean]) as one:
        await one.control.add_partitions("keys", {"a": {}, "b": {}})
        for key in ("a", "b", "a", "b"):
            await one.control.materialize(["raw"], key=key)
            await one.settle()
        assert [run.key for run in await one.runs("clean")] == ["a", "b"]
        await one.control.delete_partitions("keys", ["a"])
        await one.control.add_partitions("keys", {"a": {}})
        await one.control.materialize(["raw"], key="a")
        await one.settle()
        assert [run.key for run in await one.runs("clean")] == ["a", "b", "a"], "another generation, a first version"


@pytest.mark.parametrize("wrong", ["", "x" * 65, "tab\t", 7])
async def test_what_is_no_version_fails_the_step_and_says_why(tmp_path: Path, wrong: Any) -> None:
    @asset
    def raw(ctx: Any) -> int:
        ctx.data_version(wrong)
        return 1

    async with rig(tmp_path, [raw]) as one:
        await one.control.materialize(["raw"])
        await one.settle()
        (run,) = await one.runs()
        error: Any = run.steps[0].error
        assert run.state == "failed" and error["type"] == "InvalidName" and "ctx.data_version()" in error["message"]


async def test_a_report_may_say_its_version(tmp_path: Path) -> None:
    told = ["etag-1", "etag-1", None, "etag-2", "etag-2"]

    @sensor(interval="1m")
    def looks(ctx: Any) -> Any:
        return Report("source", data_version=told.pop(0)) if told else None

    @asset
    def source() -> None: ...

    @asset(deps=["source"], automation=FOLLOWS)
    def copied() -> int:
        return 1

    async with rig(tmp_path, [looks, source, copied]) as one:
        counts = [len(await one.runs("copied"))]
        for _ in range(4):
            await one.advance(60)
            counts.append(len(await one.runs("copied")))
        assert counts == [1, 1, 2, 3, 3]


async def test_a_report_of_what_freshet_makes_leaves_its_value_to_those_below(tmp_path: Path) -> None:
    async with rig(tmp_path, _chain([], [["kept"], ["anew"]])) as one:
        assert await _made(one, 1) == [(1, 1)]
        await one.control.report_made(ReportedMaterialization("raw"))
        await one.settle()
        below = [step for run in await one.runs() for step in run.steps if step.name == "clean"]
        assert [step.state for step in below] == ["succeeded", "succeeded"], "it reads what raw kept"


async def test_a_report_of_what_is_no_version_is_the_sensors_failure(tmp_path: Path) -> None:
    @sensor(interval="1m")
    def looks(ctx: Any) -> Any:
        return Report("source", data_version="")

    @asset
    def source() -> None: ...

    async with rig(tmp_path, [looks, source]) as one:
        (looking,) = one.control.sensors()
        assert "Report(data_version)" in str(looking.last_error)
        assert await one.events("materialized") == []


# --- code ----------------------------------------------------------------------------------------------------


def _recoded(version: str) -> list[Any]:
    """`raw` of this version; `again` is made again when that changes, and `below` when what is above it does."""

    @asset(version=version, automation=C.code_version_changed())
    def raw() -> str:
        return version

    @asset(automation=C.any_deps_match(C.code_version_changed()) & ~C.in_progress())
    def below(raw: str) -> str:
        return raw

    return [raw, below]


async def _asked(one: Rig) -> tuple[int, int]:
    """How many runs there were with a step of each."""
    steps = [step.name for run in await one.runs() for step in run.steps]
    return steps.count("raw"), steps.count("below")


async def test_other_code_is_told_once_through_restarts(tmp_path: Path) -> None:
    clock, expected = SimulatedClock(), (0, 0, 1, 1, 2)
    made = "SELECT s.code_version FROM asset_state s JOIN assets a ON a.id = s.asset_id WHERE a.name = 'raw'"
    for life, version in enumerate(("1", "1", "2", "2", "1")):
        async with rig(tmp_path, _recoded(version), clock=clock, stop=life % 2 == 0) as one:
            assert await _asked(one) == (expected[life],) * 2
            assert len(await one.events("code_changed")) == expected[life]
            shown = await one.store.read(lambda db: db.execute(made).fetchall())
            assert shown == ([(version,)] if expected[life] else [])


async def test_a_crash_between_the_registration_and_the_look_loses_nothing(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with rig(tmp_path, _recoded("1"), clock=clock) as one:
        assert await _asked(one) == (0, 0)
    store = await Store.open(tmp_path / "freshet.db", now=clock.now())
    edited = Definitions(assets=tuple(one.spec for one in _recoded("2")), version="v2")
    await store.write(lambda db: register_definitions(db, edited, clock.now()))
    await store.close()
    for _ in range(3):
        async with rig(tmp_path, _recoded("2"), clock=clock, stop=False) as one:
            assert await _asked(one) == (1, 1) and len(await one.events("code_changed")) == 1


async def test_all_partitions_are_made_again_by_other_code(tmp_path: Path) -> None:
    keys, clock = DynamicPartitions("keys"), SimulatedClock()

    def things(version: str) -> list[Any]:
        @asset(partitions=keys, version=version, automation=C.code_version_changed() & ~C.missing())
        def raw() -> str:
            return version

        return [raw]

    async with rig(tmp_path, things("1"), clock=clock) as one:
        await one.control.add_partitions("keys", {"a": {}, "b": {}, "c": {}})
        for key in ("a", "b"):
            await one.control.materialize(["raw"], key=key)
        await one.settle()
    async with rig(tmp_path, things("2"), clock=clock) as one:
        assert [run.key for run in await one.runs()] == ["a", "b", "a", "b"]
