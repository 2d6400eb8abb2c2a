"""The daemon's end of an evaluator's socket: many messages a read, one write a turn of the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

from freshet.errors import HostError
from freshet.host.frames import FrameDecoder, decode, encode

__all__ = ["EvaluatorLink"]

_CHUNK = 1 << 18
_FULL = 1 << 20
"""Bytes that may wait to be sent before `drain` waits."""


class EvaluatorLink:
    """Sends and receives messages. `ended` is called once, when the stream is over or is no stream of frames."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        receive: Callable[[list[Any]], None],
        ended: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._receive = receive
        self._ended = ended
        self._decoder = FrameDecoder()
        self._out = bytearray()
        self._flush_due = False
        self._writing = False
        self._reading = True
        self._room = asyncio.Event()
        self._greeted = False
        self.fds: list[int] = []
        """Descriptors that came with the first message; the taker's to close."""
        self.closed = False
        self._loop.add_reader(sock, self._read)

    def send(self, message: list[Any]) -> None:
        """Send a message at the end of this turn; nothing happens where the other side is gone.

        Raises `HostError` where the message is too large for a frame.
        """
        if self.closed:
            return
        self._out += encode(message)
        if not self._flush_due and not self._writing:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    async def drain(self) -> None:
        """Return when the other side has read enough for more to be sent."""
        while len(self._out) > _FULL and not self.closed:
            self._room.clear()
            await self._room.wait()

    def read_rest(self) -> list[Any]:
        """What has arrived and was not read yet."""
        found: list[Any] = []
        while self._reading and (data := self._receive_bytes()):
            with contextlib.suppress(HostError):
                found += [decode(payload) for payload in self._decoder.feed(data)]
        return found

    def close(self) -> None:
        """Let go of the socket; what waits is dropped."""
        if not self.closed:
            self.closed = True
            self._stop_reading()
            if self._writing:
                self._loop.remove_writer(self._sock)
            self._out.clear()
            self._room.set()
            for fd in self.fds:
                os.close(fd)
            self._sock.close()

    def _receive_bytes(self) -> bytes | None:
        """None where there is nothing to read, empty at the end of the stream."""
        try:
            if self._greeted:
                return self._sock.recv(_CHUNK)
            data, fds, _, _ = socket.recv_fds(self._sock, _CHUNK, 1, socket.MSG_CMSG_CLOEXEC)
            self.fds += fds
            self._greeted = bool(data)
            return data
        except (BlockingIOError, InterruptedError):
            return None
        except ConnectionResetError:
            return b""

    def _read(self) -> None:
        data = self._receive_bytes()
        if data is None:
            return
        messages: list[Any] = []
        if data:
            try:
                messages = [decode(payload) for payload in self._decoder.feed(data)]
            except HostError:
                data = b""
        if messages:
            self._receive(messages)
        if not data:
            self._stop_reading()
            self._ended()

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock)

    def _flush(self) -> None:
        self._flush_due = False
        if self.closed:
            return
        self._try_send()
        if self._out and not self._writing:
            self._writing = True
            self._loop.add_writer(self._sock, self._write_more)

    def _write_more(self) -> None:
        self._try_send()
        if not self._out:
            self._writing = False
            self._loop.remove_writer(self._sock)

    def _try_send(self) -> None:
        try:
            sent = self._sock.send(self._out)
        except (BlockingIOError, InterruptedError):
            return
        except (BrokenPipeError, ConnectionResetError):
            self._out.clear()  # its end shows on reading
        else:
            del self._out[:sent]
        if len(self._out) <= _FULL:
            self._room.set()
