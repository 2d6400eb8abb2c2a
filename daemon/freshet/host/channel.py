"""A stream socket that never blocks its owner: frames in, frames out, with a buffer where the kernel's is full."""

from __future__ import annotations

import array
import contextlib
import socket
from collections.abc import Iterator

from freshet.host.frames import FrameDecoder

__all__ = ["Channel"]

_CHUNK = 1 << 18


class Channel:
    """One end of a socket pair. `fileno()` is what a selector watches; `wants_write` says whether for writing too."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._decoder = FrameDecoder()
        self._out: list[tuple[memoryview, tuple[int, ...]]] = []
        self.ended = False

    def fileno(self) -> int:
        """The descriptor, -1 once closed."""
        return self._sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Something waits for room in the kernel's buffer."""
        return bool(self._out)

    def read(self) -> Iterator[bytes]:
        """The payloads that have arrived; sets `ended` at the end of the stream. Raises `HostError` where a length is
        over the limit, behind all that came before it."""
        while not self.ended:
            try:
                data = self._sock.recv(_CHUNK)
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionResetError:
                data = b""
            if not data:
                self.ended = True
                break
            found = self._decoder.feed(data)
            while found:
                yield from found
                found = self._decoder.feed(b"")
            if len(data) < _CHUNK:
                break

    def send(self, frame: bytes, fds: tuple[int, ...] = ()) -> None:
        """Send a frame, now as far as possible. `fds` travel with its first byte; they may be closed when
        `wants_write` is False again. What is sent to a peer that is gone is lost: its end shows on reading."""
        self._out.append((memoryview(frame), fds))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as there is room."""
        while self._out:
            data, fds = self._out[0]
            try:
                sent = self._sock.sendmsg([data], _rights(fds))
            except (BlockingIOError, InterruptedError):
                return
            except (BrokenPipeError, ConnectionResetError):
                self._out.clear()
                return
            if sent == len(data):
                self._out.pop(0)
            else:
                self._out[0] = (data[sent:], ())

    def finish(self) -> None:
        """Nothing more will be sent: the peer finds the end of the stream, and may still say something."""
        with contextlib.suppress(OSError):  # it has ended already
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket; what waits is dropped."""
        self._out.clear()
        self._sock.close()


def _rights(fds: tuple[int, ...]) -> list[tuple[int, int, bytes]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
