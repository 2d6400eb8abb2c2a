"""Every sensor that ships takes what every sensor offers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig
from tests.support.web import Said, web

from freshet import Delivery, DynamicPartitions, RunRequest, Sensor, asset
from freshet.definitions.flow import BatchSpec, Flow, ThrottleSpec
from freshet.testing import Ticked, tick
from freshet_sensors import FileSensor, HttpSensor, Message, S3Sensor, SqlSensor, StreamSensor, WebhookSensor

EVERY: dict[str, Any] = {
    "target": "t",
    "debounce": "5s",
    "throttle": "10/min",
    "overlap": "queue",
    "run_key": "{tags.x}",
}


class Lines(StreamSensor):
    """Pushes nothing."""

    async def messages(self, after: str | None) -> AsyncIterator[Message]:
        return
        yield


def files(**flow: Any) -> Sensor:
    return FileSensor("landing", path="inbox", batch=5, params={"a": 1}, **flow)


def objects(**flow: Any) -> Sensor:
    return S3Sensor("landing", bucket="b", batch=5, params={"a": 1}, **flow)


def deliveries(**flow: Any) -> Sensor:
    return WebhookSensor("landing", path="p", scheme="none", batch=5, params={"a": 1}, **flow)


def pages(**flow: Any) -> Sensor:
    return HttpSensor("landing", url="http://localhost/", batch=5, run_params={"a": 1}, **flow)


def rows(**flow: Any) -> Sensor:
    query = "SELECT * FROM o WHERE id > :cursor ORDER BY id LIMIT 9"
    return SqlSensor("landing", connect=lambda: None, query=query, cursor="id", batch=5, run_params={"a": 1}, **flow)


def messages(**flow: Any) -> Sensor:
    return Lines("landing", run_batch=5, params={"a": 1}, **flow)


@pytest.mark.parametrize("make", [files, objects, deliveries, pages, rows, messages])
def test_it_is_carried_by_its_description(make: Callable[..., Sensor]) -> None:
    assert make(**EVERY).spec.flow == Flow(
        debounce=5.0,
        batch=BatchSpec(5, 10.0),
        throttle=ThrottleSpec(10, 60.0),
        overlap="queue",
        run_key="{tags.x}",
        params={"a": 1},
    )


def landed(folder: Path, **flow: Any) -> Ticked:
    (folder / "a.csv").write_text("a")
    return tick(FileSensor("landing", path=folder, settle="0s", **flow))


def delivered(folder: Path, **flow: Any) -> Ticked:
    body = Delivery(1, "d", b'{"n": 1}', "application/json")
    return tick(WebhookSensor("landing", path="p", scheme="none", **flow), deliveries=[body])


def fetched(folder: Path, **flow: Any) -> Ticked:
    with web() as server:
        server.answer = lambda _: Said(body=b"x")
        return tick(HttpSensor("landing", url=server.url, **flow))


def selected(folder: Path, **flow: Any) -> Ticked:
    query = "SELECT 1 AS id WHERE 1 > :cursor OR 1 ORDER BY id LIMIT 9"
    return tick(SqlSensor("landing", url="sqlite:///:memory:", query=query, **flow))


@pytest.mark.parametrize("look", [landed, delivered, fetched, selected])
def test_a_template_names_the_runs_where_there_is_one(look: Callable[..., Ticked], tmp_path: Path) -> None:
    def keys(ticked: Ticked) -> list[str | None]:
        return [run.run_key for run in (*ticked.runs, *(run for one in ticked.deliveries for run in one.runs))]

    assert keys(look(tmp_path, target="t")) not in ([], [None])
    assert keys(look(tmp_path, target="t", run_key="{tags.x}")) == [None], "what a request says, no template says"


def test_a_message_leaves_its_name_to_the_template() -> None:
    asked = [Lines("lines", target="t", run_key=key).admit(Message("m")) for key in (None, "{params.n}")]
    assert [one.run_key for one in asked if isinstance(one, RunRequest)] == ["lines:m", None]


def test_without_a_pattern_every_object_is_meant() -> None:
    matches = S3Sensor("s", bucket="b", target="t").rules.pattern.matches
    assert all(map(matches, ("a.csv", "in/a.csv", "in/2026/a.csv")))


def test_an_object_leaves_its_name_to_the_template() -> None:
    assert [S3Sensor("s", bucket="b", target="t", run_key=key).rules.templated for key in (None, "{x}")] == [
        False,
        True,
    ]


@pytest.mark.anyio
async def test_a_file_runs_under_the_name_that_the_template_gives_it(tmp_path: Path) -> None:
    batches = DynamicPartitions("batches")

    @asset(partitions=batches)
    def raw(ctx: Any) -> None: ...

    inbox = tmp_path / "inbox"
    inbox.mkdir()
    found = FileSensor(
        "landing", path=inbox, pattern="{batch}.csv", partitions=batches, target=raw, run_key="{partition}-{size}",
        settle="0s",
    )  # fmt: skip
    async with rig(tmp_path, [raw, found]) as made:
        (inbox / "mon.csv").write_text("12345")
        await made.control.tick("landing")
        await made.settle()
        assert [run.run_key for run in await made.runs()] == ["mon-5"]
