"""Connections from anywhere: how long each phase may take, and how many one address may hold.

uvicorn waits for ever for the rest of a header or of a body, and for one byte every few seconds a connection stays.
Here every phase has an end, whatever trickles in.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["BODY_PHASE", "HEADER_SIZE", "HEADER_WITHIN", "IDLE_WITHIN", "LAST_WITHIN", "Addresses", "guarded"]

HEADER_WITHIN = 5.0
"""Seconds from the first byte of a request to the end of its header."""
BODY_PHASE = 15.0
"""Seconds for a body, whether anybody reads it or not; the hooks answer 408 before."""
IDLE_WITHIN = 30.0
"""Seconds that a connection may stay without a request."""
LAST_WITHIN = 2.0
"""Seconds that a connection has at the end for the header of a request that is on its way."""

HEADER_SIZE = 64 << 10
"""Bytes of a header at the most; of one that comes in one piece, that piece."""

_LAST = b"content-length: 0\r\nconnection: close\r\n\r\n"
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\n" + _LAST
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _LAST
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n" + _LAST


class Addresses:
    """How many connections each address holds. `most`: of one; 0 for any number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a connection; False, and not counted, where the address holds enough."""
        if self._most and self._open[address] >= self._most:
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        """One that was counted has ended."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


class _Guarded(HttpToolsProtocol):
    addresses: Addresses
    _deadline: asyncio.TimerHandle | None = None
    _address: str | None = None
    _begun = False
    _ends = False
    """The server does: this request is the last."""
    _header = 0
    """Bytes of a header that is not complete."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        address = "" if self.client is None else self.client[0]
        if not self.addresses.enter(address):
            self._end(_TOO_MANY)
            return
        self._address = address
        self._within(IDLE_WITHIN)

    def connection_lost(self, exc: Exception | None) -> None:
        self._within(None)
        if self._address is not None:
            self.addresses.leave(self._address)
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._header:
            self._header += len(data)
        super().data_received(data)
        if self._header > HEADER_SIZE:
            self._end(_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._begun, self._header = True, 1
        self._within(HEADER_WITHIN)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._header = 0
        self._within(BODY_PHASE)
        super().on_headers_complete()
        if self._ends:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """The server ends. Who has connected and said nothing yet is no idle one: his request is on its way."""
        self._ends = True
        earlier: Any = self.cycle  # None before the first request
        if earlier is None or (self._begun and earlier.response_complete):
            self._within(LAST_WITHIN)
        else:
            super().shutdown()

    def on_message_complete(self) -> None:
        self._begun = False
        self._within(IDLE_WITHIN if self.cycle.response_complete else None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._begun and self.cycle.response_complete:
            self._within(IDLE_WITHIN)

    def _within(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        self._deadline = None
        self._end(_TIMEOUT if self._header else b"")

    def _end(self, said: bytes) -> None:
        """Say it, unless an answer is on its way; and do not wait for one who does not read."""
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        earlier: Any = self.cycle  # None before the first request
        if said and (earlier is None or earlier.response_complete):
            self.transport.write(said)
        self.transport.close()


def guarded(addresses: Addresses) -> type[asyncio.Protocol]:
    """uvicorn's protocol for a server whose connections `addresses` counts."""

    class Guarded(_Guarded):
        pass

    Guarded.addresses = addresses
    return Guarded
