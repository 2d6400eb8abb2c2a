"""What a bucket shows: pages of objects below a prefix, and single objects, with patience where the service is busy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from freshet_sensors.s3_client import Busy, errors_of

__all__ = ["Broken", "Bucket", "Object", "Page", "Patience", "Row"]

_T = TypeVar("_T")
_AT_ONCE = 16

Row = tuple[str, str, int, Any, str | None]
"""Key, etag, size, time of the last change (aware), version id: an `Object` before anything is to be said of it."""


class Broken(Exception):
    """A listing did not come to its end. What was seen of it counts; of the rest nothing is known."""


@dataclass
class Patience:
    """How a look bears a busy service: up to `retries` times in all, each after a random part of a wait that doubles
    from `base` to `cap` seconds."""

    retries: int = 8
    base: float = 0.2
    cap: float = 15.0

    async def bear(self, act: Callable[[], Awaitable[_T]]) -> _T:
        """Call it until it answers. Raises `Busy` when the budget is spent."""
        tried = 0
        while True:
            try:
                return await act()
            except Busy:
                if self.retries <= 0:
                    raise
            self.retries -= 1
            await asyncio.sleep(random.uniform(0, min(self.cap, self.base * 2**tried)))
            tried += 1


class Object(NamedTuple):
    """An object as it stood at the look; `place` is where it was found, and a part of the version."""

    place: str
    bucket: str
    key: str
    etag: str
    size: int
    modified: Any
    version_id: str | None
    versioned: bool

    @property
    def version(self) -> str:
        """What tells one content from the next."""
        return version_of(self.place, self.etag, self.version_id if self.versioned else None)

    @property
    def run_key(self) -> str:
        """Of the run for this version. It holds the time, since bytes that were there before, and were overwritten or
        deleted meanwhile, are another version. It holds what the object says of itself alone: whoever looks again, also
        after a rollback, asks for the same run."""
        known = self.versioned and self.version_id not in (None, "null")
        return f"{self.bucket}/{self.key}@{self.etag}+{self.version_id if known else _second(self.modified)}"

    def metadata(self, root: str) -> dict[str, Any]:
        """What the object's partition gets to know of it."""
        return {
            "bucket": self.bucket,
            "key": self.key,
            "etag": self.etag,
            "size": self.size,
            "last_modified": self.modified.timestamp(),
            "version_id": self.version_id,
        }


def _second(at: datetime) -> str:
    """A time to the second: some services tell parts of it in listings alone."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def version_of(place: str, etag: str, version_id: str | None) -> str:
    """The text that the ledger keeps of a version (as a hash)."""
    return f"{place} {etag}" if version_id is None else f"{place} {etag} {version_id}"


@dataclass(frozen=True)
class Page:
    """Some objects in the order of the listing. `more`: another page follows. `ordered`: the keys grow, from the page
    before too. `last`: the greatest key that was listed so far."""

    rows: list[Row]
    more: bool
    ordered: bool
    last: str | None


@dataclass(frozen=True)
class Bucket:
    """A bucket (or what lies in it below `prefix`) through a client. `versioned`: list the newest versions by their
    ids, which costs more calls where old versions are kept."""

    client: Any
    name: str
    prefix: str
    versioned: bool = False

    async def pages(self, after: str | None, patience: Patience) -> AsyncGenerator[Page]:
        """The listing, from behind the key `after`. The next page is asked for while this one is looked at.

        Raises `Broken`, or `S3Error` where waiting does not help.
        """
        seen: set[Any] = set()
        last, task = after, asyncio.ensure_future(self._ask(after, None, patience))
        try:
            while True:
                try:
                    answer = await task
                except Busy as error:
                    raise Broken(str(error)) from None
                token = self._token(answer, seen)
                if token is not None:
                    task = asyncio.ensure_future(self._ask(after, token, patience))
                rows = self._rows(answer)
                keys = [row[0] for row in rows]
                ordered = all(a < b for a, b in pairwise(keys))
                ordered = ordered and (not keys or last is None or last < keys[0])
                last = max(filter(None, (last, *keys)), default=None)
                yield Page(rows, token is not None, ordered, last)
                if token is None:
                    return
        finally:
            if not task.done():
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def heads(self, keys: Iterable[str], patience: Patience) -> list[tuple[str, Row | None]]:
        """Each key with what stands there, None for nothing. Raises `Broken` or `S3Error`.

        A key is not there for want of the bucket, too, and a look at it alone does not tell the two apart.
        """
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(key: str) -> tuple[str, Row | None]:
            async with places:
                return key, await patience.bear(lambda: self._head(key))

        tasks = [asyncio.ensure_future(one(key)) for key in keys]
        try:
            found = await asyncio.gather(*tasks)
            if any(row is None for _, row in found):
                await self._ask(None, None, patience, limit=1)
            return found
        except Busy as error:
            raise Broken(str(error)) from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(
        self, after: str | None, token: Any, patience: Patience, *, limit: int | None = None
    ) -> dict[str, Any]:
        asked: dict[str, Any] = {"Bucket": self.name, "Prefix": self.prefix}
        if limit is not None:
            asked["MaxKeys"] = limit
        if self.versioned:
            asked |= token or ({"KeyMarker": after} if after is not None else {})
            call = self.client.list_object_versions
        else:
            asked |= {"ContinuationToken": token} if token else {"StartAfter": after} if after is not None else {}
            call = self.client.list_objects_v2

        async def act() -> dict[str, Any]:
            with errors_of("s3", f"list the bucket {self.name}"):
                found: dict[str, Any] = await call(**asked)
            if not found.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("content-type", "xml").endswith("xml"):
                raise Busy(f"could not list the bucket {self.name}: the answer is no XML")
            if "IsTruncated" not in found:
                raise Busy(f"could not list the bucket {self.name}: the answer ends too early")
            return found

        return await patience.bear(act)

    def _token(self, answer: dict[str, Any], seen: set[Any]) -> Any:
        """What asks for the next page, None at the end. Raises `Broken`."""
        told = answer.get("KeyCount")
        if told is not None and told != len(answer.get("Contents", ())) + len(answer.get("CommonPrefixes", ())):
            raise Broken(f"a page of the bucket {self.name} holds fewer keys than it says")
        if not answer["IsTruncated"]:
            return None
        token: Any = answer.get("NextContinuationToken")
        name = token
        if self.versioned:
            key, version = answer.get("NextKeyMarker"), answer.get("NextVersionIdMarker")
            name = (key, version)
            token = {"KeyMarker": key} | ({"VersionIdMarker": version} if version else {}) if key else None
        if not token:
            raise Broken(f"a page of the bucket {self.name} says that more follows, and not where")
        if name in seen:
            raise Broken(f"the listing of the bucket {self.name} goes round in circles: a continuation came twice")
        seen.add(name)
        return token

    def _rows(self, answer: dict[str, Any]) -> list[Row]:
        if not self.versioned:
            return [
                (one["Key"], one["ETag"].strip('"'), one["Size"], one["LastModified"], None)
                for one in answer.get("Contents", ())
            ]
        return [
            (one["Key"], one["ETag"].strip('"'), one["Size"], one["LastModified"], one["VersionId"])
            for one in answer.get("Versions", ())
            if one["IsLatest"]
        ]

    async def _head(self, key: str) -> Row | None:
        from botocore.exceptions import ClientError

        with errors_of("s3", f"look at an object in the bucket {self.name}"):
            try:
                found = await self.client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                    return None
                raise
        version = found.get("VersionId") or ("null" if self.versioned else None)
        return key, found["ETag"].strip('"'), found["ContentLength"], found["LastModified"], version
