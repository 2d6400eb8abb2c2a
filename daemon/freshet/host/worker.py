"""A worker: a process that waits for one step, runs it, and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from freshet.host.describe import Catalog
from freshet.host.frames import FrameDecoder, decode, encode
from freshet.host.journal import Journal
from freshet.host.messages import ErrorData, Run, WorkerEnded, WorkerReceived
from freshet.host.output import redirect
from freshet.host.process import children_of, kill_all
from freshet.host.step import perform

__all__ = ["Folders", "serve"]

_LEFTOVERS_WITHIN = 2.0
"""Seconds for killed leftovers to be gone; what is left then is the host's to deal with."""


@dataclass(frozen=True)
class Folders:
    """Where workers write."""

    runs: Path
    values: Path


def serve(sock: socket.socket, catalog: Catalog, folders: Folders) -> None:
    """Wait for a step, run it, report, and return; the caller ends the process.

    The order: receipt is sent, user code runs, its value is on disk, its leftover processes are dead, its output is in
    the journal, the end is sent.
    """
    order = _receive(sock)
    if order is None:
        return
    sock.sendall(encode(WorkerReceived(op="received")))
    journal = Journal(folders.runs, order["run"], order["step"], order["attempt"])
    journal.state("started", pid=os.getpid())
    redirect(journal)
    ended = perform(order, catalog, journal, values_dir=folders.values)
    _flush_output()
    _kill_leftovers()
    if ended["error"] is None:
        journal.state("succeeded")
    else:
        journal.state("failed", error=ended["error"])
    sock.sendall(_fitting(ended))


def _receive(sock: socket.socket) -> Run | None:
    sock.setblocking(True)
    decoder = FrameDecoder()
    while True:
        data = sock.recv(1 << 18)
        if not data:
            return None
        for payload in decoder.feed(data):
            order: Run = decode(payload)
            return order


def _fitting(ended: WorkerEnded) -> bytes:
    """The end as a frame; metadata or an error too large for one is a failure that says so."""
    try:
        return encode(ended)
    except Exception as error:  # a lone surrogate in a message, metadata of 64 MiB
        said = ErrorData(type=type(error).__name__, message=f"the step's end cannot be reported: {error}", traceback="")
        return encode(WorkerEnded(op="ended", value=None, metadata={}, error=said))


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # user code may have put anything there
            stream.flush()


def _kill_leftovers() -> None:
    """End what the step started and did not wait for, also what double-forked: this process is their subreaper."""
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored by user code, nothing could be waited for
    until = time.monotonic() + _LEFTOVERS_WITHIN
    while (left := children_of()) and time.monotonic() < until:
        kill_all(left)
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.0005)
