"""Who asks by hand may go away while the store commits: what is committed is published and launched all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import DynamicPartitions, asset
from freshet.engine.backfill.select import BackfillRequest

pytestmark = pytest.mark.anyio

KEYS = DynamicPartitions("keys")


@asset(partitions=KEYS)
def each() -> int:
    return 1


ASKED: dict[str, tuple[Callable[[Rig], Awaitable[Any]], list[int]]] = {
    "materialize": (lambda one: one.control.materialize(["each"], key="a"), [1]),
    "begin_backfill": (lambda one: one.control.begin_backfill(BackfillRequest(("each",), "all")), [1]),
    "add_partitions": (lambda one: one.control.add_partitions("keys", {"b": {}}), []),
}


@pytest.mark.parametrize("name", ASKED)
async def test_what_is_committed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    ask, made = ASKED[name]
    async with rig(tmp_path, [each]) as one:
        await one.control.add_partitions("keys", {"a": {}})
        write = one.store.write

        async def gone(transaction: Any, **how: Any) -> Any:
            monkeypatch.undo()
            asking.cancel()
            return await write(transaction, **how)

        monkeypatch.setattr(one.store, "write", gone)
        asking = asyncio.ensure_future(ask(one))
        with pytest.raises(asyncio.CancelledError):
            await asking
        await one.advance(10)
        assert [event.partition for event in await one.events("materialized")] == made
        known = one.engine.instruments.in_force.partitions.sets.named("keys")
        assert len(known) == len(await one.events("partition_added"))
        assert set(await one.states()) <= {"succeeded"} and one.engine.launcher.queue.in_use == 0
        if name == "begin_backfill":
            assert [view.row.state for view in await one.control.backfills()] == ["succeeded"]
