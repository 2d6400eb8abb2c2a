"""The daemon's end of a host's control socket, on the event loop: whole messages in, with descriptors; batches out."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from freshet.errors import HostError
from freshet.host.frames import FrameDecoder, decode

__all__ = ["HostLink"]

_CHUNK = 1 << 18
_MOST_FDS = 64


class HostLink:
    """Calls `heard` with each message and `ended` once, when the stream ends or breaks the protocol.

    `fds` are the descriptors that have arrived and were not taken yet, in order; a message that carries some finds its
    own in front, since they travel with its first byte.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        heard: Callable[[Any], None],
        ended: Callable[[HostError | None], None],
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._heard = heard
        self._ended = ended
        self._decoder = FrameDecoder()
        self._out = bytearray()
        self._flush_due = False
        self._open = True
        self.fds: deque[int] = deque()
        loop.add_reader(sock, self._read)

    def send(self, frame: bytes) -> bool:
        """Send with whatever else is sent in this turn of the loop. False where the host is gone: it is not sent."""
        if not self._open:
            return False
        self._out += frame
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        return True

    def close(self) -> None:
        """Close the socket, which ends the host; `ended` is not called."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        while self.fds:
            os.close(self.fds.popleft())

    def drain(self) -> None:
        """Hear now what has arrived."""
        while self._open and self._read():
            pass

    def _flush(self) -> None:
        self._flush_due = False
        if not self._open or not self._out:
            return
        try:
            sent = self._sock.send(self._out)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:  # the host is gone, which shows on reading
            self._out.clear()
            self._loop.remove_writer(self._sock)
            return
        del self._out[:sent]
        if self._out:
            self._flush_due = True
            self._loop.add_writer(self._sock, self._flush)
        else:
            self._loop.remove_writer(self._sock)

    def _read(self) -> bool:
        """Whether anything was there."""
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, _CHUNK, _MOST_FDS, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data, fds = b"", []
        self.fds.extend(fds)
        if not data:
            self._end(None)
            return False
        try:
            messages = [decode(payload) for payload in self._decoder.feed(data)]
        except HostError as error:
            self._end(error)
            return False
        for message in messages:
            if self._open:
                self._heard(message)
        return True

    def _end(self, error: HostError | None) -> None:
        self.close()
        self._ended(error)
