"""Simulated time that nobody steps: exact, and without looks at a wall clock that cannot jump."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.clock import SimulatedClock
from freshet.engine.heap import DueHeap

_DAY = 86400.0


@given(
    begin=st.floats(min_value=0, max_value=1e10),
    waits=st.lists(st.floats(min_value=0, max_value=400 * _DAY), min_size=1, max_size=20),
)
def test_what_waits_for_a_date_comes_at_it_in_one_leap(begin: float, waits: list[float]) -> None:
    clock = SimulatedClock.steadily(begin)
    heap, came = DueHeap(clock), list[tuple[int, float]]()

    def come(number: int) -> None:
        came.append((number, clock.now()))

    for number, wait in enumerate(waits):
        heap.at(number, begin + wait, partial(come, number))
    heap.start()
    leaps = 0
    while clock.leap(begin + 400 * _DAY):
        leaps += 1
    dates = {begin + wait for wait in waits}
    assert sorted(came) == [(number, begin + wait) for number, wait in enumerate(waits)]
    assert [at for _, at in came] == sorted(at for _, at in came)
    assert leaps == len(dates)
    assert clock.now() == clock.monotonic() == begin + 400 * _DAY


def test_a_clock_that_may_be_stepped_is_looked_at_each_minute() -> None:
    clock = SimulatedClock()
    heap, came = DueHeap(clock), list[float]()
    heap.at("later", clock.now() + 3600, lambda: came.append(clock.now()))
    heap.start()
    assert clock.next_due() == 60.0
    clock.step_wall(3590)
    assert clock.leap(61.0)
    assert came == [clock.now()]


def test_a_leap_passes_over_what_was_cancelled() -> None:
    clock = SimulatedClock()
    came = list[str]()
    clock.call_at(1.0, lambda: came.append("cancelled")).cancel()
    clock.call_at(2.0, lambda: came.append("kept"))
    assert clock.next_due() == 2.0
    assert clock.leap(5.0)
    assert not clock.leap(5.0)
    assert (came, clock.monotonic()) == (["kept"], 5.0)
