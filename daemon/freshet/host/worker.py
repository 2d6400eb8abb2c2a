"""A worker: a process that waits for one step, runs it, and ends.

What a forked worker does before and after the user's code is kept small and plain: each page of memory that it writes
to, if only to count a reference, is copied from the host's first, and these copies are most of what a run costs. So
`Bench` makes ahead, in the host, all that can be made ahead.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import sys
import termios
import time
import traceback
from pathlib import Path
from typing import Any

from freshet.host.describe import Catalog
from freshet.host.frames import FrameDecoder, decode, encode
from freshet.host.journal import Journal
from freshet.host.launch import untold
from freshet.host.line import Line
from freshet.host.messages import Called, CancelItem, ErrorData, Run, WorkerEnded, WorkerReceived
from freshet.host.output import Output
from freshet.host.process import children_of, complain, kill_all
from freshet.host.rehearsal import Rehearsal
from freshet.host.resources import Resources
from freshet.host.step import perform
from freshet.host.wear import Surroundings, Wear

__all__ = ["Bench"]

_CHUNK = 1 << 16
_LEFTOVERS_WITHIN = 2.0
"""Seconds for killed leftovers to be gone; what is left then is the host's to deal with."""
_DRAINED_WITHIN = 0.5
_REHEARSED_AFTER = 20
"""Milliseconds of waiting: in a burst a worker has its order before, and every process has better things to do."""
_unwritten = set[int | None]()
_RECEIVED = encode(WorkerReceived(op="received"))


class Bench:
    """All a worker needs but its step. `install` and `remove` switch this process's output to the journal and back."""

    def __init__(self, catalog: Catalog, state_dir: Path) -> None:
        self._catalog = catalog
        self.state_dir = state_dir
        self._values_dir = state_dir / "values"
        self._journal = Journal(state_dir / "runs", unwritten=_say_unwritten)
        self._decoder = FrameDecoder()
        self._line = Line(self._decoder)
        self._rehearsal = Rehearsal(perform, self._values_dir)
        self._output = Output(self._journal)
        self.install = self._output.install
        self.remove = self._output.remove

    def serve(self, sock: int) -> None:
        """Wait on the blocking socket `sock` for a step, run it, report, and return; the caller ends the process.

        The order: receipt is sent, user code runs, its value is on disk, its leftover processes are dead, its output
        is in the journal, the end is sent.
        """
        order = self._receive(sock)
        if order is not None:
            self._work(sock, order)

    def serve_on(self, sock: int) -> None:
        """The same for one step after another, until the socket ends or the worker is worn out."""
        wear, before = Wear(self._catalog.definitions), Surroundings()
        order = self._receive(sock)
        kept = Resources(self._catalog.resources)
        while order is not None:
            self._work(sock, order, wear, kept)
            if wear.out:
                break
            self._journal.close()
            try:
                before.restore()
            except (OSError, ValueError):
                break  # an order that comes meanwhile is for another worker
            order = self._receive(sock, rehearse=False)
        _close(kept)

    def _work(self, sock: int, order: Run, wear: Wear | None = None, kept: Resources | None = None) -> None:
        pid, journal = os.getpid(), self._journal
        journal.begin(order["run"], order["step"], order["attempt"])
        _send(sock, _RECEIVED)
        journal.started(pid)
        self._line.begin(sock, pid)
        ended = perform(order, self._catalog, journal, values_dir=self._values_dir, kept=kept, line=self._line)
        if os.getpid() != pid:
            os._exit(0)  # a fork of user code that came back from it: only the worker itself reports
        _flush_output()
        _kill_leftovers()
        _await_drained()
        if wear is not None and wear.worn_by(order["step"]):
            ended["last"] = True
        frame, error = _fitting(ended)
        if error is None:
            journal.succeeded()
        else:
            journal.state("failed", error=error)
        _send(sock, frame)

    def _receive(self, sock: int, *, rehearse: bool = True) -> Run | None:
        waiting = select.poll()
        waiting.register(sock, select.POLLIN)
        if rehearse and not waiting.poll(_REHEARSED_AFTER):
            self._rehearsal.play()
        while True:
            data = os.read(sock, _CHUNK)
            if not data:
                return None
            for payload in self._decoder.feed(data):
                said: Run | CancelItem | Called = decode(payload)
                if said["op"] == "run":  # what was for a step may come when that has ended
                    return said


def _send(sock: int, frame: bytes) -> None:
    sent = os.write(sock, frame)
    while sent < len(frame):
        frame = frame[sent:]
        sent = os.write(sock, frame)


def _fitting(ended: WorkerEnded) -> tuple[bytes, ErrorData | None]:
    """The end as a frame, and its error; metadata or an error too large for a frame is a failure that says so."""
    try:
        return encode(ended), ended["error"]
    except Exception as error:  # a lone surrogate in a message, metadata of 64 MiB
        said = untold(error)
        return encode(WorkerEnded(op="ended", value=None, metadata={}, error=said, version=None, code=None)), said


def _say_unwritten(error: OSError) -> None:
    """A full disk, or a limit that the step has set itself, fails no step by what it prints. The host may be able to
    write what this process cannot, and tells the daemon's log where it is not."""
    if error.errno not in _unwritten:
        _unwritten.add(error.errno)
        complain(f"lines of the journal cannot be written: {error.strerror}")


def _close(kept: Resources) -> None:
    """No step is there any more to fail by it: what goes wrong is told in the journal of the last."""
    try:
        with kept:
            pass
    except Exception:  # a user's
        sys.stderr.write(traceback.format_exc())
    _flush_output()


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # user code may have put anything there
            stream.flush()


def _kill_leftovers() -> None:
    """End what the step started and did not wait for, also what double-forked: this process is their subreaper."""
    until = 0.0
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended == 0:
            now = time.monotonic()
            until = until or now + _LEFTOVERS_WITHIN
            if now > until:
                return
            kill_all(children_of())
            time.sleep(0.0005)


def _await_drained() -> None:
    """Let the host read what went through the pipes, so that it stands in the journal before the end does."""
    until = 0.0
    waiting: Any = array.array("i", [0])
    for fd in (1, 2):
        while True:
            try:
                fcntl.ioctl(fd, termios.FIONREAD, waiting)
            except OSError:  # user code has closed it, or put something else there
                break
            if waiting[0] == 0:
                break
            until = until or time.monotonic() + _DRAINED_WITHIN
            if time.monotonic() > until:
                return
            time.sleep(0.0002)
