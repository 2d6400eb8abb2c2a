"""Frames: what crosses a process boundary. Four bytes of length, big-endian, then that many bytes of JSON.

No pickle anywhere: a frame can say something wrong, but it cannot run anything.
"""

from __future__ import annotations

import struct
from typing import Any

import orjson

from freshet.errors import HostError

__all__ = ["MAX_FRAME", "FrameDecoder", "decode", "encode", "wrap"]

MAX_FRAME = 64 * 1024 * 1024
"""The largest payload, in bytes."""

_LENGTH = struct.Struct(">I")


def wrap(payload: bytes) -> bytes:
    """A payload that is JSON already, as a frame. Raises `HostError` above `MAX_FRAME`."""
    if len(payload) > MAX_FRAME:
        raise HostError(
            f"a frame of {len(payload):,} bytes is over the limit of {MAX_FRAME:,}",
            hint="hand large data on as a file or a value, and only its name in parameters, metadata or a cursor",
        )
    return _LENGTH.pack(len(payload)) + payload


def encode(message: Any) -> bytes:
    """A message as a frame. Raises `HostError` above `MAX_FRAME`, `TypeError` for what JSON cannot hold."""
    return wrap(orjson.dumps(message))


def decode(payload: bytes) -> Any:
    """The message in a payload. Raises `HostError` where it is not JSON."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise HostError(f"a frame is not JSON: {error}", hint="something else wrote on the socket") from None


class FrameDecoder:
    """Cuts a stream of bytes into payloads, however the bytes arrive."""

    def __init__(self, *, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads completed by `data`, in order. Raises `HostError` as soon as a length is over the limit; where
        payloads stand before it, these are returned, and the next call raises."""
        buffer = self._buffer
        buffer += data
        found: list[bytes] = []
        start = 0
        while len(buffer) - start >= 4:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > self._limit and found:
                break
            if length > self._limit:
                raise HostError(
                    f"a frame announces {length:,} bytes, over the limit of {self._limit:,}",
                    hint="the other side speaks another protocol, or sends too much at once",
                )
            end = start + 4 + length
            if end > len(buffer):
                break
            found.append(bytes(buffer[start + 4 : end]))
            start = end
        if start:
            del buffer[:start]
        return found

    @property
    def pending(self) -> int:
        """Bytes of a frame that has not arrived whole: more than 0 at the end of a stream means it was cut off."""
        return len(self._buffer)
