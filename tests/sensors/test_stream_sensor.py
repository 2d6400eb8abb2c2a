"""StreamSensor: what it reads, takes, commits, acknowledges and remembers. A source that the test speaks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
from tests.sensors.support import BATCHES, Killed, World

from freshet import DefinitionError, GiveUp, RetryLater, RunRequest
from freshet_sensors import Message, StreamSensor
from freshet_sensors import stream as stream_module

pytestmark = pytest.mark.anyio


class Source(StreamSensor):
    """Yields what is put; an exception that is put is raised, None ends the stream."""

    def __init__(self, **options: Any) -> None:
        given: dict[str, Any] = {"target": "load", **options}
        super().__init__("lines", **given)
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.opened: list[str | None] = []
        self.read = 0
        self.acked: list[str] = []
        self.refuses: set[str] = set()

    async def messages(self, after: str | None) -> AsyncIterator[Message]:
        self.opened.append(after)
        while (found := await self.queue.get()) is not None:
            if isinstance(found, Exception):
                raise found
            self.read += 1
            yield found

    def put(self, *keys: str, value: Any = None) -> None:
        for key in keys:
            self.queue.put_nowait(Message(key, value, {"of": key}, ack=partial(self._ack, key)))

    async def _ack(self, key: str) -> None:
        if key in self.refuses:
            self.refuses.discard(key)
            raise ConnectionError("gone")
        self.acked.append(key)


class Picky(Source):
    """Refuses what it is given a reason to."""

    bad = True

    def admit(self, message: Message) -> Any:
        if message.key == "bad" and self.bad:
            raise ValueError("no such luck")
        return None if message.key == "nothing" else RunRequest(run_key=message.key)


@asynccontextmanager
async def watched(source: Source, world: World) -> AsyncGenerator[asyncio.Queue[Any]]:
    """With its wakes at work and the first look done. The wakes that come are in the queue."""
    wakes: asyncio.Queue[Any] = asyncio.Queue()

    async def watch() -> None:
        async for hints in source.wakes():
            wakes.put_nowait(hints)

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await world.tick(source)
    try:
        yield wakes
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(wakes: asyncio.Queue[Any], count: int) -> list[str]:
    """Wait until so many keys were hinted at."""
    keys: list[str] = []
    while len(keys) < count:
        keys += await asyncio.wait_for(wakes.get(), 5) or []
    return keys


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "_FIRST_PAUSE", 0.001)


async def test_messages_are_acknowledged_after_their_commit_alone() -> None:
    source, world = Source(batch=2), World()
    async with watched(source, world) as wakes:
        assert world.skips == ["the stream is not open yet"]
        source.put("a", "b", "c", value={"n": 1})
        assert await until(wakes, 3) == ["a", "b", "c"]
        with pytest.raises(Killed):
            await world.tick(source, kill_after=1)
        assert (world.item_keys, source.acked) == (["a", "b"], ["a", "b"])
        await world.tick(source)
        assert (world.item_keys, source.acked) == (["a", "b", "c"], ["a", "b", "c"])
        assert world.runs[0].params == {"n": 1}
        assert world.cursor["after"] == "c"


async def test_a_message_delivered_again_is_acknowledged_and_not_admitted() -> None:
    source, world = Source(), World()
    async with watched(source, world) as wakes:
        source.put("a", "a", "b")
        await until(wakes, 3)
        await world.tick(source)
        source.put("b", "a")
        await until(wakes, 2)
        await world.tick(source)
    assert world.item_keys == ["a", "b"]
    assert source.acked == ["a", "a", "b", "b", "a"]


async def test_it_reads_no_further_than_it_may() -> None:
    source, world = Source(ahead=3), World()
    async with watched(source, world) as wakes:
        source.put(*map(str, range(10)))
        await until(wakes, 3)
        for _ in range(20):
            await asyncio.sleep(0)
        assert source.read == 3
        while len(world.runs) < 10:
            await world.tick(source)
            await asyncio.sleep(0)
    assert world.item_keys == [str(n) for n in range(10)]


async def test_a_dry_run_changes_nothing() -> None:
    source, world = Source(batch=1), World()
    async with watched(source, world) as wakes:
        source.put("a", "b")
        await until(wakes, 2)
        assert [run.run_key for run in await world.tick(source, dry_run=True)] == ["lines:a", "lines:b"]
        assert source.acked == []
        await world.tick(source)
    assert world.item_keys == source.acked == ["a", "b"]


async def test_a_message_that_fails_holds_up_none_before_it() -> None:
    source, world = Picky(), World()
    async with watched(source, world) as wakes:
        source.put("a", "nothing", "bad", "c")
        await until(wakes, 4)
        for _ in range(2):
            with pytest.raises(ValueError, match="no such luck"):
                await world.tick(source)
            assert (world.item_keys, source.acked) == (["a"], ["a", "nothing"])
        source.bad = False
        await world.tick(source)
    assert world.item_keys == ["a", "bad", "c"]
    assert source.acked == ["a", "nothing", "bad", "c"]


async def test_keys_become_partitions_and_those_that_cannot_are_passed_over() -> None:
    source, world = Source(partitions=BATCHES), World()
    async with watched(source, world) as wakes:
        source.put("a", ".b", "c")
        await until(wakes, 3)
        await world.tick(source)
    assert world.partitions == {"a": {"of": "a"}, "c": {"of": "c"}}
    assert [run.partition for run in world.runs] == ["a", "c"]
    assert source.acked == ["a", ".b", "c"]
    assert [line[1] for line in world.log.lines] == ["message passed over"]


@pytest.mark.parametrize(
    "end", [None, ConnectionError("reset"), RetryLater("busy", after="1ms"), ValueError("no JSON")]
)
async def test_a_stream_that_ends_is_opened_behind_what_is_committed(end: Exception | None) -> None:
    source, world = Source(), World()
    async with watched(source, world) as wakes:
        source.put("a")
        await until(wakes, 1)
        await world.tick(source)
        source.queue.put_nowait(end)
        assert await asyncio.wait_for(wakes.get(), 5) is None
        await world.tick(source)
        assert world.skips[-1].startswith("the stream is not there: ")
        source.put("a", "b")
        assert await asyncio.wait_for(wakes.get(), 5) is None
        while "b" not in source.acked:
            await world.tick(source)
            await asyncio.sleep(0)
    assert source.opened == [None, "a"]
    assert world.item_keys == ["a", "b"]
    told = [line[1] for line in world.log.lines]
    assert told == ["the stream was lost, and is opened again", "over: the stream was lost"]


async def test_what_gives_up_is_opened_again_when_a_person_has_acted() -> None:
    source, world = Source(), World()
    async with watched(source, world) as wakes:
        source.queue.put_nowait(GiveUp("no such queue"))
        assert await asyncio.wait_for(wakes.get(), 5) is None
        with pytest.raises(GiveUp, match="no such queue"):
            await world.tick(source)
        await asyncio.sleep(0.05)
        assert source.opened == [None]
        await world.tick(source)
        source.put("a")
        await until(wakes, 1)
        await world.tick(source)
    assert source.acked == ["a"]


async def test_an_acknowledgement_that_fails_opens_the_stream_again() -> None:
    source, world = Source(), World()
    async with watched(source, world) as wakes:
        source.refuses = {"b"}
        source.put("a", "b", "c")
        await until(wakes, 3)
        await world.tick(source)
        assert (source.acked, world.item_keys) == (["a"], ["a", "b", "c"])
        assert await asyncio.wait_for(wakes.get(), 5) is None
        source.put("b", "c")
        while len(source.acked) < 3:
            await world.tick(source)
            await asyncio.sleep(0.001)
    assert source.acked == ["a", "b", "c"]
    assert world.item_keys == ["a", "b", "c"]
    assert source.opened == [None, "c"]


async def test_a_cursor_set_by_hand_opens_the_stream_there() -> None:
    source, world = Source(), World()
    async with watched(source, world) as wakes:
        source.put("a", "b")
        await until(wakes, 2)
        await world.tick(source)
        world.cursor = world.cursor | {"after": "a"}
        await world.tick(source)
        source.put("c")
        await until(wakes, 1)
        await world.tick(source)
    assert source.opened == [None, "a"]
    assert source.acked == ["a", "b", "c"]


async def test_it_remembers_as_many_as_it_says_and_not_many_more() -> None:
    source, world = Source(batch=7, remember=20), World()
    async with watched(source, world) as wakes:
        for begin in range(0, 200, 10):
            source.put(*map(str, range(begin, begin + 10)))
            await until(wakes, 10)
            await world.tick(source)
            last = {str(n) for n in range(max(0, begin - 10), begin + 10)}
            assert last <= world.entries.keys()
            assert len(world.entries) <= 2 * (20 + 7)
        source.put("185")
        await until(wakes, 1)
        await world.tick(source)
    assert world.item_keys == [str(n) for n in range(200)]


@pytest.mark.parametrize("found", ["text", Message(""), Message(7)])  # type: ignore[arg-type]  # what users write
async def test_what_is_no_message_is_told(found: Any) -> None:
    source, world = Source(), World()
    async with watched(source, world) as wakes:
        source.queue.put_nowait(found)
        assert await asyncio.wait_for(wakes.get(), 5) is None
        await world.tick(source)
    assert "yield Message(key, ...)" in world.skips[-1]


@pytest.mark.parametrize("option", ["batch", "ahead", "remember"])
def test_numbers_that_are_none_are_refused(option: str) -> None:
    with pytest.raises(DefinitionError, match=f"lines: {option}=0"):
        Source(**{option: 0})
