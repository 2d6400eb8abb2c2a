from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from freshet.host.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def test_timers_come_in_order_and_canceled_ones_not_at_all(loop: Loop) -> None:
    called: list[str] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: called.append(name)

    loop.later(0.002, note("second"))
    canceled = loop.later(0.001, note("never"))
    loop.later(0.0, note("first"))
    loop.later(0.003, loop.stop)
    canceled.cancel()
    canceled.cancel()
    loop.run()
    assert called == ["first", "second"]


def test_canceled_timers_do_not_pile_up(loop: Loop) -> None:
    for _ in range(10_000):
        loop.later(3600, loop.stop).cancel()
    assert len(loop._timers) < 200  # pyright: ignore[reportPrivateUsage]


def test_a_callback_may_forget_what_is_ready_too(loop: Loop) -> None:
    (first, first_end), (second, second_end) = os.pipe(), os.pipe()
    called: list[int] = []

    def read(fd: int) -> None:
        called.append(fd)
        for each in (first, second):
            loop.forget(each)
        loop.stop()

    loop.watch(first, lambda mask: read(first))
    loop.watch(second, lambda mask: read(second))
    os.write(first_end, b"x")
    os.write(second_end, b"x")
    loop.run()
    assert len(called) == 1
    for fd in (first, first_end, second, second_end):
        os.close(fd)


def test_it_waits_without_turning(loop: Loop) -> None:
    before = time.process_time()
    loop.later(0.2, loop.stop)
    loop.run()
    assert time.process_time() - before < 0.05
