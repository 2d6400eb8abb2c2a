"""The tests' own S3, and a queue, called in line: what aioboto3's clients would answer, in the running loop's time.

For sensors in virtual time. The queue is at least once and in no order, as SQS is.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from botocore import exceptions as known
from botocore.parsers import ResponseParserError
from tests.support.fake_s3 import FakeS3, Fault, Listed

__all__ = ["Note", "PaperClient", "PaperQueue", "QueueFault", "service"]

QueueFault = Literal["throttled", "reset", "denied", "stall"]
_ENDPOINT = "http://paper"
_VISIBLE_AGAIN = 30.0


class PaperClient:
    """What `S3Sensor` asks of a client for S3. Each call takes a little of the loop's time."""

    def __init__(self, s3: FakeS3) -> None:
        self._s3 = s3

    async def list_objects_v2(self, **asked: Any) -> dict[str, Any]:
        """A page of the objects there are."""
        page = await self._page(asked, asked.get("ContinuationToken") or asked.get("StartAfter") or "")
        rows = [self._row(key) for key in page.keys]
        return _answer(page, {"KeyCount": page.told, "Contents": rows, "NextContinuationToken": page.token})

    async def list_object_versions(self, **asked: Any) -> dict[str, Any]:
        """A page of versions. Older ones are not kept here, but for one that each page is padded with."""
        page = await self._page(asked, asked.get("KeyMarker") or "")
        rows = [self._row(key) | {"VersionId": self._version(key), "IsLatest": True} for key in page.keys]
        if rows:
            rows.append(rows[-1] | {"VersionId": "old", "IsLatest": False, "ETag": '"0"'})
        return _answer(page, {"Versions": rows, "NextKeyMarker": page.token})

    async def head_object(self, **asked: Any) -> dict[str, Any]:
        """What stands at a key."""
        await asyncio.sleep(0.01)
        status, _ = self._s3.answer_head(asked["Key"])
        if status != 200:
            raise _refused(str(status), status)
        one = self._s3.objects[asked["Key"]]
        return {
            "ETag": f'"{one.etag}"',
            "ContentLength": one.size,
            "LastModified": one.modified.replace(microsecond=0),
            "VersionId": one.version,
        }

    async def _page(self, asked: dict[str, Any], after: str) -> Listed:
        s3 = self._s3
        s3.calls["list"] += 1
        fault: Fault | None = s3.faults.popleft() if s3.faults else None
        await asyncio.sleep(30 if fault == "timeout" else 3600 if fault == "stall" else 0.05)
        if not s3.there:
            raise _refused("NoSuchBucket", 404)
        if fault in _BROKEN:
            raise _BROKEN[fault]()
        return s3.pick(asked["Prefix"], after, min(s3.page, asked.get("MaxKeys", s3.page)), fault)

    def _row(self, key: str) -> dict[str, Any]:
        one = self._s3.shown(key)
        assert one is not None
        return {"Key": key, "ETag": f'"{one.etag}"', "Size": one.size, "LastModified": one.modified}

    def _version(self, key: str) -> str:
        one = self._s3.shown(key)
        assert one is not None
        return one.version


def _answer(page: Listed, more: dict[str, Any]) -> dict[str, Any]:
    http = {"HTTPHeaders": {"content-type": "application/xml"}}
    return {"ResponseMetadata": http, "IsTruncated": page.more} | {name: one for name, one in more.items() if one != ""}


def _refused(code: str, status: int) -> known.ClientError:
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return known.ClientError(response, "Call")


_BROKEN: dict[Fault | None, Callable[[], Exception]] = {
    "slow_down": lambda: _refused("SlowDown", 503),
    "denied": lambda: _refused("AccessDenied", 403),
    "cut": lambda: known.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    "xml": lambda: ResponseParserError("no element found"),
    "timeout": lambda: known.ReadTimeoutError(endpoint_url=_ENDPOINT),
}


@dataclass
class Note:
    """A message in the queue. `visible`: from when on it is handed out; `about`: what the test wants to know of it."""

    body: str
    visible: float
    about: Any = None
    receipt: int = 0


def _nothing(_: Note) -> None:
    """Nobody wants to know."""


@dataclass
class PaperQueue:
    """`deleted`: is called with each note that a sensor deletes. `silent`: it hands nothing out. `read_at`: when it was
    asked for messages."""

    deleted: Callable[[Note], None] = _nothing
    silent: bool = False
    faults: deque[QueueFault | None] = field(default_factory=deque[QueueFault | None])
    notes: dict[int, Note] = field(default_factory=dict[int, Note])
    read_at: list[float] = field(default_factory=list[float])
    _numbers: int = 0
    _sent: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, body: str, about: Any = None, *, after: float = 0.0) -> None:
        """A message that can be read in so many seconds."""
        self._numbers += 1
        self.notes[self._numbers] = Note(body, asyncio.get_running_loop().time() + after, about)
        self._sent.set()

    async def receive_message(self, **asked: Any) -> dict[str, Any]:
        """Some messages, once there are any, or none after a while."""
        loop = asyncio.get_running_loop()
        until = loop.time() + asked["WaitTimeSeconds"]
        self.read_at.append(loop.time())
        await asyncio.sleep(0.01)
        await self._perhaps_fail()
        while not (ready := self._ready(loop.time())) and loop.time() < until:
            coming = [] if self.silent else [note.visible for note in self.notes.values()]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(until, *coming, until)):
                    self._sent.clear()
                    await self._sent.wait()
        found = list[dict[str, Any]]()
        for number in random.sample(ready, min(len(ready), asked["MaxNumberOfMessages"])):
            note = self.notes[number]
            note.visible = loop.time() + _VISIBLE_AGAIN
            note.receipt += 1
            found.append({"MessageId": str(number), "ReceiptHandle": f"{number} {note.receipt}", "Body": note.body})
        return {"Messages": found} if found else {}

    async def delete_message_batch(self, **asked: Any) -> dict[str, Any]:
        """Delete messages, those whose receipt is the newest."""
        await asyncio.sleep(0.01)
        await self._perhaps_fail()
        for entry in asked["Entries"]:
            number, receipt = map(int, entry["ReceiptHandle"].split())
            note = self.notes.get(number)
            if note is not None and note.receipt == receipt:
                self.deleted(self.notes.pop(number))
        return {}

    def _ready(self, now: float) -> list[int]:
        return [] if self.silent else [number for number, note in self.notes.items() if note.visible <= now]

    async def _perhaps_fail(self) -> None:
        match self.faults.popleft() if self.faults else None:
            case "throttled":
                raise _refused("RequestThrottled", 403)
            case "denied":
                raise _refused("AccessDenied", 403)
            case "reset":
                raise known.ConnectionClosedError(endpoint_url=_ENDPOINT)
            case "stall":
                await asyncio.sleep(3600)
            case None:
                return


def service(s3: FakeS3, queue: PaperQueue | None = None) -> Callable[..., Any]:
    """To be put in the place of `open_client`."""

    @asynccontextmanager
    async def open_client(kind: Literal["s3", "sqs"], access: object) -> AsyncGenerator[Any]:
        yield PaperClient(s3) if kind == "s3" else queue

    return open_client
