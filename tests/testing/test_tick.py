"""`freshet.testing.tick`: what a plugin author sees of one look."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from freshet import AddPartitions, RetryLater, RunRequest, Sensor, Skip, sensor
from freshet.testing import tick


@sensor
async def counting(ctx: Any) -> AsyncIterator[RunRequest]:
    ctx.cursor = (ctx.cursor or 0) + 1
    yield RunRequest("target", run_key=str(ctx.cursor))


@sensor
def listing(ctx: Any) -> Iterator[object]:
    for key in ctx.hints or ("a", "b"):
        if not ctx.ledger.seen(key, "1"):
            ctx.ledger.add(key, "1")
            yield AddPartitions("files", [key])
            ctx.checkpoint_sync()
    for key in ctx.ledger.absent(["a", "b", "c"]):
        ctx.ledger.remove(key)
        yield Skip(f"{key} is gone")


def test_the_cursor_goes_from_tick_to_tick() -> None:
    first = tick(counting)
    second = tick(counting, first.cursor)
    assert (first.cursor, second.cursor) == (1, 2)
    assert (first.run_keys, second.run_keys) == (["1"], ["2"])


def test_the_ledger_goes_from_tick_to_tick() -> None:
    first = tick(listing)
    assert [delta.add for delta in first.partitions] == [(("a", {}),), (("b", {}),)]
    assert first.checkpoints == 2
    second = tick(listing, hints=["a", "c"], ledger=first.ledger)
    assert [delta.add for delta in second.partitions] == [(("c", {}),)]
    assert sorted(second.ledger) == ["a", "b", "c"]


def test_a_ledger_may_be_given_by_keys_or_versions() -> None:
    assert tick(listing, ledger={"a": "1", "b": "0", "x": ""}).partitions[0].add == (("b", {}),)
    ticked = tick(listing, ledger=["x"])
    assert ticked.skip == "x is gone"
    assert "x" not in ticked.ledger
    assert len(ticked.ledger) == 2


def test_time_is_given() -> None:
    @sensor
    async def telling(ctx: Any) -> None:
        ctx.cursor = ctx.now.isoformat()

    assert tick(telling, now=datetime(2026, 3, 29, 1, tzinfo=UTC)).cursor == "2026-03-29T01:00:00+00:00"


def test_what_a_sensor_raises_is_raised() -> None:
    @sensor
    def patient(ctx: Any) -> None:
        raise RetryLater("busy", after="5s")

    @sensor
    async def wrong(ctx: Any) -> str:
        return "abc"

    with pytest.raises(RetryLater, match="busy"):
        tick(patient)
    with pytest.raises(TypeError, match=r"sensor 'wrong' yielded 'abc' \(str\)"):
        tick(wrong)


def test_a_sensor_is_opened_and_closed() -> None:
    calls: list[str] = []

    class Opening(Sensor):
        """Notes what is called."""

        async def open(self) -> None:
            calls.append("open")

        def close(self) -> None:
            calls.append("close")

        async def evaluate(self, ctx: Any) -> None:
            calls.append("evaluate")

    tick(Opening("opening"))
    assert calls == ["open", "evaluate", "close"]


@pytest.mark.anyio
async def test_it_works_where_a_loop_runs() -> None:
    assert tick(counting).cursor == 1
    with pytest.raises(ValueError, match="the cursor is nan"):
        tick(_broken)


@sensor
async def _broken(ctx: Any) -> None:
    ctx.cursor = float("nan")
