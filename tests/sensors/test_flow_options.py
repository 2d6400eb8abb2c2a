"""Every sensor that ships takes what every sensor offers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig
from tests.support.web import Said, web

from freshet import DefinitionError, Delivery, DynamicPartitions, RunRequest, Sensor, asset
from freshet.definitions.flow import BatchSpec, Flow, ThrottleSpec
from freshet.testing import Ticked, tick
from freshet_sensors import FileSensor, HttpSensor, Message, S3Sensor, SqlSensor, StreamSensor, WebhookSensor

EVERY: dict[str, Any] = {
    "target": "t",
    "debounce": "5s",
    "throttle": "10/min",
    "overlap": "queue",
    "run_key": "{target}",
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
        run_key="{target}",
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
    assert keys(look(tmp_path, target="t", run_key="{target}")) == [None], "what a request says, no template says"


def test_a_message_leaves_its_name_to_the_template() -> None:
    asked = [Lines("lines", target="t", run_key=key).admit(Message("m")) for key in (None, "{params.n}")]
    assert [one.run_key for one in asked if isinstance(one, RunRequest)] == ["lines:m", None]


def folder(**flow: Any) -> Sensor:
    return FileSensor("landing", path="inbox", target="t", **flow)


def bucket(**flow: Any) -> Sensor:
    return S3Sensor("landing", bucket="b", target="t", **flow)


def table(**flow: Any) -> Sensor:
    return SqlSensor("landing", url="env:X", query="SELECT 1 AS id WHERE id > :cursor ORDER BY id", target="t", **flow)


def feed(**flow: Any) -> Sensor:
    return HttpSensor("landing", url="https://a.example", target="t", **flow)


SET = DynamicPartitions("batches")


@pytest.mark.parametrize(
    ("make", "flow", "said"),
    [
        (folder, {"run_key": "{metadata.path}"}, r"requests have no 'metadata.path'.*they have target, tags.change"),
        (folder, {"run_key": "{partition}"}, "requests have no 'partition'"),
        (folder, {"run_key": "{fil}"}, None),
        (folder, {"partitions": SET, "run_key": "{file}"}, "requests have no 'file'"),
        (folder, {"partitions": SET, "run_key": "{metadata.pth}"}, r"did you mean {metadata.path}"),
        (folder, {"partitions": SET, "params": {"at": ["{siez}"]}}, "params=.*requests have no 'siez'"),
        (bucket, {"run_key": "{bucket}/{key}"}, "requests have no 'bucket'"),
        (bucket, {"partitions": SET, "run_key": "{bucket}/{keys}"}, "requests have no 'keys'"),
        (table, {"run_key": "{params.id}"}, "requests have no 'params.id'"),
        (table, {"params": ["id"], "run_key": "{tags.item}-{params.idd}"}, r"did you mean {params.id}"),
        (feed, {"run_key": "{partition}"}, "requests have no 'partition'"),
    ],
)
def test_a_template_that_no_request_could_fill_is_refused(
    make: Callable[..., Sensor], flow: dict[str, Any], said: str | None
) -> None:
    with pytest.raises(DefinitionError, match=said or "requests have no"):
        make(**flow)


@pytest.mark.parametrize(
    ("make", "flow"),
    [
        (folder, {"run_key": "{target}/{file}/{tags.change}"}),
        (folder, {"params": {"n": 1, "where": "{file}"}, "run_key": "{params.where}-{n}-{{x}}"}),
        (folder, {"partitions": SET, "run_key": "{partition}-{size}-{metadata.mtime}"}),
        (folder, {"partition": "{file}", "run_key": "{partition}-{anything}"}),
        (bucket, {"run_key": "{object}"}),
        (bucket, {"partitions": SET, "run_key": "{bucket}/{key}@{etag}", "params": {"path": "{metadata.key}"}}),
        (table, {"params": ["id"], "run_params": {"m": 1}, "run_key": "{params.id}-{m}-{item}"}),
        (table, {"partitions": SET, "run_key": "{metadata.whatever}-{partition}"}),
        (feed, {"run_key": "{item}"}),
    ],
)
def test_a_template_that_requests_may_fill_is_taken(make: Callable[..., Sensor], flow: dict[str, Any]) -> None:
    assert make(**flow).spec.flow.fills


def test_without_a_pattern_every_object_is_meant() -> None:
    matches = S3Sensor("s", bucket="b", target="t").rules.pattern.matches
    assert all(map(matches, ("a.csv", "in/a.csv", "in/2026/a.csv")))


def test_an_object_leaves_its_name_to_the_template() -> None:
    assert [S3Sensor("s", bucket="b", target="t", run_key=key).rules.templated for key in (None, "{object}")] == [
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
