"""Deliveries on their way to a look: in frames of at most 1 MiB, and whole again however large."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from freshet.errors import StoreUnavailable
from freshet.executors.base import Answers
from freshet.executors.evaluator_link import EvaluatorLink
from freshet.executors.inbox_service import serve_inbox
from freshet.host.evaluator.inbox import Inbox
from freshet.host.frames import encode
from freshet.store.records import WaitingDelivery


class Line:
    """Both ends at once: what the daemon sends is heard by the evaluator's part, and measured."""

    def __init__(self, found: tuple[WaitingDelivery, ...] | None) -> None:
        self.found = found
        self.largest = 0
        self.inbox = Inbox(asyncio.get_running_loop(), self.asked)
        self.serving: asyncio.Task[None] | None = None

    def asked(self, message: list[Any]) -> None:
        _, number, tick, sensor, after, limit, again = message
        serving = serve_inbox(cast(Answers, self), cast(EvaluatorLink, self), number, tick, sensor, after, limit, again)
        self.serving = asyncio.ensure_future(serving)

    async def deliveries(self, sensor: str, **how: Any) -> tuple[tuple[WaitingDelivery, ...], bool]:
        if self.found is None:
            raise StoreUnavailable("the disk is full")
        return self.found, True

    def send(self, message: list[Any]) -> None:
        self.largest = max(self.largest, len(encode(message)))
        self.inbox.arrived(*message[1:])

    async def drain(self) -> None: ...


@settings(deadline=None, max_examples=25)
@example([0, 1, 599_999, 600_000, 600_001, 1_800_000, 0])
@given(st.lists(st.integers(0, 1_500_000), max_size=8))
def test_they_come_whole_and_in_order_in_small_frames(sizes: list[int]) -> None:
    async def roundtrip() -> None:
        rows = tuple(
            WaitingDelivery(number, f"d{number}", "text/plain", {"x-n": str(number)}, 1, 5.0, bytes([number]) * size)
            for number, size in enumerate(sizes, 1)
        )
        line = Line(rows)
        got = await line.inbox.ask(7, "hook", 0, 100, again=True)
        assert [(one.number, one.id, one.body, one.attempts) for one in got] == [
            (row.id, row.delivery, row.body, row.attempts) for row in rows
        ]
        assert got.more
        assert line.largest <= 1 << 20

    asyncio.run(roundtrip())


async def _refused() -> None:
    with pytest.raises(OSError, match="could not be read"):
        await Line(None).inbox.ask(7, "hook", 0, 100, again=True)


def test_a_store_that_cannot_be_read_is_an_error_of_the_look() -> None:
    asyncio.run(_refused())
