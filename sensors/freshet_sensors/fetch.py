"""One HTTP exchange: conditional, bounded in redirects, bytes and time, with errors that name the remedy."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from freshet import FreshetError, RetryLater
from freshet_sensors.aside import aside

if TYPE_CHECKING:
    import httpx

__all__ = ["Answer", "Ask", "fetch", "make_client", "shown"]

_REDIRECTS = 5
_LONGEST = 86_400.0
_GZIP = b"\x1f"
"""How each member of a gzip begins: there may be several."""
_REMEDY = {
    401: 'give the credentials by headers={"Authorization": "Bearer env:NAME"}',
    403: "are the credentials in headers= those of somebody who may read it?",
    404: "is url= right?",
    405: "is method= right?",
    406: "is an Accept header missing in headers=?",
    410: "it is gone for good: change url=, or remove the sensor",
}


@dataclass(frozen=True)
class Ask:
    """What is asked for. `headers`: the user's own, which no other origin gets to see; `timeout`: seconds in all."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    etag: str | None = None
    modified: str | None = None
    max_body: int = 10 << 20
    timeout: float = 30.0


@dataclass(frozen=True)
class Answer:
    """A body, with what to send the next time. `fresh` False: it is as it was (304)."""

    fresh: bool
    body: bytes = b""
    etag: str | None = None
    modified: str | None = None


def shown(url: str) -> str:
    """A URL without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def make_client() -> httpx.AsyncClient:
    """A client that keeps its connections. Its import and its certificates are read off the loop."""

    def make() -> httpx.AsyncClient:
        import httpx

        return httpx.AsyncClient(follow_redirects=False)

    return await aside(make)


async def fetch(client: httpx.AsyncClient, ask: Ask, *, now: datetime) -> Answer:
    """Raises `RetryLater` where the server asks for patience, `FreshetError` for everything else that is no answer."""
    import httpx

    url = shown(ask.url)
    try:
        async with asyncio.timeout(ask.timeout):
            return await _exchange(client, ask, now)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise FreshetError(
            f"{url}: no whole answer within {ask.timeout:g} s", hint="give it a longer timeout="
        ) from error
    except httpx.HTTPError as error:
        raise _unreachable(url, error) from error


async def _exchange(client: httpx.AsyncClient, ask: Ask, now: datetime) -> Answer:
    conditions = {"If-None-Match": ask.etag, "If-Modified-Since": ask.modified}
    headers = {"Accept": "*/*", "Accept-Encoding": "gzip", **ask.headers}
    headers |= {name: value for name, value in conditions.items() if value is not None}
    request = client.build_request(ask.method, ask.url, headers=headers, timeout=ask.timeout)
    for _ in range(_REDIRECTS + 1):
        response = await client.send(request, stream=True)
        try:
            onward = response.next_request
            if onward is None:
                return await _answer(response, ask, now)
        finally:
            await response.aclose()
        here, there = request.url, onward.url
        if here.scheme == "https" and there.scheme != "https":
            raise FreshetError(f"{shown(str(here))} leads to {shown(str(there))}, in the clear", hint="is url= right?")
        if (here.scheme, here.host, here.port) != (there.scheme, there.host, there.port):
            for name in ask.headers:
                onward.headers.pop(name, None)
        request = onward
    raise FreshetError(
        f"{shown(ask.url)} leads on and on: over {_REDIRECTS} redirects, the last to {shown(str(request.url))}",
        hint="give url= the address that it should end at",
    )


async def _answer(response: httpx.Response, ask: Ask, now: datetime) -> Answer:
    status, url = response.status_code, shown(ask.url)
    if status == 304:
        return Answer(fresh=False)
    if status in (429, 503):
        after = _patience(response.headers.get("Retry-After"), now)
        said = f"{url} answers {status} {response.reason_phrase}"
        if after is None:
            raise RetryLater(said)
        raise RetryLater(said, after=f"{after:.3f}s")
    if not 200 <= status < 300:
        hint = _REMEDY.get(status) or ("is url= right?" if status < 500 else "the server has to be mended, or will be")
        raise FreshetError(f"{url} answers {status} {response.reason_phrase}", hint=hint)
    body = await _body(response, url, ask.max_body)
    return Answer(True, body, response.headers.get("ETag"), response.headers.get("Last-Modified"))


async def _body(response: httpx.Response, url: str, limit: int) -> bytes:
    """Unpacked here, by no more than is wanted: a small body may stand for a huge one."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip"):
        raise FreshetError(f"{url} answers in Content-Encoding {encoding}", hint="it was asked for gzip or plain")
    unpack = zlib.decompressobj(31) if "gzip" in encoding else None
    body = bytearray()
    async for raw in response.aiter_raw():
        rest = raw
        while rest:
            if unpack is not None and unpack.eof:
                if not rest.startswith(_GZIP):
                    break  # what stands behind the last member means nothing
                unpack = zlib.decompressobj(31)
            try:
                body += rest if unpack is None else unpack.decompress(rest, limit + 1 - len(body))
            except zlib.error as error:
                raise FreshetError(f"{url}: its gzip cannot be unpacked: {error}", hint="mend the server") from None
            if len(body) > limit:
                raise FreshetError(f"{url} answers with more than {limit} bytes", hint="give it a larger max_body=")
            rest = b"" if unpack is None else unpack.unused_data
    if unpack is not None and body and not unpack.eof:
        raise FreshetError(f"{url}: its answer was cut off", hint="it is asked again")
    return bytes(body)


def _patience(text: str | None, now: datetime) -> float | None:
    """The seconds of a Retry-After, a day at the most; None for one that says nothing."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return min(float(text), _LONGEST)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), _LONGEST)


def _unreachable(url: str, error: Exception) -> FreshetError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FreshetError(
                f"{url}: its certificate is not trusted: {cause.verify_message}",
                hint="let SSL_CERT_FILE name a file with the certificate of who signed it",
            )
        if isinstance(cause, ssl.SSLError):
            return FreshetError(f"{url}: no TLS: {cause.reason or cause}", hint="is it https:// at this port?")
        cause = cause.__cause__ or cause.__context__
    return FreshetError(f"{url}: {type(error).__name__}: {error}", hint="can this machine reach it?")
