"""A ledger between store and evaluator: a change counts once it is committed, and survives the evaluator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.evaluator.harness import World, world

pytestmark = pytest.mark.anyio


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as one:
        yield one


async def test_a_committed_change_is_seen_by_the_next_look_without_a_load(made: World) -> None:
    await made.tick("commanded", "add a=1", "add b=1")
    assert (await made.tick("commanded", "count")).cursor == 2
    assert (await made.tick("commanded", "seen a=1")).cursor is True
    assert (await made.tick("commanded", "seen a=2")).cursor is False
    assert made.ledger_loads == 0


async def test_a_refused_change_is_forgotten(made: World) -> None:
    made.refuse.add("commanded")
    await made.tick("commanded", "add a=1")
    made.refuse.clear()
    assert (await made.tick("commanded", "count")).cursor == 0


async def test_a_change_from_elsewhere_is_loaded(made: World) -> None:
    await made.tick("commanded", "many 5000")
    made.ledgers["commanded"].popitem()
    made.revisions["commanded"] += 1
    assert (await made.tick("commanded", "count")).cursor == 4999
    assert made.ledger_loads == 1


async def test_notes_stand_until_the_ledger_is_loaded_anew(made: World) -> None:
    await made.tick("commanded", "add a=1", "note x")
    await made.tick("commanded", "remove a", "add b=1")
    made.refuse.add("commanded")
    await made.tick("commanded", "add c=1")
    made.refuse.clear()
    assert (await made.tick("commanded", "noted")).cursor == ["x"]
    made.revisions["commanded"] += 1
    assert (await made.tick("commanded", "noted")).cursor == []


async def test_a_new_evaluator_loads_the_ledger(made: World) -> None:
    await made.tick("commanded", "many 20000")
    made.zygote.kill(made.pool.status()["main"])
    assert (await made.tick("commanded", "count")).cursor == 20_000
    assert made.ledger_loads == 1


@pytest.mark.parametrize("sensor", ["commanded", "commanded_in_thread"])
async def test_what_is_gone_comes_back_as_text(made: World, sensor: str) -> None:
    await made.tick(sensor, "add a", "add b", "add c")
    assert (await made.tick(sensor, "absent b,x")).cursor == ["a", "c"]


async def test_many_absent_keys_are_fetched_while_pings_are_answered(made: World) -> None:
    await made.tick("commanded", "many 30000")
    end = await made.tick("commanded", "absent item-0")
    assert len(end.cursor) == 29_999
    assert made.stalls == []


@pytest.mark.parametrize("sensor", ["commanded", "commanded_in_thread"])
async def test_a_checkpoint_commits_the_ledger_so_far(made: World, sensor: str) -> None:
    await made.tick(sensor, "add a", "checkpoint", "add b")
    first, last = made.commits
    assert [entry.key for entry in first.ledger.put] == ["a"]
    assert [entry.key for entry in last.ledger.put] == ["b"]
    assert (await made.tick(sensor, "absent -")).cursor == ["a", "b"]
    assert made.ledger_loads == 0


async def test_a_dry_run_leaves_no_trace(made: World) -> None:
    end = await made.tick("commanded", "add a", "checkpoint", dry_run=True)
    assert [entry.key for entry in end.ledger.put] == ["a"]
    assert (await made.tick("commanded", "count")).cursor == 0
