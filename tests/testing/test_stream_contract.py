"""The contract of a sensor that is pushed to: its source keeps what it was given, and is read while it is open."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from freshet import SensorContext
from freshet.testing import assert_sensor_contract
from freshet_sensors import Message, StreamSensor


class Kept(StreamSensor):
    """Looks once all that is kept has been read, and so sees the same whenever it looks from the same place."""

    kept: list[str]

    async def messages(self, after: str | None) -> AsyncIterator[Message]:
        for key in self._behind(after):
            yield Message(key, {"n": key})
        self._read.set()
        await asyncio.Event().wait()

    def _behind(self, after: str | None) -> list[str]:
        return self.kept if after is None else self.kept[self.kept.index(after) + 1 :]

    async def open(self) -> None:
        self._read = asyncio.Event()
        self._reading = asyncio.create_task(self._listen())
        await asyncio.sleep(0)

    async def _listen(self) -> None:
        async for _ in self.wakes():
            pass

    async def close(self) -> None:
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading

    async def evaluate(self, ctx: SensorContext) -> AsyncIterator[Any]:
        memory: dict[str, Any] = ctx.cursor or {}
        self._position = (memory.get("after"),)  # as a look before this one would have asked for
        assert self._asked is not None
        self._asked.set()
        await self._read.wait()
        while self._feed is None or len(self._feed.waiting) < len(self._behind(self._position[0])):
            await asyncio.sleep(0)
        async for said in super().evaluate(ctx):
            yield said


@pytest.mark.parametrize("remember", [None, 5])
def test_a_stream_keeps_it(remember: int | None) -> None:
    stream = Kept("lines", target="load", batch=7, remember=remember)
    stream.kept = [f"m{number}" for number in range(30)]

    def arrive() -> list[str]:
        stream.kept += ["new", "newer"]
        return ["new"]

    found = assert_sensor_contract(stream, arrive=arrive)
    assert found.run_keys == ["lines:new", "lines:newer"]


def test_one_that_says_another_thing_each_time_does_not() -> None:
    class Hasty(Kept):
        """Says nothing of one message now and then."""

        looks = 0

        def admit(self, message: Message) -> Any:
            self.looks += 1
            return None if self.looks % 31 == 0 else super().admit(message)

    stream = Hasty("lines", target="load", batch=7)
    stream.kept = [f"m{number}" for number in range(30)]
    with pytest.raises(AssertionError, match="it differs"):
        assert_sensor_contract(stream)
