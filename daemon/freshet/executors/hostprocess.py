"""The host process itself: started, its stderr made log lines, its end noticed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable

import structlog

from freshet.executors.hostsettings import HostSettings
from freshet.executors.strays import MARK
from freshet.host.messages import HostPlan
from freshet.host.sources import Sources
from freshet.masking import masked

__all__ = ["HostProcess"]

_log = structlog.get_logger("freshet.host")
_LAST_LINES = 20


class HostProcess:
    """`python -m freshet.host`. `ended` is called once, with how it ended, when it is reaped."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: HostSettings,
        sources: Sources,
        *,
        mark: str,
        lock_fd: int | None,
        ended: Callable[[str], None],
    ) -> None:
        """Start it. Raises `OSError` where that cannot be done. `control` is the daemon's end of its socket."""
        self._loop = loop
        self._ended = ended
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._rest = b""
        self.control, theirs = socket.socketpair()
        self._stderr, stderr = os.pipe()
        keep = () if lock_fd is None else (lock_fd,)
        snapshot = os.memfd_create("freshet-plugins", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(snapshot), "wb") as file:
            file.write(sources.dump())
        plan = HostPlan(
            parent=os.getpid(),
            control=theirs.fileno(),
            snapshot=snapshot,
            state_dir=str(settings.state_dir),
            keep=keep,
        )
        try:
            # No thread between: the kernel ends the host when the thread that started it ends. -P: what lies in the
            # working directory must not take the place of a library.
            self._popen = subprocess.Popen(
                [settings.python, "-P", "-m", "freshet.host", plan.dumps()],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                cwd=settings.root,
                env={**os.environ, MARK: mark},
                pass_fds=(theirs.fileno(), snapshot, *keep),
                start_new_session=True,
            )
        except BaseException:
            self.control.close()
            os.close(self._stderr)
            raise
        finally:
            theirs.close()
            os.close(stderr)
            os.close(snapshot)
        self.pid = self._popen.pid
        self._pidfd = os.pidfd_open(self.pid)
        os.set_blocking(self._stderr, False)
        loop.add_reader(self._stderr, self._read_stderr)
        loop.add_reader(self._pidfd, self._reap)

    @property
    def running(self) -> bool:
        """Not reaped yet."""
        return self._pidfd >= 0

    @property
    def last_lines(self) -> str:
        """What it said last."""
        return "\n".join(self._lines)

    def kill(self) -> None:
        """SIGKILL; `ended` follows."""
        self._signal(signal.SIGKILL)

    async def ask_stack(self, *, patience: float) -> str:
        """Where its code stands, as faulthandler says within `patience` seconds."""
        self._lines.clear()
        self._signal(signal.SIGUSR2)
        await asyncio.sleep(patience)
        return self.last_lines

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _reap(self) -> None:
        code = self._popen.wait()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._read_stderr()
        if self._stderr >= 0:
            self._close_stderr()
        self._ended(f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}")

    def _read_stderr(self) -> None:
        while self._stderr >= 0:
            try:
                data = os.read(self._stderr, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                self._close_stderr()
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._line(line)

    def _close_stderr(self) -> None:
        self._loop.remove_reader(self._stderr)
        os.close(self._stderr)
        self._stderr = -1
        if self._rest:
            rest, self._rest = self._rest, b""
            self._line(rest)

    def _line(self, line: bytes) -> None:
        text = masked(line.decode("utf-8", "backslashreplace"))
        self._lines.append(text)
        _log.info(text)
