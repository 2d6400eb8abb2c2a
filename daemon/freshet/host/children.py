"""The host's children: started, listened to, killed with all below them, reaped, and their orphans too."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from freshet.host.births import Births
from freshet.host.child import PAGE_SIZE, ChildKind, ChildPlan
from freshet.host.loop import Loop
from freshet.host.process import children_of, describe_end, kill_all, tree_of

__all__ = ["Child", "Children"]

_CHUNK = 1 << 13
"""Bytes of output that are made into lines at a time: some milliseconds of work where the lines are short."""
_PIPE_MAX = 1 << 20
_STRAYS_AGAIN = 0.002
"""Seconds until killed strays are looked for again."""


@dataclass(eq=False)
class Child:
    """A process below the host. `sock` is the host's end (a worker), or the daemon's to be (an evaluator)."""

    kind: ChildKind
    pid: int
    pidfd: int
    sock: socket.socket
    page: int = -1
    pipes: dict[Literal["stdout", "stderr"], int] = field(default_factory=dict[Literal["stdout", "stderr"], int])
    output: Callable[[Literal["stdout", "stderr"], bytes], None] = lambda stream, data: None
    ended: Callable[[str], None] = lambda how: None


class _Ends:
    """The descriptors between the host and a child to be, and its plan."""

    def __init__(self, kind: ChildKind, keep: tuple[int, ...]) -> None:
        self.ours, self._theirs = socket.socketpair()
        self.pipes: dict[Literal["stdout", "stderr"], int] = {}
        out, err, self.page = 2, 2, -1
        if kind != "evaluator":
            self.pipes["stdout"], out = os.pipe()
            self.pipes["stderr"], err = os.pipe()
        if kind in ("evaluator", "inline"):
            self.page = os.memfd_create("freshet-page", os.MFD_CLOEXEC)
            os.ftruncate(self.page, PAGE_SIZE)
        self.plan = ChildPlan(kind, os.getpid(), self._theirs.fileno(), out, err, self.page, keep)

    def close_theirs(self) -> None:
        """The child has its own."""
        self._theirs.close()
        for fd in (self.plan.out, self.plan.err):
            if fd > 2:
                os.close(fd)

    def drop(self) -> None:
        """There will be no child."""
        self.close_theirs()
        self.ours.close()
        for fd in (*self.pipes.values(), self.page):
            if fd >= 0:
                os.close(fd)


class Children:
    """All children, by process id. What is neither a child nor was there before is a stray: an orphan of a child that
    has ended, adopted because the host is a subreaper, and killed."""

    def __init__(self, loop: Loop, births: Births, *, keep: tuple[int, ...]) -> None:
        self._loop = loop
        self._births = births
        self._keep = keep
        self._known = set(children_of())  # started by a plugin while it loaded: the plugin's own affair
        self._sweeping = False
        self.by_pid: dict[int, Child] = {}
        self.when_empty: Callable[[], None] | None = None

    def start(self, kind: ChildKind, count: int = 1) -> list[Child]:
        """New children: `count`, or fewer where there is no room for more. Raises `OSError` where there is none.

        A worker's output goes to `Child.output`, an evaluator's to the host's own stderr.
        """
        prepared = [_Ends(kind, self._keep) for _ in range(count)]
        try:
            pids = self._births.start([ends.plan for ends in prepared])
        except OSError:
            for ends in prepared:
                ends.drop()
            raise
        for ends in prepared[len(pids) :]:
            ends.drop()
        return [self._adopt(kind, pid, ends) for pid, ends in zip(pids, prepared, strict=False)]

    def _adopt(self, kind: ChildKind, pid: int, ends: _Ends) -> Child:
        ends.close_theirs()
        child = Child(kind, pid, os.pidfd_open(pid), ends.ours, ends.page, ends.pipes)
        self.by_pid[pid] = child
        self._loop.watch(child.pidfd, lambda mask: self._reap(child))
        for stream, fd in ends.pipes.items():
            os.set_blocking(fd, False)
            self._loop.watch(fd, partial(self._readable, child, stream))
        return child

    def kill(self, child: Child, number: signal.Signals = signal.SIGKILL) -> None:
        """A signal to the child and all below it."""
        if child.pid in self.by_pid:
            kill_all(tree_of(child.pid), number)

    def signal(self, child: Child, number: signal.Signals) -> None:
        """A signal to the child alone."""
        if child.pid in self.by_pid:
            kill_all([child.pid], number)

    def drain(self, child: Child) -> None:
        """Hand on what is in the child's pipes now."""
        for stream in list(child.pipes):
            for _ in range(_PIPE_MAX // _CHUNK):  # what a process still writes without an end is not waited for
                if not self._read(child, stream):
                    break

    @property
    def empty(self) -> bool:
        """Neither a child nor a stray is left."""
        return not self.by_pid and not self._strays()

    def _readable(self, child: Child, stream: Literal["stdout", "stderr"], mask: int) -> None:
        self._read(child, stream)

    def _read(self, child: Child, stream: Literal["stdout", "stderr"]) -> bool:
        """Hand on a piece, and say whether there may be more: who writes without an end keeps nobody waiting."""
        fd = child.pipes[stream]
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._loop.forget(fd)
            os.close(fd)
            del child.pipes[stream]
            return False
        child.output(stream, data)
        return len(data) == _CHUNK

    def _reap(self, child: Child) -> None:
        """The child has ended: its output, then its process group, then its name."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # safe as long as the zombie holds the number
        _, status = os.waitpid(child.pid, 0)
        self._loop.forget(child.pidfd)
        os.close(child.pidfd)
        del self.by_pid[child.pid]
        self.sweep()
        self.drain(child)
        for fd in child.pipes.values():
            self._loop.forget(fd)
            os.close(fd)
        child.pipes.clear()
        child.ended(describe_end(status))
        self._tell_if_empty()

    def sweep(self) -> None:
        """Kill strays until none is left; looks again while there are any."""
        if self._sweeping:
            return
        strays = self._strays()
        kill_all(strays)
        left = [pid for pid in strays if not _reaped(pid)]
        if left:
            self._sweeping = True
            self._loop.later(_STRAYS_AGAIN, self._sweep_again)

    def _sweep_again(self) -> None:
        self._sweeping = False
        self.sweep()
        self._tell_if_empty()

    def _strays(self) -> list[int]:
        return [pid for pid in children_of() if pid not in self.by_pid and pid not in self._known]

    def _tell_if_empty(self) -> None:
        if self.when_empty is not None and not self._sweeping and self.empty:
            self.when_empty()


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True
