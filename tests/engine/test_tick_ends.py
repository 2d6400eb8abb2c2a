"""Ends of ticks that come at awkward moments: while a part commits, while no host is there, while others wait."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import RunRequest, job, sensor
from freshet.engine.control import TickReport
from freshet.errors import Conflict
from freshet.executors.base import TickEnd
from freshet.store.records import TickError

pytestmark = pytest.mark.anyio


@job
def note(number: int = 0) -> None:
    """Takes what it is given."""


class _Long:
    """A sensor with a checkpoint; once armed, its evaluation ends with `end` while the checkpoint commits."""

    def __init__(self) -> None:
        self.cursors: list[Any] = []
        self.one: Rig | None = None
        self.end: Any = None

        @sensor(name="long", interval="1h", target="note")
        async def long(ctx: Any) -> Any:
            self.cursors.append(ctx.cursor)
            ctx.cursor = number = (ctx.cursor or 0) + 1
            yield RunRequest(params={"number": number})
            if self.end is not None:
                asyncio.get_running_loop().call_soon(self._end)
            await ctx.checkpoint()

        self.sensor = long

    def _end(self) -> None:
        assert self.one is not None
        flight = self.one.engine.ticks.sensors["long"].in_flight
        assert flight is not None
        status, error = self.end
        self.end = None
        self.one.engine.answers.tick_ended(TickEnd(flight.order.tick_id, "long", status, error=error))
        self.one.engine.answers.woken("long", None)


async def _by_hand(one: Rig, name: str) -> TickReport:
    """Tick, and let pass what is due at once."""
    waits = asyncio.ensure_future(one.control.tick(name))
    async with asyncio.timeout(5):
        while not waits.done():
            await one.advance(0)
            await asyncio.sleep(0)
    return await waits


async def _admitted(one: Rig) -> list[int]:
    return [run.params["number"] for run in await one.runs("note")]


async def test_an_evaluator_that_dies_while_a_checkpoint_commits_loses_nothing_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    long = _Long()
    async with rig(tmp_path, [note, long.sensor]) as one:
        long.one, long.end = one, ("abandoned", None)
        report = await _by_hand(one, "long")
        assert long.cursors == [None, 1, 2]
        assert (report.cursor_before, report.cursor, len(report.runs)) == (1, 3, 2)
        async with asyncio.timeout(5):
            await one.settle()
        assert await _admitted(one) == [1, 2, 3]


async def test_a_failure_that_comes_while_a_checkpoint_commits_is_a_failure(tmp_path: Path) -> None:
    long = _Long()
    async with rig(tmp_path, [note, long.sensor]) as one:
        long.one, long.end = one, ("timed_out", TickError("TimeoutError", "blocked", ""))
        report = await _by_hand(one, "long")
        assert (report.status, report.cursor) == ("timed_out", 2)
        state = one.control.sensors()[0]
        assert (state.status, state.failures, state.last_error["message"]) == ("failing", 1, "blocked")
        assert one.control.status().refused_ticks == 0
        assert await _admitted(one) == [1, 2]


async def test_a_tick_by_hand_is_answered_though_a_wake_comes_as_its_evaluator_dies(tmp_path: Path) -> None:
    looks: list[Any] = []
    hang = [False]

    @sensor(interval="1h")
    async def waiting(ctx: Any) -> None:
        looks.append(ctx.hints)
        if hang[0]:
            hang[0] = False
            asyncio.get_running_loop().call_soon(die)
            await asyncio.Event().wait()

    async with rig(tmp_path, [waiting]) as one:

        def die() -> None:
            flight = one.engine.ticks.sensors["waiting"].in_flight
            assert flight is not None
            one.engine.answers.tick_ended(TickEnd(flight.order.tick_id, "waiting", "abandoned"))
            one.engine.answers.woken("waiting", ("hint",))

        hang[0] = True
        assert (await _by_hand(one, "waiting")).status == "ok"
        assert looks == [None, None, None]


async def test_a_tick_by_hand_hears_that_the_host_is_gone(tmp_path: Path) -> None:
    @sensor(interval="1h")
    async def waiting(ctx: Any) -> None:
        if started:
            begun.set()
            await asyncio.Event().wait()

    started, begun = list[bool](), asyncio.Event()
    async with rig(tmp_path, [waiting]) as one:
        started.append(True)
        first = asyncio.ensure_future(_by_hand(one, "waiting"))
        await begun.wait()
        second = asyncio.ensure_future(_by_hand(one, "waiting"))
        await asyncio.sleep(0)
        flight = one.engine.ticks.sensors["waiting"].in_flight
        assert flight is not None
        one.engine.answers.tick_ended(TickEnd(flight.order.tick_id, "waiting", "abandoned"))
        one.engine.instruments.in_force.host = None
        for waits in (first, second):
            with pytest.raises(Conflict, match="no plugins are running"):
                await waits


async def test_a_look_by_hand_that_goes_well_ends_a_back_off(tmp_path: Path) -> None:
    looks: list[float] = []
    broken = [True]

    @sensor(interval="10s")
    async def shaky(ctx: Any) -> None:
        looks.append(one.clock.monotonic() if not broken[0] else -1.0)
        if broken[0]:
            raise ValueError("no luck")

    async with rig(tmp_path, [shaky]) as one:
        await one.advance(600)
        broken[0] = False
        assert (await _by_hand(one, "shaky")).status == "ok"
        looks.clear()
        one.engine.answers.woken("shaky", None)
        await one.advance(0)
        assert looks == [600.0]
        await one.advance(10)
        assert looks == [600.0, 610.0]
