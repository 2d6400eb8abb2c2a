"""The S3 sensor on moto's S3 and SQS: versions, parts, and the queue's wakes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import pytest
from tests.sensors.s3_support import quick, sensor
from tests.sensors.support import Killed, World
from tests.support.moto import Moto

from freshet import RetryLater, RunRequest, SensorContext
from freshet.testing import tick
from freshet_sensors import S3Sensor, s3_look, s3_queue
from freshet_sensors.s3_queue import keys_of

pytestmark = pytest.mark.anyio
_numbers = count(1)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


@pytest.fixture
def bucket() -> str:
    return f"lake-{next(_numbers)}"


async def aside(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """A client that blocks, off the loop."""
    return await asyncio.to_thread(function, *args, **options)


class Woken:
    """A sensor whose `wakes()` runs beside the test."""

    def __init__(self, one: S3Sensor) -> None:
        self.hints = asyncio.Queue[list[str]]()
        self.task = asyncio.create_task(self._run(one))

    async def _run(self, one: S3Sensor) -> None:
        wakes = one.wakes()
        try:
            async for hints in wakes:
                self.hints.put_nowait(list(hints or ()))
        finally:
            await wakes.aclose()  # type: ignore[attr-defined]

    async def next(self) -> list[str]:
        """The next hints that name something."""
        async with asyncio.timeout(30):
            while not (hints := await self.hints.get()):
                pass
            return hints


@asynccontextmanager
async def woken(one: S3Sensor) -> AsyncGenerator[Woken]:
    beside = Woken(one)
    try:
        yield beside
    finally:
        beside.task.cancel()
        with suppress(asyncio.CancelledError):
            await beside.task


class Refusing:
    """A sensor whose looks fail behind so many runs."""

    def __init__(self, sensor: S3Sensor, allowed: int) -> None:
        self.name = sensor.name
        self._sensor = sensor
        self._allowed = allowed

    async def evaluate(self, ctx: SensorContext) -> AsyncIterator[Any]:
        async for said in self._sensor.evaluate(ctx):
            if isinstance(said, RunRequest):
                if not self._allowed:
                    raise OSError("no more")
                self._allowed -= 1
            yield said


@pytest.mark.parametrize("named", [False, True])
async def test_objects_that_were_seen_and_not_admitted_are_lag(
    moto: Moto, bucket: str, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.setattr(s3_look, "_PIECE", 2)
    s3 = await aside(moto.bucket, bucket)
    keys = [f"{name}.csv" for name in "abc"]
    async with sensor(moto.url, bucket=bucket) as one:
        world = World()
        await world.tick(one)
        for key in keys:
            await aside(s3.put_object, Bucket=bucket, Key=key, Body=b"x")
        hints = keys if named else None
        for allowed, left in ((0, 3), (2, 1)):
            with pytest.raises(OSError, match="no more"):
                await world.tick(Refusing(one, allowed), hints)
            assert world.lagging == (left, None)
        await world.tick(one, hints)
        assert (world.lagging, len(world.runs)) == ((0, None), 3)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not await aside(condition):
            await asyncio.sleep(0.02)


async def test_a_bucket_by_the_public_test_door(moto: Moto, bucket: str) -> None:
    s3 = moto.bucket(bucket)
    s3.put_object(Bucket=bucket, Key="in/a b+c.csv", Body=b"text")
    async with sensor(moto.url, bucket=bucket) as one:
        first = await aside(tick, one)
        again = await aside(tick, one, first.cursor, ledger=first.ledger)
    assert [run.partition for run in first.runs] == ["a b+c"]
    assert again.runs == ()


async def test_versions_count_where_they_are_asked_for(moto: Moto, bucket: str) -> None:
    s3 = moto.bucket(bucket, versioned=True)
    plain, exact = World(), World()
    async with sensor(moto.url, bucket=bucket) as one, sensor(moto.url, bucket=bucket, versions=True) as two:
        version = ""
        for _ in range(2):
            version = s3.put_object(Bucket=bucket, Key="a.csv", Body=b"same")["VersionId"]
            await plain.tick(one)
            await exact.tick(two)
        assert (len(plain.runs), len(set(exact.run_keys))) == (1, 2)
        assert exact.partitions["a"]["version_id"] == version
        assert await exact.tick(two, ["a.csv"]) == [], "a look at the key tells the same version"
        s3.delete_object(Bucket=bucket, Key="a.csv")  # a marker stands over the versions
        await exact.tick(two)
    assert exact.entries == {}


async def test_an_upload_of_many_parts(moto: Moto, bucket: str) -> None:
    s3 = moto.bucket(bucket)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a.csv")["UploadId"]
    world = World()
    async with sensor(moto.url, bucket=bucket) as one:
        await world.tick(one)
        tag = s3.upload_part(Bucket=bucket, Key="a.csv", UploadId=upload, PartNumber=1, Body=b"x" * 10)["ETag"]
        await world.tick(one)
        assert world.runs == []
        parts = {"Parts": [{"ETag": tag, "PartNumber": 1}]}
        s3.complete_multipart_upload(Bucket=bucket, Key="a.csv", UploadId=upload, MultipartUpload=parts)
        await world.tick(one)
    assert world.run_keys[0].partition("+")[0].endswith("-1")  # the etag of an upload of one part


async def test_a_bucket_that_is_not_there(moto: Moto) -> None:
    async with sensor(moto.url, bucket="nowhere") as one:
        with pytest.raises(Exception, match=r"NoSuchBucket.*make the bucket"):
            await World().tick(one)


async def test_a_service_that_is_not_there() -> None:
    async with sensor("http://127.0.0.1:1") as one:
        with pytest.raises(RetryLater, match="EndpointConnectionError"):
            await World().tick(one)


# --- the queue ------------------------------------------------------------------------------------------------


async def test_a_notification_names_the_key_and_is_deleted_after_the_commit(moto: Moto, bucket: str) -> None:
    s3 = moto.bucket(bucket)
    queue = moto.notify(bucket)
    world = World()
    async with sensor(moto.url, bucket=bucket, queue_url=queue) as one, woken(one) as beside:
        await world.tick(one)
        await aside(s3.put_object, Bucket=bucket, Key="in/a b+ü.csv", Body=b"text")
        hints = await beside.next()
        assert hints == ["in/a b+ü.csv"]
        with pytest.raises(Killed):
            await world.tick(one, hints, kill_after=0)
        assert await aside(moto.waiting, queue) == (0, 1), "what was lost is not deleted"
        await world.tick(one, hints)
        assert [run.partition for run in world.runs] == ["a b+ü"]
        await until(lambda: moto.waiting(queue) == (0, 0))
        assert [message for _, message, _ in world.log.lines if "queue" in message] == ["the queue wakes"]


async def test_a_full_look_settles_what_waits_too(moto: Moto, bucket: str) -> None:
    s3 = moto.bucket(bucket)
    queue = moto.notify(bucket)
    world = World()
    async with sensor(moto.url, bucket=bucket, queue_url=queue) as one, woken(one) as beside:
        await aside(s3.put_object, Bucket=bucket, Key="a.csv", Body=b"text")
        await aside(s3.put_object, Bucket=bucket, Key="b.csv", Body=b"text")
        await aside(s3.delete_object, Bucket=bucket, Key="b.csv")
        named = set[str]()
        while len(named) < 2:
            named |= set(await beside.next())
        await world.tick(one)
        assert [run.partition for run in world.runs] == ["a"]
        await until(lambda: moto.waiting(queue) == (0, 0))


async def test_what_is_no_notification_or_of_another_bucket_is_deleted(moto: Moto, bucket: str) -> None:
    moto.bucket(bucket)
    queue = moto.notify(bucket)
    sqs = moto.client("sqs")
    for body in ("{", "[]", '{"Service":"Amazon S3","Event":"s3:TestEvent"}', _event("elsewhere", "a.csv")):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    async with sensor(moto.url, bucket=bucket, queue_url=queue) as one, woken(one) as beside:
        await until(lambda: moto.waiting(queue) == (0, 0))
        assert beside.hints.qsize() <= 1  # that the queue answers


async def test_duplicates_and_disorder_do_no_harm(moto: Moto, bucket: str) -> None:
    s3 = moto.bucket(bucket)
    queue = moto.notify(bucket)
    sqs = moto.client("sqs")
    world = World()
    async with sensor(moto.url, bucket=bucket, queue_url=queue) as one, woken(one) as beside:
        await aside(s3.put_object, Bucket=bucket, Key="a.csv", Body=b"text")
        for _ in range(3):
            await aside(sqs.send_message, QueueUrl=queue, MessageBody=_event(bucket, "a.csv"))
        while (await aside(moto.waiting, queue))[0]:
            await world.tick(one, await beside.next())
        await world.tick(one, ["a.csv"])
        await until(lambda: moto.waiting(queue) == (0, 0))
    assert len(world.runs) == 1


async def test_one_reader_serves_all_sensors_of_a_queue(moto: Moto, bucket: str) -> None:
    s3 = moto.bucket(bucket)
    queue = moto.notify(bucket)
    both = World(), World()
    async with (
        sensor(moto.url, bucket=bucket, prefix="in/", queue_url=queue) as one,
        sensor(moto.url, bucket=bucket, queue_url=queue) as two,
        woken(one) as first,
        woken(two) as second,
    ):
        await aside(s3.put_object, Bucket=bucket, Key="in/a.csv", Body=b"text")
        assert await first.next() == await second.next() == ["in/a.csv"]
        await both[0].tick(one, ["in/a.csv"])
        await asyncio.sleep(0)
        assert await aside(moto.waiting, queue) == (0, 1), "the other has not seen to it"
        await both[1].tick(two, ["in/a.csv"])
        await until(lambda: moto.waiting(queue) == (0, 0))
    assert [len(world.runs) for world in both] == [1, 1]


async def test_a_queue_that_is_not_there_stops_the_wake_and_the_listing_goes_on(
    moto: Moto, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = moto.bucket(bucket)
    s3.put_object(Bucket=bucket, Key="a.csv", Body=b"text")
    queue = f"{moto.url}/123456789012/{bucket}-queue"
    monkeypatch.setattr(s3_queue, "_STOPPED", 0.2)
    world = World()
    async with sensor(moto.url, bucket=bucket, queue_url=queue) as one, woken(one) as beside:
        assert await beside.hints.get() == []
        await world.tick(one, [])
        (warning,) = [fields for level, _, fields in world.log.lines if level == "warning"]
        assert "make the queue" in warning["reason"]
        await world.tick(one)
        assert len(world.runs) == 1
        await aside(moto.notify, bucket)
        assert await beside.hints.get() == []
        await world.tick(one, [])
        assert world.log.lines[-1][1] == "the queue wakes"


def _event(bucket: str, key: str) -> str:
    return json.dumps({"Records": [{"s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]})


def test_messages() -> None:
    event = _event("lake", "in/a+b%2Bc%C3%A9.csv")
    assert keys_of(event) == [("lake", "in/a b+cé.csv")]
    assert keys_of(json.dumps({"Type": "Notification", "TopicArn": "arn", "Message": event})) == keys_of(event)
    for body in ("", "{", "7", '{"Records": 7}', '{"Records": [7, {"s3": {}}]}', "[" * 100_000):
        assert keys_of(body) == []
