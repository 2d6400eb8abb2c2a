"""The due heap: never early, in order, and right through steps of the wall clock."""

from __future__ import annotations

import asyncio
import tracemalloc
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.clock import SimulatedClock, SystemClock
from freshet.engine.clocksteps import StepWatch
from freshet.engine.heap import DueHeap


async def _nothing() -> None:
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the descriptor of the listing itself
        return ""


@pytest.mark.anyio
@given(delays=st.lists(st.floats(0, 1000), max_size=30))
async def test_calls_back_in_order_and_never_early(delays: list[float]) -> None:
    clock = SimulatedClock()
    heap = DueHeap(clock)
    seen: list[tuple[float, float]] = []

    def call(delay: float) -> None:
        seen.append((delay, clock.monotonic()))

    for number, delay in enumerate(delays):
        heap.after(number, delay, partial(call, delay))
    heap.start()
    await clock.advance(1001, _nothing)
    assert sorted(delays) == [delay for delay, _ in seen]
    assert all(at >= delay for delay, at in seen)
    assert len(heap) == 0


@pytest.mark.anyio
async def test_scheduling_a_name_again_replaces_it() -> None:
    clock = SimulatedClock()
    heap = DueHeap(clock)
    seen: list[str] = []
    heap.start()
    heap.after("a", 10, lambda: seen.append("old"))
    heap.after("a", 20, lambda: seen.append("new"))
    await clock.advance(15, _nothing)
    assert seen == []
    await clock.advance(10, _nothing)
    assert seen == ["new"]


@pytest.mark.anyio
async def test_a_cancelled_name_is_not_called() -> None:
    clock = SimulatedClock()
    heap = DueHeap(clock)
    seen: list[str] = []
    heap.start()
    heap.after("a", 10, lambda: seen.append("a"))
    heap.cancel("a")
    await clock.advance(20, _nothing)
    assert seen == []
    assert heap.due_at("a") is None


@pytest.mark.anyio
async def test_a_forward_step_brings_dates_nearer_and_leaves_intervals() -> None:
    clock = SimulatedClock()
    heap = DueHeap(clock)
    seen: list[str] = []
    heap.start()
    heap.at("date", clock.now() + 3600, lambda: seen.append("date"))
    heap.after("interval", 3600, lambda: seen.append("interval"))
    clock.step_wall(7200)
    await clock.advance(61, _nothing)
    assert seen == ["date"]
    await clock.advance(3600, _nothing)
    assert seen == ["date", "interval"]


@pytest.mark.anyio
async def test_a_step_is_noticed_at_once() -> None:
    clock = SimulatedClock()
    heap = DueHeap(clock)
    seen: list[float] = []
    heap.start()
    heap.at("date", clock.now() + 3600, lambda: seen.append(clock.now()))
    await clock.advance(1, _nothing)
    clock.step_wall(3598.5)
    await clock.advance(0.5, _nothing)
    assert seen == [clock.now()]
    heap.stop()
    clock.step_wall(10)
    assert len(seen) == 1


@pytest.mark.anyio
async def test_the_system_tells_of_steps_and_of_nothing_else() -> None:
    """The watch is quiet while the clock goes on, and gives its descriptor back."""
    files = len(list(Path("/proc/self/fd").iterdir()))
    seen: list[int] = []
    watch = SystemClock().watch_steps(lambda: seen.append(1))
    assert isinstance(watch, StepWatch)
    (told,) = [text for one in Path("/proc/self/fdinfo").iterdir() if "clockid: 0" in (text := _read(one))]
    assert "settime flags: 03" in told, "on the wall clock's own time, canceled when that is set"
    assert "it_value: (0, 0)" not in told
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert seen == []
    watch.cancel()
    watch.cancel()
    assert len(list(Path("/proc/self/fd").iterdir())) == files


@pytest.mark.anyio
async def test_a_backward_step_delays_dates_and_leaves_intervals() -> None:
    clock = SimulatedClock()
    heap = DueHeap(clock)
    seen: list[float] = []
    date = clock.now() + 100
    heap.start()
    heap.at("date", date, lambda: seen.append(clock.now()))
    clock.step_wall(-50)
    await clock.advance(120, _nothing)
    assert seen == []
    await clock.advance(31, _nothing)
    assert len(seen) == 1
    assert seen[0] >= date


@pytest.mark.anyio
async def test_what_a_callback_schedules_for_now_is_called() -> None:
    clock = SimulatedClock()
    heap = DueHeap(clock)
    seen: list[int] = []

    def again() -> None:
        seen.append(len(seen))
        if len(seen) < 3:
            heap.after("again", 0, again)

    heap.start()
    heap.after("again", 5, again)
    await clock.advance(5, _nothing)
    assert seen == [0, 1, 2]


@pytest.mark.anyio
async def test_a_deadline_moved_on_for_ever_takes_no_more_room() -> None:
    clock = SimulatedClock()
    heap = DueHeap(clock)
    seen: list[str] = []
    heap.start()
    heap.after("later", 7200, lambda: seen.append("later"))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for second in range(20_000):
            heap.at("freshness", clock.now() + 3600 + second / 1000, lambda: seen.append("freshness"))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 100_000
    await clock.advance(7200, _nothing)
    assert seen == ["freshness", "later"]
