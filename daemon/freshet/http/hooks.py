"""`/hooks/PATH`: a delivery verified, kept, flushed to disk, and only then answered.

A path of its own, without a framework: limit while reading -> signature over the raw bytes -> tolerance -> what the
body must be -> UNIQUE insert -> flush -> 202. Nothing is made of a body before its signature is right. A path that is
not there is answered as a wrong signature is, after the same work.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import anyio
import orjson
import structlog
from anyio import to_thread

from freshet.definitions.intake import MAX_BODY, Intake
from freshet.engine.control import Control, Door, Hook
from freshet.engine.inbox import InboxFull
from freshet.errors import StoreError
from freshet.http.bucket import HOOK_RATE, Buckets
from freshet.http.cloud_events import NOT_TAKEN, check_event, is_taken
from freshet.http.identity import delivery_id, is_ping, new_delivery
from freshet.http.payload import BadPayload, parse
from freshet.http.schemes import ID_IN_BODY, Delivery, Refused, Verified, verify
from freshet.http.telling import Telling
from freshet.store.records import Kept

__all__ = ["BODY_WITHIN", "PREFIX", "Hooks"]

PREFIX = "/hooks/"
BODY_WITHIN = 10.0
"""Seconds that a sender has for the body of a delivery."""
_IN_MEMORY = 256 << 20
"""Bytes of bodies that are held at once, over all connections, before their signatures are known to be right."""
_LARGE = 1 << 20
"""A body of more bytes is verified in a thread."""
_LARGE_JSON = 64 << 10
"""JSON of more bytes is read in a thread."""
_RETRY_AFTER = 5
"""Seconds, where it is not known better."""
_DRAINED = 16 << 20
_DRAIN_WITHIN = 2.0
"""What of a body that is too large is still read, so that the sender, who writes first and reads then, hears why."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = structlog.get_logger("freshet.hooks")


class _Answer(Exception):
    """The request ends here, with this answer. `close`: and so does the connection, whose body was not read.
    `after`: in how many seconds to come again."""

    def __init__(
        self, code: int, kind: str, message: str, *, hint: str = "", close: bool = False, after: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.close = close
        self.after = _RETRY_AFTER if after is None and code == 503 else after
        self.body = {"error": {"type": kind, "message": message, "hint": hint, "file": None, "line": None}}


class Hooks:
    """The ASGI application behind `/hooks`. `now`: seconds since 1970. `body_within`: see `BODY_WITHIN`. `rate`: how
    many deliveries with a right signature each hook takes a second, over ten seconds."""

    def __init__(
        self,
        control: Control,
        *,
        now: Callable[[], float] = time.time,
        body_within: float | None = None,
        rate: float = HOOK_RATE,
    ) -> None:
        self._control = control
        self._now = now
        self._body_within = BODY_WITHIN if body_within is None else body_within
        self._buckets = Buckets(rate)
        self._memory = _Memory()
        self._telling = Telling(_log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1", "replace") for name, value in scope["headers"]
        }
        try:
            if scope["method"] == "OPTIONS" and "webhook-request-origin" in headers:
                await _granted(send, headers["webhook-request-origin"])
                return
            code, body = await self._deliver(scope, headers, receive)
        except _Answer as answer:
            if answer.close:
                await _drain(receive)
            await _answer(send, answer.code, answer.body, close=answer.close, after=answer.after)
        except _Gone:
            return
        else:
            await _answer(send, code, body)

    async def _deliver(self, scope: Scope, headers: dict[str, str], receive: Receive) -> tuple[int, Any]:
        door = self._control.door
        if door is None:
            raise _Answer(503, "Unavailable", "the daemon takes no deliveries now", close=True)
        if scope["method"] not in ("POST", "PUT"):
            raise _unauthorized(close=True)
        path = scope["path"].removeprefix(PREFIX)
        hook = door.hook(path)
        limit = MAX_BODY if hook is None else hook.intake.max_body
        held = _Held(self._memory)
        try:
            body = await self._body(headers, limit, receive, held)
            delivery = Delivery(headers, body)
            if hook is None:
                await _digest(body)
                self._telling.refused("(unknown)", "there is no such hook")
                raise _unauthorized()
            return await self._taken(door, hook, delivery)
        finally:
            held.release()

    # --- the body -------------------------------------------------------------------------------------------

    async def _body(self, headers: dict[str, str], limit: int, receive: Receive, held: _Held) -> bytes:
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise _too_large(limit)
        with anyio.move_on_after(self._body_within):
            return await _read(receive, limit, held)
        raise _Answer(408, "Timeout", f"the body did not come within {self._body_within:g} s", close=True)

    # --- the signature --------------------------------------------------------------------------------------

    async def _verified(self, intake: Intake, delivery: Delivery, known: tuple[bytes, ...]) -> Verified:
        if len(delivery.body) > _LARGE:
            return await to_thread.run_sync(verify, intake, delivery, known, self._now())
        return verify(intake, delivery, known, self._now())

    async def _taken(self, door: Door, hook: Hook, delivery: Delivery) -> tuple[int, Any]:
        intake = hook.intake
        known = door.secrets(hook)
        if not known and intake.scheme != "none":
            raise _Answer(503, "Unavailable", "this hook cannot verify anything now", hint="its owner has been told")
        unsigned: str | None = None
        try:
            verified = await self._verified(intake, delivery, known)
        except Refused as refusal:
            self._telling.refused(hook.sensor, str(refusal), observed=intake.observe)
            if not intake.observe:
                raise _unauthorized() from None
            verified, unsigned = Verified(), str(refusal)
        self._admit(hook)
        value = await _value(intake, delivery)
        if unsigned is None and (said := is_ping(intake, delivery, value)) is not None:
            return 200, said
        _check_event(delivery, value)
        digest = await _digest(delivery.body)
        name = delivery_id(intake, delivery, verified, value)
        if name is None and intake.id_from is not None:
            self._telling.nameless(hook.sensor, intake.id_from)
        new = new_delivery(hook, delivery, verified, name, digest, received_at=self._now(), unsigned=unsigned)
        return _told(await self._kept(door, new))

    def _admit(self, hook: Hook) -> None:
        """After the signature: a stranger must not use up what the sender may send."""
        wait = self._buckets.take(hook.intake.path, time.monotonic())
        if wait > 0.0:
            self._telling.refused(hook.sensor, "too many come: [http] hook_rate is the bound")
            raise _Answer(429, "TooMany", "too many deliveries", hint="try again later", after=math.ceil(wait))

    async def _kept(self, door: Door, new: Any) -> Kept:
        try:
            return await door.keep(new)
        except InboxFull as error:
            self._telling.refused("(full)", error.message)
            raise _Answer(503, "Unavailable", "too much waits already", hint="try again later") from None
        except StoreError:
            raise _Answer(503, "Unavailable", "it could not be kept", hint="try again later") from None


class _Gone(Exception):
    """The sender is."""


@dataclass(slots=True)
class _Memory:
    """Bytes that all requests together hold."""

    held: int = 0


class _Held:
    """Bytes that one request holds of it."""

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory
        self._count = 0

    def add(self, count: int) -> None:
        """More of them; refused where all requests together hold too many."""
        self._memory.held += count
        self._count += count
        if self._memory.held > _IN_MEMORY:
            raise _Answer(503, "Unavailable", "too much is coming in at once", hint="try again later", close=True)

    def release(self) -> None:
        """All of them."""
        self._memory.held -= self._count
        self._count = 0


async def _read(receive: Receive, limit: int, held: _Held) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        held.add(len(chunk))
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _drain(receive: Receive) -> None:
    size, more = 0, True
    with anyio.move_on_after(_DRAIN_WITHIN):
        while more and size < _DRAINED:
            message = await receive()
            size += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)


async def _value(intake: Intake, delivery: Delivery) -> Any:
    """The body as JSON, where it says that it is, or must be because the id stands in it; None where it need not be."""
    if delivery.headers.get("content-encoding", "identity") != "identity":
        raise _Answer(415, "BadPayload", "encoded bodies are not taken", hint="send it without Content-Encoding")
    kind = delivery.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not is_taken(kind):
        raise _Answer(415, "BadPayload", f"{kind[:100]} is not taken", hint=NOT_TAKEN)
    in_body = intake.scheme in ID_IN_BODY or (intake.id_from or "").startswith("json:")
    is_json = kind.endswith(("/json", "+json", "/cloudevents"))
    if not is_json and not (in_body and kind != "application/x-www-form-urlencoded"):
        return None
    try:
        if len(delivery.body) > _LARGE_JSON:
            return await to_thread.run_sync(parse, delivery.body)
        return parse(delivery.body)
    except BadPayload as error:
        raise _Answer(400, "BadPayload", str(error)) from None


def _check_event(delivery: Delivery, value: Any) -> None:
    try:
        check_event(delivery.headers, value)
    except BadPayload as error:
        raise _Answer(400, "BadPayload", str(error), hint="mend what sends it") from None


async def _digest(body: bytes) -> bytes:
    if len(body) > _LARGE:
        return await to_thread.run_sync(lambda: hashlib.sha256(body).digest())
    return hashlib.sha256(body).digest()


def _told(kept: Kept) -> tuple[int, Any]:
    if kept.how == "other":
        hint = "an id is for one delivery: what is sent again must be the same"
        raise _Answer(409, "Conflict", "a delivery of this id came with another body", hint=hint)
    return 202 if kept.how == "new" else 200, {"id": kept.id}


def _unauthorized(*, close: bool = False) -> _Answer:
    return _Answer(401, "Unauthorized", "bad signature, or no such hook", close=close)


def _too_large(limit: int) -> _Answer:
    return _Answer(413, "TooLarge", f"more than {limit:,} bytes", close=True)


async def _granted(send: Send, origin: str) -> None:
    """The handshake of CloudEvents: whoever asks may try; what he sends must be signed all the same."""
    headers = [(b"webhook-allowed-origin", origin.encode("latin-1")), (b"webhook-allowed-rate", b"*")]
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, (b"allow", b"POST, PUT, OPTIONS")]})
    await send({"type": "http.response.body", "body": b""})


async def _answer(send: Send, code: int, body: Any, *, close: bool = False, after: int | None = None) -> None:
    text = orjson.dumps(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    if after is not None:
        headers.append((b"retry-after", str(after).encode()))
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": text})
