"""What systemd is told of the daemon (sd_notify(3)): datagrams to $NOTIFY_SOCKET.

Non-blocking, because a blocking send to a socket that nobody drains hangs; a lost notification is not worth a stop.
What is told here is the daemon's alone: its children do not inherit the addresses.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Generator, MutableMapping
from contextlib import contextmanager
from typing import NoReturn

import anyio

__all__ = ["Manager"]

_BEATS = 3
"""How often the watchdog is fed within the time that it waits: one beat may be lost, and one late."""
_STATUS_EVERY = 10.0
"""Seconds between two looks at what to show, where no watchdog asks more often."""


class Manager:
    """The service manager that started the daemon, or nobody: then nothing is told. `address`: of its socket, empty for
    nobody. `watchdog`: within how many seconds it wants to hear that the daemon lives; 0 where it does not."""

    def __init__(self, address: str = "", *, watchdog: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._shown = ""
        self.watchdog = watchdog

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> Manager:
        """The one that the environment names; it is taken out of it, for a step that spoke to it would speak for the
        daemon."""
        address = environ.pop("NOTIFY_SOCKET", "")
        within, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        ours = within.isdecimal() and pid in ("", str(os.getpid()))
        return cls(address, watchdog=int(within) / 1e6 if ours and address else 0.0)

    def tell(self, **state: str | int) -> bool:
        """Send `READY=1`, `STATUS=...` and the like; False where nobody listens."""
        if not self._address:
            return False
        message = "\n".join(f"{name}={_in_line(value)}" for name, value in state.items()).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as link:
            try:
                link.sendto(message, self._address)
            except OSError:
                return False
        return True

    @contextmanager
    def reloading(self) -> Generator[None]:
        """While the block lasts the daemon reloads; whatever comes of it, it is ready afterwards."""
        self.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000, STATUS="reloading")
        try:
            yield
        finally:
            self._shown = ""
            self.tell(READY=1)

    async def keep(self, shown: Callable[[], str], held: Callable[[], bool]) -> NoReturn:
        """Feed the watchdog and keep the status line, until cancelled.

        It is the event loop that feeds: one that does not turn does not. `held`: whether something on it stands still
        all the same; then the watchdog is not fed either. `shown`: one line on what the daemon does.
        """
        if not self._address:
            await anyio.sleep_forever()
        while True:
            self._say(shown(), fed=self.watchdog > 0 and not held())
            await anyio.sleep(self.watchdog / _BEATS or _STATUS_EVERY)

    def _say(self, line: str, *, fed: bool) -> None:
        beat = {"WATCHDOG": 1} if fed else {}
        if line != self._shown:
            self._shown = line
            self.tell(STATUS=line, **beat)
        elif beat:
            self.tell(**beat)


def _in_line(value: str | int) -> str:
    """A line end would begin another assignment."""
    return " ".join(str(value).splitlines())
