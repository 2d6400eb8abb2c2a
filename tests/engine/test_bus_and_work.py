"""Events reach those who listen, in order; what fails under way is loud."""

from __future__ import annotations

import asyncio

import pytest

from freshet.engine.bus import Bus
from freshet.engine.work import Work
from freshet.errors import Conflict
from freshet.store.records import Event

pytestmark = pytest.mark.anyio


def _event(seq: int) -> Event:
    return Event(seq=seq, txn=seq, at=0.0, type="materialized")


async def test_listeners_and_subscriptions_get_every_transaction_in_order() -> None:
    bus = Bus()
    heard: list[int] = []
    bus.listen(lambda events: heard.extend(event.seq for event in events))
    with bus.subscribe() as stream:
        bus.publish((_event(1), _event(2)))
        bus.publish(())
        bus.publish((_event(3),))
        assert [event.seq for event in await stream.next()] == [1, 2]
        assert [event.seq for event in await stream.next()] == [3]
    bus.publish((_event(4),))
    assert heard == [1, 2, 3, 4]


async def test_a_reader_far_behind_is_told_once_and_goes_on() -> None:
    bus = Bus()
    with bus.subscribe() as stream:
        for seq in range(10_001):
            bus.publish((_event(seq),))
        with pytest.raises(Conflict, match="fell behind"):
            await stream.next()
        bus.publish((_event(20_000),))
        assert [event.seq for event in await stream.next()] == [20_000]


async def test_idle_waits_for_tasks_and_for_what_was_begun() -> None:
    work = Work()
    gate = asyncio.Event()

    async def job() -> None:
        await gate.wait()
        work.end()

    work.begin()
    work.spawn(job())
    waiting = asyncio.ensure_future(work.idle())
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.set()
    await waiting


async def test_a_task_that_fails_is_not_swallowed() -> None:
    work = Work()

    async def bug() -> None:
        raise ZeroDivisionError("an engine bug")

    work.spawn(bug())
    with pytest.raises(ZeroDivisionError):
        await work.failure
