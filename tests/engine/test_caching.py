"""What was made of the same inputs by the same code is not made again, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import All, CacheKey, Dep, DynamicPartitions, asset
from freshet.errors import UnknownName
from freshet.store.caching import KEPT
from freshet.store.queries import asset_summaries

pytestmark = pytest.mark.anyio
DAY = 86_400


async def make(one: Rig, name: str, key: str | None = None) -> Any:
    """The run that was asked for, at its end."""
    (run_id,) = await one.control.materialize([name], key=key)
    await one.settle()
    (run,) = [run for run in await one.runs() if run.id == run_id]
    assert run.state == "succeeded", run
    return run.steps[0]


def chain(given: list[Any], made: list[str], **rule: Any) -> list[Any]:
    """`raw` gives what comes next; `clean` is cached, and notes what it made; `below` too."""

    @asset
    def raw() -> Any:
        return given.pop(0)

    @asset(cache=CacheKey(**rule))
    def clean(ctx: Any, raw: Any) -> list[Any]:
        made.append(f"clean {raw}")
        ctx.metadata(of=raw)
        return [raw, len(made)]

    @asset(cache="1d")
    def below(clean: list[Any]) -> str:
        made.append(f"below {clean[0]}")
        return str(clean[0])

    return [raw, clean, below]


async def test_the_same_inputs_make_nothing_again_and_what_was_made_is_recorded_by_reference(tmp_path: Path) -> None:
    made: list[str] = []
    async with rig(tmp_path, chain([1, 1, 2, 1], made)) as one:
        for _ in range(4):
            await make(one, "raw")
            await make(one, "clean")
            await make(one, "below")
        assert made == ["clean 1", "below 1", "clean 2", "below 2"], "the third and the first are known"
        runs = await one.runs("clean")
        assert [run.steps[0].cached for run in runs] == [None, runs[0].id, None, runs[0].id]
        assert [run.steps[0].metadata for run in runs] == [{"of": 1}, {"of": 1}, {"of": 2}, {"of": 1}]
        events = [event for event in await one.events("materialized") if event.asset == "clean"]
        assert [event.data.get("cached") for event in events] == [None, {"run": runs[0].id}, None, {"run": runs[0].id}]
        assert [event.data.get("same") for event in events] == [None, True, None, None]
        assert events[3].data["version"] == events[0].data["version"] != events[2].data["version"]
        assert len(list(tmp_path.glob("values/clean/**/*.json"))) == 2, "written once"


@pytest.mark.parametrize(("rule", "times"), [({"inputs": False}, 1), ({}, 2), ({"code": False}, 2)])
async def test_inputs_count_unless_told_otherwise(tmp_path: Path, rule: dict[str, Any], times: int) -> None:
    made: list[str] = []
    async with rig(tmp_path, chain([1, 2], made, **rule)) as one:
        for _ in range(2):
            await make(one, "raw")
            await make(one, "clean")
    assert len(made) == times


@pytest.mark.parametrize(("rule", "times"), [({"code": False}, 1), ({}, 2)])
async def test_other_code_makes_it_again_unless_told_otherwise(
    tmp_path: Path, rule: dict[str, Any], times: int
) -> None:
    made: list[str] = []

    def version(text: str) -> Any:
        @asset(cache=CacheKey(**rule), version=text)
        def sales() -> int:
            made.append(text)
            return 1

        return sales

    for text in ("one", "two"):
        async with rig(tmp_path, [version(text)]) as one:
            await make(one, "sales")
            (row,) = await one.store.read(asset_summaries)
            assert row.versions.code == text, "those who follow code have nothing to do"
    assert len(made) == times


async def test_what_is_too_old_is_made_again_and_a_hit_does_not_make_it_younger(tmp_path: Path) -> None:
    made: list[float] = []

    @asset(cache="1d")
    def rates() -> int:
        made.append(one.clock.now())
        return len(made)

    async with rig(tmp_path, [rates]) as one:
        for _ in range(5):
            await make(one, "rates")
            await one.advance(DAY / 2)
        assert [later - made[0] for later in made] == [0, DAY, 2 * DAY]


async def test_each_partition_for_itself_with_its_metadata_and_generation(tmp_path: Path) -> None:
    files, made = DynamicPartitions("files"), list[str]()

    @asset(partitions=files, cache=CacheKey())
    def rows(ctx: Any) -> int:
        made.append(f"{ctx.partition.key} {ctx.partition.metadata['size']}")
        return len(made)

    async def twice(key: str) -> None:
        await make(one, "rows", key)
        await make(one, "rows", key)

    async with rig(tmp_path, [rows]) as one:
        await one.control.add_partitions("files", {"a": {"size": 1}, "b": {"size": 1}})
        await twice("a")
        await twice("b")
        await one.control.add_partitions("files", {"a": {"size": 2}})
        await twice("a")
        await one.control.delete_partitions("files", ["a"])
        await one.control.add_partitions("files", {"a": {"size": 2}})
        await twice("a")
        assert made == ["a 1", "b 1", "a 2", "a 2"]


async def test_many_partitions_of_an_upstream_count_each(tmp_path: Path) -> None:
    files, made, given = DynamicPartitions("files"), list[dict[str, int]](), {"a": 1, "b": 2}

    @asset(partitions=files)
    def rows(ctx: Any) -> int:
        return given[ctx.partition.key]

    @asset(cache="1d")
    def total(rows: dict[str, int]) -> int:
        made.append(dict(rows))
        return sum(rows.values())

    @asset(deps=[Dep("rows", mapping=All())], cache="1d")
    def report() -> None:
        made.append({})

    async with rig(tmp_path, [rows, total, report]) as one:
        await one.control.add_partitions("files", {"a": {}, "b": {}})
        for key in ("a", "b", "a"):
            await make(one, "rows", key)
            await make(one, "total")
            await make(one, "report")
        assert made == [{"a": 1}, {}, {"a": 1, "b": 2}, {}], "the same value of a again is nothing new"
        given["b"] = 3
        await make(one, "rows", "b")
        await make(one, "total")
        await make(one, "report")
        assert made[4:] == [{"a": 1, "b": 3}, {}]


@pytest.mark.parametrize(("versions", "times"), [([None, None], 2), (["v", "v"], 1), (["v", "w"], 2)])
async def test_an_upstream_that_keeps_no_value_counts_by_its_version(
    tmp_path: Path, versions: list[str | None], times: int
) -> None:
    made: list[int] = []

    @asset(io="none")
    def table(ctx: Any) -> None:
        if (version := versions.pop(0)) is not None:
            ctx.data_version(version)

    @asset(cache="1d")
    def taken(table: None) -> int:
        made.append(1)
        return 1

    @asset(deps=["table"], cache="1d")
    def after() -> int:
        made.append(2)
        return 1

    async with rig(tmp_path, [table, taken, after]) as one:
        for _ in range(2):
            await make(one, "table")
            await make(one, "taken")
            await make(one, "after")
    assert made == [1, 2] * times


async def test_what_is_forgotten_is_made_again_also_what_was_under_way(tmp_path: Path) -> None:
    made: list[str] = []
    files = DynamicPartitions("files")

    @asset(partitions=files, cache=CacheKey())
    def rows(ctx: Any) -> str:
        made.append(ctx.partition.key)
        return made[-1]

    async with rig(tmp_path, [rows], duration=lambda step: 10.0) as one:
        await one.control.add_partitions("files", {"a": {}, "b": {}})
        for key in ("a", "b"):
            await one.control.materialize(["rows"], key=key)
            await one.advance(20)
        assert await one.control.clear_cache("rows", "a") == 1
        for key in ("a", "b"):
            await one.control.materialize(["rows"], key=key)
            await one.advance(20)
        assert made == ["a", "b", "a"]
        assert await one.control.clear_cache("rows") == 2
        await one.control.materialize(["rows"], key="a")
        await one.advance(5)
        assert await one.control.clear_cache("rows") == 0
        await one.advance(20)
        await one.control.materialize(["rows"], key="a")
        await one.advance(20)
        assert made == ["a", "b", "a", "a", "a"], "what began before is not kept"
        with pytest.raises(UnknownName, match="has no partition 'c'"):
            await one.control.clear_cache("rows", "c")


async def test_a_value_that_is_gone_is_made_again(tmp_path: Path) -> None:
    made: list[str] = []
    async with rig(tmp_path, chain([1], made)) as one:
        await make(one, "raw")
        await make(one, "clean")
        (file,) = tmp_path.glob("values/clean/**/*.json")
        file.unlink()
        assert (await make(one, "clean")).cached is None
        assert (await make(one, "clean")).cached is not None
        assert made == ["clean 1"] * 2


async def test_a_failure_is_not_kept_and_the_next_attempt_looks_again(tmp_path: Path) -> None:
    left = [True]

    @asset(cache="1d", retries=1)
    def sales() -> int:
        if left and left.pop():
            raise ValueError("once")
        return 1

    async with rig(tmp_path, [sales]) as one:
        await one.control.materialize(["sales"])
        await one.advance(60)
        assert await one.states() == ["succeeded"]
        assert (await make(one, "sales")).cached == 1


async def test_no_more_than_so_many_are_known_of_a_partition(tmp_path: Path) -> None:
    made: list[str] = []
    async with rig(tmp_path, chain([*range(KEPT + 2), 0, KEPT + 1], made)) as one:
        for _ in range(KEPT + 4):
            await make(one, "raw")
            await make(one, "clean")
            await one.advance(1)
        assert made[-2:] == [f"clean {KEPT + 1}", "clean 0"], "the first is forgotten, the last is not"
        assert await one.control.clear_cache("clean") == KEPT
