"""Events on their way to a look: in frames of at most 1 MiB, whole and in order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.evaluator.harness import World, world

from freshet.definitions.listen import Happened, Happenings, Listen
from freshet.errors import StoreUnavailable
from freshet.executors.base import Answers
from freshet.executors.evaluator_link import EvaluatorLink
from freshet.executors.event_service import serve_events
from freshet.host.evaluator.happenings import EventDesk
from freshet.host.frames import decode, encode

AT = datetime(2026, 1, 1, 12, 30, 0, 250_000, tzinfo=UTC)


class Line:
    """Both ends at once: what the daemon sends is heard by the evaluator's part, and measured."""

    def __init__(self, found: Happenings | None) -> None:
        self.found = found
        self.largest = 0
        self.heard: tuple[Any, ...] = ()
        self.desk = EventDesk(asyncio.get_running_loop(), self.asked)
        self.serving: asyncio.Task[None] | None = None

    def asked(self, message: list[Any]) -> None:
        serving = serve_events(cast(Answers, self), cast(EvaluatorLink, self), *message[1:])
        self.serving = asyncio.ensure_future(serving)

    async def happened(self, *asked: Any) -> Happenings:
        self.heard = asked
        if self.found is None:
            raise StoreUnavailable("the disk is full")
        return self.found

    def send(self, message: list[Any]) -> None:
        frame = encode(message)
        self.largest = max(self.largest, len(frame))
        self.desk.arrived(*decode(frame[4:])[1:])

    async def drain(self) -> None: ...


@settings(deadline=None, max_examples=25)
@example([0, 1, 599_000, 600_001, 900_000, 300_000, 300_000])
@given(st.lists(st.integers(0, 900_000), max_size=8))
def test_they_come_whole_and_in_order_in_small_frames(sizes: list[int]) -> None:
    async def roundtrip() -> None:
        events = Happenings.of(
            (Happened(n, AT, "materialized", "raw", f"k{n}", n, {"text": "x" * size}) for n, size in enumerate(sizes)),
            seq=40,
            last=50,
        )
        line = Line(events)
        got = await line.desk.ask("follow", Listen("materialized", ["raw"]), 7, 100)
        assert (got, got.seq, got.last, got.more) == (events, 40, 50, True)
        assert line.heard == (7, ("materialized",), ("raw",), 100)
        assert line.largest <= 1 << 20

    asyncio.run(roundtrip())


def test_a_store_that_cannot_be_read_is_an_error_of_the_look() -> None:
    async def refused() -> None:
        with pytest.raises(OSError, match="could not be read"):
            await Line(None).desk.ask("follow", Listen("materialized"), 7, 100)

    asyncio.run(refused())


@pytest.mark.anyio
async def test_a_look_in_a_real_evaluator_reads_them(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.happenings = [Happened(n, AT, "run_failed", None, None, n, {"target": "raw"}) for n in range(1, 8)]
        assert await _read(made, None) == ([], 7)
        assert await _read(made, 0) == (["1", "2", "3"], 3)
        assert await _read(made, 3) == (["4", "5", "6"], 6)
        assert await _read(made, 6) == (["7"], 7)


async def _read(made: World, after: int | None) -> tuple[list[str | None], Any]:
    end = await made.tick("listening", cursor=after)
    assert (end.status, end.error) == ("ok", None)
    return [run.run_key for run in end.runs], end.cursor
