"""A sensor whose source is not there says so: its state, the reason, and a line in the log when it begins and ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.engine.rig import Rig, rig

from freshet import DefinitionError, RetryLater, RunRequest, Skip, job, sensor
from freshet_sensors import FileSensor, HttpSensor, Message, StreamSensor

pytestmark = pytest.mark.anyio


@job
def work() -> None: ...


def _of(made: Rig, name: str) -> tuple[str, str | None]:
    (found,) = [one for one in made.control.sensors() if one.name == name]
    return found.status, found.waits_for


def _told(logs: list[Any]) -> list[str]:
    return [line["event"] for line in logs if "wait" in line["event"]]


async def test_a_source_that_puts_off_three_looks_in_a_row_is_waited_for(tmp_path: Path) -> None:
    busy = [True]

    @sensor(interval="10s")
    def feed(ctx: Any) -> None:
        if busy:
            raise RetryLater("503 Service Unavailable", after="10s")

    with capture_logs() as logs:
        async with rig(tmp_path, [feed]) as made:
            await made.advance(11)
            assert (_of(made, "feed"), _told(logs)) == (("ok", None), [])
            await made.advance(30)
            status, reason = _of(made, "feed")
            assert (status, "503 Service Unavailable" in (reason or "")) == ("waiting", True)
            assert _told(logs) == ["sensor waiting"]
            busy.clear()
            await made.advance(10)
            assert _of(made, "feed") == ("ok", None)
    assert _told(logs) == ["sensor waiting", "sensor waits no more"]


async def test_looks_put_off_now_and_then_are_no_wait(tmp_path: Path) -> None:
    count = 0

    @sensor(interval="10s")
    def feed(ctx: Any) -> None:
        nonlocal count
        count += 1
        if count % 3:
            raise RetryLater("busy", after="10s")

    with capture_logs() as logs:
        async with rig(tmp_path, [feed]) as made:
            await made.advance(200)
            assert _of(made, "feed") == ("ok", None)
    assert (_told(logs), count > 15) == ([], True)


async def test_a_folder_that_is_not_there_is_waited_for_until_it_is(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    landing = FileSensor("landing", path=inbox, settle="0s", target=work, interval="10s")
    with capture_logs() as logs:
        async with rig(tmp_path, [work, landing]) as made:
            assert _of(made, "landing") == ("waiting", f"the folder {inbox} is not there; it is watched for")
            await made.advance(30)
            inbox.mkdir()
            (inbox / "a").write_text("x")
            await made.control.tick("landing")
            await made.settle()
            assert (_of(made, "landing"), len(await made.runs("work"))) == (("ok", None), 1)
    assert _told(logs) == ["sensor waiting", "sensor waits no more"]


async def test_a_skip_alone_is_no_wait_and_a_failure_is_shown_as_one(tmp_path: Path) -> None:
    said: list[Skip | None] = [Skip("nothing new")]

    @sensor(interval="10s", target=work)
    async def feed(ctx: Any) -> AsyncIterator[Skip | RunRequest]:
        (one,) = said
        if one is None:
            raise ValueError("gone")
        yield one

    async with rig(tmp_path, [work, feed]) as made:
        assert _of(made, "feed") == ("ok", None)
        said[:] = [Skip("the line is down", waiting=True)]
        await made.advance(10)
        assert _of(made, "feed") == ("waiting", "the line is down")
        said[:] = [None]
        await made.advance(10)
        assert _of(made, "feed") == ("failing", None)


async def test_an_address_that_answers_503_for_ever_is_waited_for(tmp_path: Path) -> None:
    from tests.support.web import Said, web

    with web() as server:
        server.answer = lambda _: Said(503, headers={"Retry-After": "1"})
        feed = HttpSensor("feed", url=server.url, target=work, interval="1h")
        async with rig(tmp_path, [work, feed]) as made:
            for _ in range(3):
                await made.control.tick("feed")
            status, reason = _of(made, "feed")
    assert status == "waiting"
    assert reason is not None
    assert "503" in reason


async def test_a_stream_without_messages_is_refused_where_it_is_made() -> None:
    class Lines(StreamSensor):
        pass

    with pytest.raises(DefinitionError, match=r"lines: Lines has no messages\(after\)"):
        Lines("lines", target=work)


async def test_a_stream_that_is_lost_is_waited_for(tmp_path: Path) -> None:
    class Lines(StreamSensor):
        async def messages(self, after: str | None) -> AsyncIterator[Message]:
            if after is not None:
                yield Message(after)

    lines = Lines("lines", target=work)
    lines._trouble = "nobody there"  # pyright: ignore[reportPrivateUsage]  # its wakes do not run here
    async with rig(tmp_path, [work, lines]) as made:
        assert _of(made, "lines") == ("waiting", "the stream is not there: nobody there")
