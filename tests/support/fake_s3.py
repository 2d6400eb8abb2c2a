"""A small S3 of our own that can be told to misbehave: ListObjectsV2 and HEAD over plain asyncio HTTP on loopback, or
called in line (`paper_s3`).

Time is a counter that the test moves: an object can show in listings later than it was written, and what it replaced
until then. Faults are used up one by one, each by the next call that it fits.
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
from itertools import islice
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

__all__ = ["BEGAN", "FakeS3", "Fault", "Listed", "Stored", "fake_s3"]

BEGAN = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)

Fault = Literal[
    "slow_down", "503_head", "cut", "xml", "timeout", "no_token", "same_token", "few", "end", "again", "reversed",
    "denied", "stall",
]  # fmt: skip
"""For a listing: no answer (`slow_down`, `denied`), one that is cut off (`cut`, `xml`) or never comes (`timeout`: the
client gives up, `stall`), one that says that more follows and not where (`no_token`), or where it was (`same_token`),
that holds fewer keys than it says (`few`), claims to be the last (`end`), shows the page before once more (`again`), or
in the other direction (`reversed`)."""


@dataclass
class Stored:
    """An object: `modified` may be as old as it likes. `before`: what listings show until `listed_from`."""

    etag: str
    size: int
    modified: datetime
    listed_from: int = 0
    version: str = "null"
    before: Stored | None = None


class Listed(NamedTuple):
    """A page. `told`: how many keys it says it has."""

    keys: list[str]
    told: int
    more: bool
    token: str


@dataclass
class FakeS3:
    """One bucket. `page`: keys a page. `faults`: for the next listings; `head_faults`: for the next HEADs. `there`:
    whether there is such a bucket at all."""

    bucket: str = "lake"
    page: int = 1000
    url: str = ""
    there: bool = True
    objects: dict[str, Stored] = field(default_factory=dict[str, Stored])
    faults: deque[Fault | None] = field(default_factory=deque[Fault | None])
    head_faults: deque[Fault | None] = field(default_factory=deque[Fault | None])
    calls: Counter[str] = field(default_factory=Counter[str])
    asked: list[str] = field(default_factory=list[str])
    now: int = 0
    _keys: list[str] = field(default_factory=list[str])
    _bodies: dict[tuple[str, str, int], bytes] = field(default_factory=dict[tuple[str, str, int], bytes])
    _written: int = 0
    _late: int = 0

    def put(self, key: str, text: str = "x", *, at: datetime | None = None, hidden: int = 0) -> str:
        """Write an object; returns its etag. `hidden`: for how many `now` listings do not show it yet."""
        etag = md5(text.encode()).hexdigest()
        before = self.objects.get(key)
        if before is None:
            insort(self._keys, key)
        modified = at or BEGAN + timedelta(seconds=self.now)
        self._written += 1
        shown = None if before is None or not hidden else self.shown(key)
        self.objects[key] = Stored(etag, len(text), modified, self.now + hidden, f"v{self._written}", shown)
        self._late = max(self._late, self.now + hidden)
        self._bodies.clear()
        return etag

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        if self.objects.pop(key, None) is not None:
            self._keys.remove(key)
            self._bodies.clear()

    def hide(self, key: str, until: int) -> None:
        """Listings leave it out until `now` is so far."""
        self.objects[key].listed_from, self.objects[key].before = until, None
        self._late = max(self._late, until)
        self._bodies.clear()

    def shown(self, key: str) -> Stored | None:
        """What a listing shows of a key."""
        one = self.objects[key]
        return one if one.listed_from <= self.now else one.before

    def pick(self, prefix: str, after: str, limit: int, fault: Fault | None = None) -> Listed:
        """A page of a listing, from behind `after`."""
        if fault == "again":
            after = self.asked[-1] if self.asked else ""
        self.asked.append(after)
        found, more = list[str](), False
        for key in islice(self._keys, bisect_right(self._keys, after), None):
            if not key.startswith(prefix) or self.shown(key) is None:
                continue
            if len(found) == limit:
                more = True
                break
            found.append(key)
        token, told = found[-1] if more else "", len(found)
        if fault == "reversed":
            found.reverse()
        elif fault == "few":
            found = found[:-1]
        elif fault == "same_token" and token:
            token = after or token
        elif fault == "no_token":
            more, token = True, ""
        elif fault == "end":
            more, token = False, ""
        return Listed(found, told, more, token)

    # --- answers -------------------------------------------------------------------------------------------

    def _list(self, query: dict[str, str]) -> tuple[int, bytes]:
        self.calls["list"] += 1
        fault = self.faults.popleft() if self.faults else None
        if fault == "slow_down":
            return 503, _error("SlowDown", "Reduce your request rate. AKIASECRET")
        if fault == "denied":
            return 403, _error("AccessDenied", "no, canary-secret")
        if not self.there:
            return 404, _error("NoSuchBucket", "The specified bucket does not exist")
        prefix, limit = query.get("prefix", ""), min(self.page, int(query.get("max-keys", self.page)))
        after = query.get("continuation-token", query.get("start-after", ""))
        name = (prefix, after, limit)  # a page that was made before costs nothing, however long the bucket is
        body = self._bodies.get(name) if fault is None and self.now >= self._late else None
        if body is None:
            body = self._body(prefix, limit, self.pick(prefix, after, limit, fault))
        else:
            self.asked.append(after)
        if fault is None and self.now >= self._late:
            self._bodies[name] = body
        if fault == "xml":
            body = body[: len(body) // 2]
        return (-200 if fault == "cut" else -1 if fault == "stall" else 200), body

    def _body(self, prefix: str, limit: int, page: Listed) -> bytes:
        rows = "".join(map(self._row, page.keys))
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>{self.bucket}</Name>'
            f"<Prefix>{quote(prefix)}</Prefix><KeyCount>{page.told}</KeyCount><MaxKeys>{limit}</MaxKeys>"
            f"<EncodingType>url</EncodingType>{rows}<IsTruncated>{str(page.more).lower()}</IsTruncated>"
            + (f"<NextContinuationToken>{escape(page.token)}</NextContinuationToken>" if page.token else "")
            + "</ListBucketResult>"
        ).encode()

    def _row(self, key: str) -> str:
        one = self.shown(key) or self.objects[key]
        return (
            f"<Contents><Key>{quote(key)}</Key><LastModified>{one.modified:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f"<ETag>&quot;{one.etag}&quot;</ETag><Size>{one.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )

    def answer_head(self, key: str) -> tuple[int, dict[str, str]]:
        """Status and headers of a HEAD."""
        self.calls["head"] += 1
        if (self.head_faults.popleft() if self.head_faults else None) == "503_head":
            return 503, {}
        one = self.objects.get(key) if self.there else None
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
                    status, headers = self.answer_head(key)
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
