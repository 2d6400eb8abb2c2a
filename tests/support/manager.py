"""A service manager for tests: it hears what a daemon tells it, and hands down a socket that outlives daemons."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.support.daemon import wait_until

__all__ = ["Ears", "ears_in", "handed", "listening"]

_HANDED = (
    "-c",
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='http'); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])",
)


def handed(held: socket.socket, *command: str) -> tuple[str, ...]:
    """Arguments of an interpreter: it becomes one with the arguments `command` that has been handed the socket."""
    return (*_HANDED, str(held.fileno()), *(command or ("-m", "freshet", "run")))


class Ears:
    """What was told so far, as (name, value), in order. `environment`: what makes a daemon tell it."""

    def __init__(self, path: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path)}
        self.heard: list[tuple[str, str]] = []
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._link.bind(str(path))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while message := self._link.recv(65536):
            self.heard += [
                (name, value) for name, _, value in (line.partition("=") for line in message.decode().splitlines())
            ]

    def count(self, name: str) -> int:
        """How often it was told."""
        return sum(one == name for one, _ in self.heard)

    def values(self, name: str) -> list[str]:
        """All that were told under this name."""
        return [value for one, value in self.heard if one == name]

    def until(self, name: str, value: str | None = None) -> None:
        """Wait until it was told."""
        wait_until(lambda: any(one == name and value in (None, said) for one, said in self.heard), f"{name}={value}")

    def close(self) -> None:
        """Hear no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._link.getsockname())
        self._thread.join(10)
        self._link.close()


@contextmanager
def ears_in(folder: Path) -> Generator[Ears]:
    """Ears for as long as the block lasts; `folder`: where their socket is made, by a short path."""
    made = Ears(folder / "notify")
    try:
        yield made
    finally:
        made.close()


@contextmanager
def listening() -> Generator[socket.socket]:
    """A TCP socket on a free port, as a socket unit holds one."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as made:
        yield made
