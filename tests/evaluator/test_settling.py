"""What a large look has put into its ledger goes into the cache a piece at a time: the loop turns in between."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from freshet import Sensor, SensorContext, sensor
from freshet.host.evaluator.happenings import EventDesk
from freshet.host.evaluator.holder import Holder
from freshet.host.evaluator.inbox import Inbox
from freshet.host.evaluator.ledgers import Ledgers
from freshet.host.evaluator.looks import Looks
from freshet.host.evaluator.messages import PIECE
from freshet.host.evaluator.resources import SensorResources
from freshet.host.evaluator.tick import Tick

pytestmark = pytest.mark.anyio

COUNT = 5 * PIECE
lengths = list[int]()


@sensor
async def at_its_end(ctx: SensorContext) -> None:
    _change(ctx)


@sensor
async def by_a_checkpoint(ctx: SensorContext) -> None:
    _change(ctx)

    async def watch() -> None:
        while True:
            lengths.append(len(ctx.ledger))
            await asyncio.sleep(0)

    watching = asyncio.ensure_future(watch())
    await ctx.checkpoint()
    watching.cancel()
    ctx.ledger.add("the last one")


def _change(ctx: SensorContext) -> None:
    """Remove what an earlier look put there, and put as much."""
    if first := "0" in ctx.ledger:
        for number in range(COUNT):
            ctx.ledger.remove(str(number))
    for number in range(COUNT):
        ctx.ledger.add(f"{'new ' if first else ''}{number}")


@sensor
async def counts(ctx: SensorContext) -> None:
    ctx.cursor = len(ctx.ledger)


def _nothing(*_: Any) -> None:
    """Nobody listens."""


class Side:
    """An evaluator's looks without its socket."""

    def __init__(self, one: Sensor) -> None:
        loop = asyncio.get_running_loop()
        self.sent = list[list[Any]]()
        words = memoryview(bytearray(4096)).cast("Q")
        ledgers = Ledgers(loop, lambda _: None)
        inbox, events = Inbox(loop, self.sent.append), EventDesk(loop, self.sent.append)
        self.looks = Looks(loop, words, self.sent.append, ledgers, inbox, events, SensorResources({}, loop))
        self.holder = Holder(one, 1, woken=_nothing, log=_nothing)
        self.growth = list[int]()

    def begin(self, number: int, revision: int) -> None:
        order = ["tick", number, self.holder.name, None, revision, None, time.time(), 60.0, False]
        self.looks.begin(Tick(self.holder, order))

    async def said(self, number: int, count: int) -> None:
        """Wait until it has sent the outcome of a look, of so many ledger items."""
        while sum(self.items(message) for message in self.sent if message[1] == number) < count:
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    @staticmethod
    def items(message: list[Any]) -> int:
        body: dict[str, Any] = message[-1] or {}
        return len(body.get("put", ["", []])[1]) + len(body.get("remove", "")) // 32

    async def turns(self, revision: int) -> int:
        """How often the loop turns until the cache stands at `revision`. `growth`: by how many items, in each turn."""
        turns, before = 0, len(self.holder.cache.entries)
        while self.holder.cache.revision != revision:
            await asyncio.sleep(0)
            turns += 1
            now = len(self.holder.cache.entries)
            self.growth.append(abs(now - before))
            before = now
        return turns


async def test_a_large_outcome_is_settled_while_the_loop_turns() -> None:
    side = Side(at_its_end)
    for number, changes in ((1, COUNT), (2, 2 * COUNT)):
        side.begin(number, number - 1)
        await side.said(number, changes)
        side.looks.committed(number, True, number, None)
        assert side.holder.cache.revision != number, "not before all of it is there"
        assert await side.turns(number) >= changes // PIECE
        assert max(side.growth) <= PIECE
        assert (side.holder.cache.revision, len(side.holder.cache.entries)) == (number, COUNT)


async def test_a_look_that_begins_meanwhile_waits_for_it() -> None:
    side = Side(at_its_end)
    side.begin(1, 0)
    await side.said(1, COUNT)
    side.looks.committed(1, True, 1, None)
    side.holder.sensor = counts
    side.begin(2, 1)
    while side.sent[-1][:2] != ["end", 2]:
        await asyncio.sleep(0)
    assert side.sent[-1][-1] == {"cursor": [COUNT]}
    assert not [message for message in side.sent if message[0] == "load"], "it is not loaded again"


async def test_a_look_goes_on_behind_a_large_checkpoint_and_sees_one_ledger_all_the_while() -> None:
    side = Side(by_a_checkpoint)
    for number in (1, 3):
        lengths.clear()
        side.begin(number, number - 1)
        await side.said(number, COUNT)
        side.looks.committed(number, True, number, number + 1)
        assert await side.turns(number) >= COUNT // PIECE
        while side.sent[-1][:2] != ["end", number + 1]:
            await asyncio.sleep(0)
        assert max(side.growth) <= PIECE
        assert set(lengths) <= {COUNT, COUNT + 1}
        assert len(set(lengths)) == 1
        side.looks.committed(number + 1, True, number + 1, None)


async def test_what_was_settled_in_part_when_a_look_ran_out_of_time_is_settled_whole() -> None:
    side = Side(by_a_checkpoint)
    side.begin(1, 0)
    await side.said(1, COUNT)
    side.looks.committed(1, True, 1, 2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert side.holder.settling is not None
    side.looks.cancel(2)
    await side.turns(1)
    assert (side.holder.cache.revision, len(side.holder.cache.entries)) == (1, COUNT)
    assert [message[2] for message in side.sent if message[:2] == ["end", 2]] == ["abandoned"]
