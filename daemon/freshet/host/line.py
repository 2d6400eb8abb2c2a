"""What a step and the daemon say to each other while it runs, over its worker's socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from freshet.host.frames import FrameDecoder, decode, encode
from freshet.host.messages import Called, CancelItem

__all__ = ["Line"]

_CHUNK = 1 << 16
_Heard = Callable[[Any], None]


class Line:
    """Of one worker. Whoever waits reads for all: threads of a step may wait at once, each in an event loop."""

    def __init__(self, decoder: FrameDecoder) -> None:
        self.fd = -1
        self._pid = 0
        self._decoder = decoder
        self._heard: dict[tuple[str, int], tuple[asyncio.AbstractEventLoop, _Heard]] = {}
        self._loops: dict[asyncio.AbstractEventLoop, int] = {}
        self._reading = threading.Lock()
        self._saying = threading.Lock()

    def begin(self, fd: int, pid: int) -> None:
        """The process `pid` has a step now, and this socket."""
        self.fd = fd
        self._pid = pid

    @property
    def mine(self) -> bool:
        """Whether this process is the one that has the step: a fork of it has not."""
        return self._pid == os.getpid()

    def say(self, message: Any) -> None:
        """Send a message. Raises `TypeError` for what JSON cannot hold."""
        frame = memoryview(encode(message))
        with self._saying:
            while frame:
                frame = frame[os.write(self.fd, frame) :]

    @contextmanager
    def hears(self, op: str, number: int, heard: _Heard) -> Generator[None]:
        """Inside, what is said with this `op` of this number comes to `heard`, in the loop that runs."""
        if not self.mine:
            yield
            return
        loop = asyncio.get_running_loop()
        self._heard[op, number] = loop, heard
        self._attend(loop)
        try:
            yield
        finally:
            del self._heard[op, number]
            self._leave(loop)

    def take(self, said: CancelItem | Called) -> None:
        """Hand on what was said, if anybody hears it."""
        number = said["call"] if said["op"] == "cancel_item" else said["number"]
        loop, heard = self._heard.get((said["op"], number), (None, None))
        if loop is not None and heard is not None:
            with contextlib.suppress(RuntimeError):  # it has been closed
                loop.call_soon_threadsafe(heard, said)

    def _attend(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loops[loop] = self._loops.get(loop, 0) + 1
        if self._loops[loop] == 1:
            loop.add_reader(self.fd, self._read)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loops[loop] -= 1
        if not self._loops[loop]:
            del self._loops[loop]
            loop.remove_reader(self.fd)

    def _read(self) -> None:
        with self._reading:
            if not select.select((self.fd,), (), (), 0)[0]:
                return  # another loop was faster
            data = os.read(self.fd, _CHUNK)
            if not data:
                os._exit(1)  # the host is gone
            for payload in self._decoder.feed(data):
                self.take(decode(payload))
