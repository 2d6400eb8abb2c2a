"""What takes time: a busy bucket, pages that never come, a queue that fails or says nothing. In virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_plus

import pytest
from tests.sensors.s3_support import made
from tests.sensors.support import World
from tests.support.fake_s3 import FakeS3, Fault
from tests.support.paper_s3 import PaperQueue, service
from tests.support.virtual import VirtualLoop

from freshet import RetryLater
from freshet_sensors import s3_client, s3_queue

RETRIES, BASE, CAP = 8, 0.2, 15.0


class Stage:
    """A bucket, a queue, and a sensor whose wakes run, in virtual time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.s3, self.queue, self.world = FakeS3(), PaperQueue(), World()
        self.sensor = made("http://paper", queue_url="http://paper/q")
        self.hints = set[str]()
        self._waking: asyncio.Task[None] | None = None

    def listen(self) -> None:
        self._waking = self.loop.create_task(self._wake())

    async def _wake(self) -> None:
        async for hints in self.sensor.wakes():
            self.hints |= {*(hints or ())}

    def end(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self.loop.run_until_complete(self._waking)

    def look(self, hints: set[str] | None = None) -> None:
        self.loop.do(self.world.tick(self.sensor, hints))

    def look_within(self, seconds: float) -> None:
        async def look() -> None:
            async with asyncio.timeout(seconds):
                await self.world.tick(self.sensor)

        self.loop.do(look())

    def pass_time(self, seconds: float) -> None:
        self.loop.do(asyncio.sleep(seconds))

    def send(self, *keys: str) -> None:
        """One notification of these keys."""
        records = [{"s3": {"bucket": {"name": "lake"}, "object": {"key": quote_plus(key)}}} for key in keys]

        async def send() -> None:
            self.queue.send(json.dumps({"Records": records}))

        self.loop.do(send())

    def many(self, count: int) -> list[str]:
        for number in range(count):
            self.s3.put(f"{number:05}.csv")
        return sorted(self.s3.objects)

    @property
    def news(self) -> list[str]:
        """What was logged, without the cost of listing."""
        return [message for _, message, _ in self.world.log.lines if "list calls" not in message]

    @property
    def reasons(self) -> list[str]:
        return [fields["reason"] for level, _, fields in self.world.log.lines if level == "warning"]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    loop = VirtualLoop()
    one = Stage(loop)
    opens = service(one.s3, one.queue)
    monkeypatch.setattr(s3_client, "open_client", opens)
    monkeypatch.setattr(s3_queue, "open_client", opens)
    try:
        yield one
    finally:
        one.end()
        loop.close()


# --- a busy bucket ----------------------------------------------------------------------------------------------


def test_a_look_has_one_budget_of_tries_for_all_its_pages(stage: Stage) -> None:
    stage.many(50)
    stage.s3.page = 10
    for _ in range(5):
        stage.s3.faults.extend(["slow_down", "slow_down", None])
    with pytest.raises(RetryLater, match="SlowDown"):
        stage.look()
    assert stage.s3.calls["list"] == 5 + RETRIES, "the last page is asked for once"
    assert (len(stage.world.runs), stage.world.cursor["after"]) == (40, "00039.csv")
    stage.s3.faults.clear()
    stage.look()
    assert len(stage.world.runs) == len(set(stage.world.run_keys)) == 50
    assert stage.news == ["a listing did not come to its end", "listings come to their end again"]


def test_tries_are_spread_at_random_ever_wider_up_to_a_cap(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = list[tuple[float, float]]()

    def longest(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    monkeypatch.setattr("freshet_sensors.s3_list.random.uniform", longest)
    busy: list[Fault] = ["slow_down"] * 100
    stage.s3.faults.extend(busy)
    began = stage.loop.time()
    with pytest.raises(RetryLater):
        stage.look()
    highest = [min(CAP, BASE * 2**tried) for tried in range(RETRIES)]
    assert bounds == [(0.0, high) for high in highest]
    assert CAP in highest
    assert stage.loop.time() - began == pytest.approx(sum(highest), abs=1.0)


def test_a_page_that_does_not_come_is_asked_for_again(stage: Stage) -> None:
    stage.many(50)
    stage.s3.page = 10
    stage.s3.faults.extend([None, None, "timeout", "cut"])
    stage.look()
    assert (len(stage.world.runs), stage.s3.calls["list"], stage.news) == (50, 7, [])


def test_pages_that_never_come_leave_the_cursor_at_the_last_that_did(stage: Stage) -> None:
    stage.many(50)
    stage.s3.page = 10
    never: list[Fault] = ["timeout"] * (RETRIES + 1)
    stage.s3.faults.extend([None, None, *never])
    with pytest.raises(RetryLater, match="ReadTimeoutError"):
        stage.look()
    assert (len(stage.world.runs), stage.world.cursor["after"]) == (20, "00019.csv")
    stage.s3.asked.clear()
    stage.look()
    assert stage.s3.asked[0] == "00019.csv"
    assert len(stage.world.runs) == len(set(stage.world.run_keys)) == 50


def test_a_look_that_is_cut_off_within_a_page_keeps_those_before(stage: Stage) -> None:
    stage.many(50)
    stage.s3.page = 10
    stage.s3.faults.extend([None, None, "stall"])
    with pytest.raises(TimeoutError):
        stage.look_within(60)
    assert (len(stage.world.runs), stage.world.cursor["after"]) == (20, "00019.csv")
    stage.look()
    assert len(stage.world.runs) == len(set(stage.world.run_keys)) == 50


def test_a_long_listing_without_news_is_committed_now_and_then(stage: Stage) -> None:
    stage.many(1000)
    stage.look()
    stage.s3.page = 1
    stage.s3.faults.extend([*[None] * 900, "stall"])  # 45 s of pages, of which a quarter of the time-out is 30 s
    with pytest.raises(TimeoutError):
        stage.look_within(60)
    assert "00550.csv" < stage.world.cursor["after"] < "00700.csv"


# --- the queue --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["throttled", "reset"])
def test_a_busy_queue_is_asked_ever_less_often_and_wakes_again(stage: Stage, fault: Any) -> None:
    stage.queue.faults.extend([fault] * 12)
    stage.listen()
    stage.pass_time(0.01)
    stage.many(1)
    stage.look()
    assert len(stage.world.runs) == 1, "the listing goes on"
    stage.pass_time(60)
    stage.look()
    assert stage.reasons[0].startswith("backing off: could not read the queue")
    stage.pass_time(400)
    assert len(stage.queue.read_at) < 12 + 2 + 400 / 20 + 3
    gaps = [later - before for before, later in zip(stage.queue.read_at, stage.queue.read_at[1:], strict=False)]
    assert max(gaps) <= 30.1
    stage.s3.put("told.csv")
    stage.send("told.csv")
    stage.pass_time(21)
    assert stage.hints == {"told.csv"}
    stage.look(stage.hints)
    assert (len(stage.world.runs), stage.news[-1], len(stage.reasons)) == (2, "the queue wakes", 1)
    stage.pass_time(1)
    assert stage.queue.notes == {}


def test_a_message_that_cannot_be_deleted_comes_again_and_does_no_harm(stage: Stage) -> None:
    stage.listen()
    stage.s3.put("a.csv")
    stage.send("a.csv")
    stage.pass_time(1)
    stage.queue.faults.extend([None, "reset", "throttled"])
    for _ in range(4):
        stage.look(stage.hints)
        stage.pass_time(40)
    assert (len(stage.world.runs), stage.queue.notes) == (1, {})


def test_of_a_message_that_came_again_the_newest_receipt_counts(stage: Stage) -> None:
    stage.listen()
    stage.s3.put("a.csv")
    stage.send("a.csv")
    stage.pass_time(100)
    stage.look(stage.hints)
    stage.pass_time(1)
    assert (len(stage.world.runs), stage.queue.notes) == (1, {})


def test_keys_below_another_prefix_wake_nobody_and_wait_for_nobody(stage: Stage) -> None:
    stage.sensor = made("http://paper", queue_url="http://paper/q", prefix="in/")
    stage.listen()
    stage.send("out/a.csv")
    stage.pass_time(2)
    assert (stage.hints, stage.queue.notes) == (set(), {})
    stage.send("in/a.csv", "out/a.csv")
    stage.pass_time(2)
    assert stage.hints == {"in/a.csv"}


def test_what_waiting_does_not_mend_stops_the_wake_is_said_once_and_tried_again_later(stage: Stage) -> None:
    stage.queue.faults.extend(["denied", "denied"])
    stage.listen()
    for _ in range(2):
        stage.pass_time(100)
        stage.many(1)
        stage.look()
    (reason,) = stage.reasons
    assert "stopped" in reason
    assert "sqs:ReceiveMessage" in reason
    assert (len(stage.world.runs), len(stage.queue.read_at)) == (1, 1), "the listing goes on, and nobody insists"
    stage.pass_time(600)
    stage.look()
    assert stage.news[-1] == "the queue wakes"


def test_a_quiet_queue_is_well_and_the_listing_is_the_truth(stage: Stage) -> None:
    stage.listen()
    stage.queue.silent = True  # what it was told is lost
    for number in range(3):
        stage.s3.put(f"{number}.csv")
        stage.pass_time(600)
        stage.look()
    assert (len(stage.world.runs), stage.hints, stage.news) == (3, set(), ["the queue wakes"])


def test_a_reader_that_hears_no_answer_is_told_from_a_quiet_queue(stage: Stage) -> None:
    stage.listen()
    stage.pass_time(30)
    stage.look()
    stage.queue.faults.extend(["stall"])
    for _ in range(2):
        stage.pass_time(120)
        stage.look()
    assert stage.news[:2] == ["the queue wakes", "the queue does not wake; the listing goes on"]
    assert stage.reasons[0].startswith("no answer for")


def test_ten_thousand_hints_at_once_are_looked_at_in_pieces(stage: Stage) -> None:
    keys = stage.many(10_000)
    stage.listen()
    for at in range(0, 10_000, 100):
        stage.send(*keys[at : at + 100])
    stage.pass_time(20)
    assert stage.hints == {*keys}
    stage.look(stage.hints)
    assert len(stage.world.runs) == len(set(stage.world.run_keys)) == 10_000
    assert (stage.s3.calls["head"], stage.world.commits) == (10_000, 41)
    stage.pass_time(2)
    assert stage.queue.notes == {}
    stage.look()
    assert len(stage.world.runs) == 10_000


def test_no_more_messages_are_taken_than_can_be_settled(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_queue, "_UNSETTLED_MAX", 20)
    keys = stage.many(100)
    stage.listen()
    for key in keys:
        stage.send(key)
    stage.pass_time(25)
    assert 20 < len(stage.hints) <= 30
    while stage.queue.notes:
        stage.look(stage.hints)
        stage.pass_time(40)
    assert len(stage.world.runs) == len(set(stage.world.run_keys)) == 100
