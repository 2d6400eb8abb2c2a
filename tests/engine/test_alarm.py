"""Alarms: never early, set again, forgotten; on the kernel's timers and on the event loop's."""

from __future__ import annotations

import asyncio
import select
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.engine.alarm import system_alarm
from freshet.engine.timerfd import TimerFd

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["kernel", "loop"])
def timers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(clock: int) -> TimerFd:
        raise OSError("no such timers here")

    if request.param == "loop":
        monkeypatch.setattr("freshet.engine.alarm.TimerFd", none)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@settings(max_examples=50, deadline=None)
@given(wait=st.floats(-0.001, 0.003))
def test_a_timer_of_the_kernel_is_never_early(wait: float) -> None:
    timer, due = TimerFd(time.CLOCK_MONOTONIC), select.poll()
    due.register(timer.fileno(), select.POLLIN)
    when = time.monotonic() + wait
    timer.arm(when)
    assert due.poll(5000), "it has come"
    assert time.monotonic() >= when
    timer.clear()
    assert not due.poll(0), "and is over"
    timer.arm(0.0)
    assert due.poll(5000), "the beginning of time has passed"
    timer.arm(-86_400.25)
    assert due.poll(5000), "so has what lies before it: a deadline from before the machine was started"
    timer.disarm()
    assert not due.poll(0)
    timer.close()
    timer.close()


@pytest.mark.usefixtures("timers")
async def test_an_alarm_rings_once_at_the_instant_it_was_set_to_last() -> None:
    rung, came = asyncio.Event(), list[float]()

    def ring() -> None:
        came.append(time.monotonic())
        rung.set()

    alarm = system_alarm(ring)
    begun = time.monotonic()
    alarm.set(begun + 3600)
    alarm.set(begun + 0.02)
    await rung.wait()
    assert came[0] >= begun + 0.019, "a loop's timer may be a little early"
    rung.clear()
    alarm.set(begun)
    await rung.wait()
    rung.clear()
    alarm.set(-3600.5)  # from before the machine was started
    await rung.wait()
    assert len(came) == 3
    alarm.close()


@pytest.mark.usefixtures("timers")
async def test_an_alarm_that_was_cleared_or_closed_does_not_ring() -> None:
    files, rung, came = _open_files(), asyncio.Event(), list[str]()
    cleared, closed = system_alarm(lambda: came.append("cleared")), system_alarm(lambda: came.append("closed"))
    last = system_alarm(rung.set)
    soon = time.monotonic() + 0.005
    cleared.set(soon)
    cleared.clear()
    closed.set(soon)
    closed.close()
    last.set(soon + 0.02)
    await rung.wait()
    assert came == []
    for alarm in (cleared, closed, last):
        alarm.close()
    assert _open_files() == files
