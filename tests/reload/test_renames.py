"""What is declared with `was=` goes on as it was, whatever is under way under the old name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.reload.edits import edited, load

from freshet import AutomationCondition as C
from freshet import DynamicPartitions, Pool, asset
from freshet.definitions.limits import Limits, PoolLimit
from freshet.engine.backfill.select import BackfillRequest
from freshet.store import queries
from freshet.store.records import StepToRun
from freshet.store.renaming import carry_names, names_to_carry

pytestmark = pytest.mark.anyio

batches = DynamicPartitions("batches")


def made(name: str, was: str | None = None, **options: Any) -> Any:
    @asset(name=name, was=was, **options)
    def one() -> int:
        return 1

    return one


def _half_a_minute(step: StepToRun) -> float:
    return 30.0


async def test_a_backfill_goes_on_under_the_new_name(tmp_path: Path) -> None:
    options: dict[str, Any] = {"partitions": batches}
    async with edited(
        tmp_path, made("old", **options), made("below", deps=["old"], **options), duration=_half_a_minute
    ) as one:
        await one.control.add_partitions("batches", {f"{number:02}": {} for number in range(40)})
        request = BackfillRequest(assets=("old",), select="all", downstream=True)
        backfill = (await one.control.begin_backfill(request)).row.id
        await one.advance(45)
        assert await load(one, made("new", "old", **options), made("below", deps=["new"], **options)) == "changed"
        await one.advance(4000)
        view = await one.control.backfill(backfill)
        assert view.row.state == "succeeded", view.row.error
        assert {each.asset: each.done for each in view.assets} == {"new": 40, "below": 40}
        assert one.control.asset_counts("new").materialized == 40
        assert set(await one.states("below")) == {"succeeded"}


async def test_a_step_that_waits_takes_its_pool_by_the_new_name(tmp_path: Path) -> None:
    async with edited(
        tmp_path,
        made("old", pool=Pool("db"), overlap="allow"),
        duration=_half_a_minute,
        workers=4,
        limits=Limits({"db": PoolLimit(1)}),
    ) as one:
        for _ in range(3):
            await one.control.materialize(["old"])
        await one.settle()
        assert await load(one, made("new", "old", pool=Pool("db"), overlap="allow")) == "changed"
        for number in range(1, 4):
            states = await one.states("new")
            assert sorted(states) == sorted(["succeeded"] * (number - 1) + ["started"] + ["queued"] * (3 - number))
            await one.advance(31)
        assert await one.states("new") == ["succeeded"] * 3


async def test_runs_of_one_asset_go_one_after_the_other_through_a_rename(tmp_path: Path) -> None:
    async with edited(tmp_path, made("old"), duration=_half_a_minute, workers=4) as one:
        for _ in range(2):
            await one.control.materialize(["old"])
        await one.settle()
        assert await load(one, made("new", "old")) == "changed"
        await one.control.materialize(["new"])
        await one.settle()
        assert sorted(await one.states("new")) == ["queued", "queued", "started"]
        await one.advance(95)
        assert await one.states("new") == ["succeeded"] * 3


CONDITIONS: dict[str, Callable[[str], C]] = {
    "of dependencies": lambda above: C.any_deps_match(C.newly_updated()).since(C.newly_handled()),
    "of an asset that it names": lambda above: C.asset_matches(above, C.newly_updated()).since(C.newly_handled()),
    "of a dependency that is allowed": lambda above: (
        C.any_deps_match(C.newly_updated()).allow(above).since(C.newly_handled())
    ),
    "above, by its own memory": lambda above: C.any_deps_match(C.newly_updated().since(C.newly_missing())),
}


@pytest.mark.parametrize("kind", CONDITIONS)
async def test_conditions_below_remember_what_they_have_seen(tmp_path: Path, kind: str) -> None:
    def graph(above: str, was: str | None = None) -> tuple[Any, ...]:
        # it waits for a gate that opens after the rename: what came before must not be forgotten
        waiting = CONDITIONS[kind](above) & C.asset_matches("gate", ~C.missing())
        return made(above, was), made("gate"), made("below", deps=[above], automation=waiting)

    async with edited(tmp_path, *graph("old")) as one:
        await one.control.materialize(["old"])
        await one.advance(10)
        assert await one.runs("below") == []
        assert await load(one, *graph("new", "old")) == "changed"
        await one.advance(10)
        assert await one.runs("below") == []
        await one.control.materialize(["gate"])
        await one.advance(10)
        assert await one.states("below") == ["succeeded"]
        assert await load(one, *graph("newer", "new")) == "changed"
        await one.advance(60)
        assert await one.states("below") == ["succeeded"], "what was answered is not answered again"


async def test_history_takes_the_new_name_piece_by_piece(tmp_path: Path) -> None:
    async with edited(tmp_path, made("old"), made("other")) as one:
        for _ in range(5):
            await one.control.materialize(["old"])
            await one.control.materialize(["other"])
            await one.settle()
        assert await load(one, made("new", "old"), made("other")) == "changed"
        await one.settle()
        store = one.engine.instruments.store
        assert not await store.read(names_to_carry)
        assert len(await store.read(partial(queries.runs, step="new"))) == 5
        assert len(await store.read(partial(queries.runs, step="other"))) == 5
        assert await load(one, made("newer", "new"), made("other")) == "changed"
        assert await load(one, made("newer"), made("other"), made("new")) == "changed"
        await one.control.materialize(["new"])
        await one.settle()
        assert len(await store.read(partial(queries.runs, target="newer"))) == 5
        assert len(await store.read(partial(queries.runs, target="new"))) == 1
        assert not await store.write(partial(carry_names, runs=1))
        await asyncio.sleep(0)
