"""A small S3 of our own, on loopback, that can be told to misbehave: ListObjectsV2 and HEAD over plain asyncio HTTP.

Time is a counter that the test moves: an object can become visible later than it was written, in listings alone or
everywhere. Faults are used up one by one, each by the next call that it fits.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right, insort
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

__all__ = ["FakeS3", "Fault", "Stored", "fake_s3"]

BEGAN = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)

Fault = Literal["slow_down", "503_head", "cut", "xml", "no_token", "same_token", "few", "reversed", "denied", "stall"]


@dataclass
class Stored:
    """An object: `modified` may be as old as it likes."""

    etag: str
    size: int
    modified: datetime
    listed_from: int = 0


@dataclass
class FakeS3:
    """One bucket. `page`: keys a page. `faults`: for the next listings; `head_faults`: for the next HEADs."""

    bucket: str = "lake"
    page: int = 1000
    url: str = ""
    objects: dict[str, Stored] = field(default_factory=dict[str, Stored])
    faults: deque[Fault | None] = field(default_factory=deque[Fault | None])
    head_faults: deque[Fault | None] = field(default_factory=deque[Fault | None])
    calls: Counter[str] = field(default_factory=Counter[str])
    asked: list[str] = field(default_factory=list[str])
    now: int = 0
    _keys: list[str] = field(default_factory=list[str])

    def put(self, key: str, text: str = "x", *, at: datetime | None = None, hidden: int = 0) -> str:
        """Write an object; returns its etag. `hidden`: for how many `now` listings do not show it yet."""
        etag = md5(text.encode()).hexdigest()
        if key not in self.objects:
            insort(self._keys, key)
        modified = at or BEGAN + timedelta(seconds=self.now)
        self.objects[key] = Stored(etag, len(text), modified, self.now + hidden)
        return etag

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        if self.objects.pop(key, None) is not None:
            self._keys.remove(key)

    # --- answers -------------------------------------------------------------------------------------------

    def _list(self, query: dict[str, str]) -> tuple[int, bytes]:
        self.calls["list"] += 1
        fault = self.faults.popleft() if self.faults else None
        if fault == "slow_down":
            return 503, _error("SlowDown", "Reduce your request rate. AKIASECRET")
        if fault == "denied":
            return 403, _error("AccessDenied", "no, canary-secret")
        prefix = query.get("prefix", "")
        after = query.get("continuation-token", query.get("start-after", ""))
        self.asked.append(after)
        begin = bisect_right(self._keys, after)
        found, more, at = list[str](), False, begin
        while at < len(self._keys):
            key = self._keys[at]
            at += 1
            if not key.startswith(prefix) or self.objects[key].listed_from > self.now:
                continue
            if len(found) == self.page:
                more = True
                break
            found.append(key)
        token = found[-1] if more else ""
        if fault == "reversed":
            found.reverse()
        told = len(found)
        if fault == "few":
            found = found[:-1]
        if fault == "same_token" and token:
            token = after or token
        if fault == "no_token":
            more, token = True, ""
        rows = "".join(map(self._row, found))
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>{self.bucket}</Name>'
            f"<Prefix>{quote(prefix)}</Prefix><KeyCount>{told}</KeyCount><MaxKeys>{self.page}</MaxKeys>"
            f"<EncodingType>url</EncodingType>{rows}<IsTruncated>{str(more).lower()}</IsTruncated>"
            + (f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else "")
            + "</ListBucketResult>"
        )
        if fault == "xml":
            body = body[: len(body) // 2]
        return (-200 if fault == "cut" else -1 if fault == "stall" else 200), body.encode()

    def _row(self, key: str) -> str:
        one = self.objects[key]
        return (
            f"<Contents><Key>{quote(key)}</Key><LastModified>{one.modified:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f"<ETag>&quot;{one.etag}&quot;</ETag><Size>{one.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )

    def _head(self, key: str) -> tuple[int, dict[str, str]]:
        self.calls["head"] += 1
        if (self.head_faults.popleft() if self.head_faults else None) == "503_head":
            return 503, {}
        one = self.objects.get(key)
        if one is None:
            return 404, {}
        return 200, {
            "ETag": f'"{one.etag}"',
            "Content-Length": str(one.size),
            "Last-Modified": f"{one.modified:%a, %d %b %Y %H:%M:%S GMT}",
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while line := await reader.readline():
                method, target, _ = line.decode().split(" ", 2)
                while (await reader.readline()).strip():
                    pass
                parts = urlsplit(target)
                key = unquote(parts.path).removeprefix(f"/{self.bucket}").removeprefix("/")
                if method == "HEAD":
                    status, headers = self._head(key)
                    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                    writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode())
                else:
                    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                    status, body = self._list(query)
                    if status == -1:
                        await asyncio.sleep(3600)
                    head = f"HTTP/1.1 {abs(status)} X\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}"
                    writer.write(f"{head}\r\n\r\n".encode() + (body[: len(body) // 2] if status < 0 else body))
                    if status < 0:
                        return
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def _error(code: str, message: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@asynccontextmanager
async def fake_s3() -> AsyncGenerator[FakeS3]:
    """It serves as long as the block lasts."""
    made = FakeS3()
    tasks = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await made.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
