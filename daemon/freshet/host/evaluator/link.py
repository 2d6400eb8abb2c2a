"""The evaluator's end of its socket: many messages a read, one write a turn of the loop."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Any

from freshet.host.frames import FrameDecoder, decode, encode

__all__ = ["EvaluatorSocket"]

_CHUNK = 1 << 16
"""Bytes read in one turn: some 400 orders, 10 ms of work, so that a ping is never far behind."""


class EvaluatorSocket:
    """Reads in turns, and writes what a turn of the loop has gathered. On the loop's thread only."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        receive: Callable[[list[Any]], None],
        ended: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._receive = receive
        self._ended = ended
        self._decoder = FrameDecoder()
        self._out = bytearray()
        self._flush_due = False
        self._writing = False
        loop.add_reader(sock, self._read)

    @property
    def unsent(self) -> int:
        """Bytes that wait for the daemon to read."""
        return len(self._out)

    def send(self, message: list[Any]) -> None:
        """Send a message at the end of this turn."""
        self._out += encode(message)
        if not self._flush_due and not self._writing:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def greet(self, message: list[Any], fd: int) -> None:
        """Send the first message, at once and with a descriptor."""
        socket.send_fds(self._sock, [encode(message)], [fd])

    def send_now(self) -> None:
        """Send everything, blocking."""
        while self._out:
            self._try_send()
            if self._out:
                poll = select.poll()
                poll.register(self._sock, select.POLLOUT)
                poll.poll(1000)

    def read_now(self, timeout: float) -> list[Any] | None:
        """The messages that arrive within `timeout` seconds, blocking; None at the end of the stream."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        if not poll.poll(timeout * 1000):
            return []
        data = self._receive_bytes()
        return None if data == b"" else [decode(payload) for payload in self._decoder.feed(data or b"")]

    def _receive_bytes(self) -> bytes | None:
        """None where there is nothing to read, empty at the end of the stream."""
        try:
            return self._sock.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return None
        except ConnectionResetError:
            return b""

    def _read(self) -> None:
        data = self._receive_bytes()
        if data is None:
            return
        if not data:
            self._loop.remove_reader(self._sock)
            self._ended()
            return
        payloads = self._decoder.feed(data)
        if payloads:
            self._receive([decode(payload) for payload in payloads])

    def _flush(self) -> None:
        self._flush_due = False
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
            self._out.clear()
            return
        del self._out[:sent]
