"""Wakes from a queue: S3's notifications name keys to look at. They are hints, and never the truth.

A message is deleted once every sensor that wants one of its keys has said that a commit holds what stands there. One
reader serves all sensors of this process that name the same queue. What is about other buckets and prefixes, S3's test
events and what is no notification at all is deleted at once.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any, Literal, cast
from urllib.parse import unquote_plus

from freshet_sensors.s3_access import Access
from freshet_sensors.s3_client import Busy, S3Error, errors_of, open_client, origin_of

__all__ = ["Letter", "Mail", "keys_of"]

_WAIT = 20
_BATCH = 10
_UNSETTLED_MAX = 5_000
_CAP = 30.0
_STOPPED = 300.0


def keys_of(body: str) -> list[tuple[str, str]]:
    """Bucket and key of each record of a message, as S3 sends it or SNS passes it on; none in what is neither."""
    return list(_records(body, passed_on=False))


def _records(body: str, *, passed_on: bool) -> Iterator[tuple[str, str]]:
    try:
        told: Any = json.loads(body)
    except (ValueError, RecursionError):
        return
    if not isinstance(told, dict):
        return
    told = cast("dict[str, Any]", told)
    if not passed_on and isinstance(told.get("Message"), str) and "TopicArn" in told:
        yield from _records(told["Message"], passed_on=True)
        return
    records: Any = told.get("Records")
    listed: Any = records if isinstance(records, list) else ()  # pyright: ignore[reportUnknownVariableType]
    for record in listed:
        try:
            bucket, key = record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]
        except (KeyError, TypeError):
            continue
        if isinstance(bucket, str) and isinstance(key, str):
            yield bucket, unquote_plus(key)


class Letter:
    """A message that is not deleted yet. `wanted`: by whom, and which keys."""

    __slots__ = ("receipt", "wanted")

    def __init__(self, receipt: str) -> None:
        self.receipt = receipt
        self.wanted: set[tuple[Mail, str]] = set()


class Mail:
    """One sensor's share of a queue. `state`: how it stands, `reason` why; `heard`: the loop's time of the queue's
    last answer, None before the first."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.state: Literal["starting", "listening", "backing off", "stopped"] = "starting"
        self.reason = ""
        self.heard: float | None = None
        self._new: dict[str, None] = {}
        self._waiting: dict[str, set[Letter]] = {}
        self._signal = asyncio.Event()
        self._post: _Post | None = None

    def open(self, queue_url: str, access: Access) -> None:
        """Take part in the queue."""
        name = (queue_url, access, asyncio.get_running_loop())
        self._post = _posts.get(name)
        if self._post is None or self._post.ended:
            self._post = _posts[name] = _Post(name)
        self._post.join(self)

    async def close(self) -> None:
        """Take part no longer. What is not settled comes again, here or elsewhere."""
        if self._post is not None:
            post, self._post = self._post, None
            await post.leave(self)

    async def next(self) -> list[str]:
        """The keys of new messages, however long they take; none where only `state` has changed."""
        await self._signal.wait()
        self._signal.clear()
        keys, self._new = list(self._new), {}
        return keys

    def waiting(self) -> dict[str, set[Letter]]:
        """The keys of messages that are not settled, the oldest first. Hand this, or some of it, to `settle`."""
        return {key: set(letters) for key, letters in self._waiting.items()}

    def settle(self, seen: dict[str, set[Letter]]) -> None:
        """A commit holds what a look found at these keys, or that nothing is there, after they were waiting."""
        for key, letters in seen.items():
            left = self._waiting.get(key, set())
            left -= letters
            if not left:
                self._waiting.pop(key, None)
            for letter in letters:
                letter.wanted.discard((self, key))
                if self._post is not None:
                    self._post.perhaps_done(letter)

    # --- from the reader -----------------------------------------------------------------------------------

    def take(self, letter: Letter, bucket: str, key: str) -> None:
        """A record has come."""
        if bucket == self.bucket and key.startswith(self.prefix):
            letter.wanted.add((self, key))
            self._waiting.setdefault(key, set()).add(letter)
            self._new[key] = None
            self._signal.set()

    def tell(self, state: Literal["listening", "backing off", "stopped"], reason: str = "") -> None:
        """How the queue stands."""
        if (state, reason) != (self.state, self.reason):
            self.state, self.reason = state, reason
            self._signal.set()


class _Post:
    """The reader of one queue."""

    def __init__(self, name: _Name) -> None:
        self._name = name
        queue_url, access, _ = name
        self._url = queue_url
        self._access = Access(
            origin_of(queue_url),
            access.region or _region_in(queue_url),
            access.access_key,
            access.secret_key,
            access.session_token,
        )
        self._mails: list[Mail] = []
        self._letters: dict[str, Letter] = {}
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.ended = False

    def join(self, mail: Mail) -> None:
        self._mails.append(mail)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def leave(self, mail: Mail) -> None:
        self._mails.remove(mail)
        # Not settled, so not deleted: it is forgotten, and comes again.
        wanted = {id(letter) for letters in mail.waiting().values() for letter in letters}
        self._letters = {name: letter for name, letter in self._letters.items() if id(letter) not in wanted}
        if not self._mails and self._task is not None:
            self.ended = True
            _posts.pop(self._name, None)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def perhaps_done(self, letter: Letter) -> None:
        if not letter.wanted:
            self._moved.set()

    async def _run(self) -> None:
        """Read until there is nobody to read for; after what waiting does not mend, try again at long intervals."""
        failures = 0
        while True:
            try:
                async with open_client("sqs", self._access) as client:
                    deleting = asyncio.ensure_future(self._delete(client))
                    try:
                        while True:
                            await self._receive(client, deleting)
                            failures = 0
                    finally:
                        deleting.cancel()
                        await asyncio.gather(deleting, return_exceptions=True)
            except Busy as error:
                failures += 1
                if failures > 2:
                    self._tell("backing off", str(error))
                await asyncio.sleep(random.uniform(0, min(_CAP, 0.2 * 2**failures)))
            except S3Error as error:
                self._tell("stopped", str(error))
                await asyncio.sleep(_STOPPED)
            except Exception as error:  # a reader that is dead must not look like a queue that is quiet
                self._tell("stopped", f"reading the queue failed: {type(error).__name__}")
                await asyncio.sleep(_STOPPED)

    def _tell(self, state: Literal["listening", "backing off", "stopped"], reason: str = "") -> None:
        for mail in self._mails:
            mail.tell(state, reason)

    async def _receive(self, client: Any, deleting: asyncio.Future[None]) -> None:
        if deleting.done():
            deleting.result()
        while len(self._letters) > _UNSETTLED_MAX:  # they are looked at first; a message has time
            await asyncio.wait({deleting}, timeout=1.0)
        with errors_of("sqs", "read the queue"):
            answer = await client.receive_message(QueueUrl=self._url, MaxNumberOfMessages=_BATCH, WaitTimeSeconds=_WAIT)
        heard = asyncio.get_running_loop().time()
        for mail in self._mails:
            mail.heard = heard
        self._tell("listening")
        for message in answer.get("Messages", ()):
            letter = self._letters.setdefault(message["MessageId"], Letter(message["ReceiptHandle"]))
            letter.receipt = message["ReceiptHandle"]  # of one that comes again, the newest counts
            for bucket, key in keys_of(message.get("Body", "")):
                for mail in self._mails:
                    mail.take(letter, bucket, key)
            self.perhaps_done(letter)

    async def _delete(self, client: Any) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            done = [(name, letter) for name, letter in self._letters.items() if not letter.wanted]
            for at in range(0, len(done), _BATCH):
                entries = [
                    {"Id": str(number), "ReceiptHandle": letter.receipt}
                    for number, (_, letter) in enumerate(done[at : at + _BATCH])
                ]
                with errors_of("sqs", "delete messages from the queue"):
                    await client.delete_message_batch(QueueUrl=self._url, Entries=entries)
                # One that could not be deleted comes again, and is settled again.
                for name, _ in done[at : at + _BATCH]:
                    self._letters.pop(name, None)


_Name = tuple[str, Access, asyncio.AbstractEventLoop]
_posts: dict[_Name, _Post] = {}


def _region_in(queue_url: str) -> str | None:
    parts = origin_of(queue_url).rpartition("/")[2].split(".")
    return parts[1] if parts[0] == "sqs" and len(parts) > 3 else None
