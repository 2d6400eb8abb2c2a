"""A loop that is held is noticed, with where it stood; one that rests is let rest."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.looplag import Beats, Held, LoopWatch, SayHeld, frame_of, where


def hold_the_loop(until: Callable[[], bool]) -> None:
    while not until():
        time.sleep(0.01)


async def watched(hold: float, *, times: int = 1) -> list[Held]:
    """What is told of a loop that somebody holds for so long, so many times."""
    told: list[Held] = []
    task = asyncio.create_task(LoopWatch(told.append).run())
    try:
        for count in range(times):
            async with asyncio.timeout(60):
                while len(told) <= count:
                    begun = time.monotonic()
                    await asyncio.sleep(0.02)
                    hold_the_loop(lambda begun=begun: time.monotonic() > begun + hold)  # type: ignore[misc]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return told


@pytest.mark.parametrize("uvloop", [True, False])
def test_who_holds_the_loop_is_named(uvloop: bool) -> None:
    make: Any = None
    if uvloop:
        make = pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=make) as runner:
        told = runner.run(watched(0.5, times=2))
    assert all("hold_the_loop" in "".join(one.stack) and one.seconds >= 0.1 for one in told)


@pytest.mark.parametrize("uvloop", [True, False])
def test_a_loop_that_waits_is_not_held(uvloop: bool) -> None:
    """However late it is looked at: what the thread sees of one that waits is nothing."""
    make: Any = pytest.importorskip("uvloop").new_event_loop if uvloop else None

    async def rest() -> bool:
        own, loop, done = threading.get_ident(), asyncio.get_running_loop(), asyncio.Event()
        in_a_row: list[tuple[str, ...]] = []

        def look() -> None:
            until = time.monotonic() + 60
            while len(in_a_row) < 50 and time.monotonic() < until:
                if seen := where(frame_of(own)):
                    in_a_row.clear()
                else:
                    in_a_row.append(seen)
                time.sleep(0.001)
            loop.call_soon_threadsafe(done.set)

        thread = threading.Thread(target=look)
        thread.start()
        await done.wait()
        thread.join()
        return len(in_a_row) == 50

    with asyncio.Runner(loop_factory=make) as runner:
        assert runner.run(rest())


@given(st.lists(st.floats(0, 0.0009)), st.floats(0.001, 10))
def test_one_that_rests_beats_ever_more_seldom_and_one_that_works_often(rests: list[float], work: float) -> None:
    beats, used, before = Beats(0.0), 0.0, 0.1
    for one in rests:
        used += one
        interval = beats.next(used)
        assert before <= interval <= 5.0 and (interval == 5.0 or interval == 2 * before)
        before = interval
    assert beats.next(used + work + 0.0001) == 0.1


def test_it_is_said_once_a_minute_with_how_often_it_was() -> None:
    told = ((0.0, 0.2), (1.0, 0.9), (59.0, 0.3), (60.0, 0.4), (61.0, 0.5))
    clock = iter([at for at, _ in told])
    say = SayHeld(monotonic=lambda: next(clock))
    with structlog.testing.capture_logs() as logs:
        for _, seconds in told:
            say(Held(seconds, ("here",)))
    assert [(one["seconds"], one["times"], one["longest"]) for one in logs] == [(0.2, 1, 0.2), (0.4, 3, 0.9)]
    assert logs[0]["at"] == ["here"]
