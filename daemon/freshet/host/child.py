"""What a new worker or evaluator does first, forked or spawned alike: become its own process, then its part."""

from __future__ import annotations

import faulthandler
import mmap
import os
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from typing import Literal, NoReturn

from freshet.host.describe import Catalog
from freshet.host.process import become_subreaper, close_all_but, die_with_parent, reset_signals
from freshet.host.worker import Folders, serve

__all__ = ["PAGE_SIZE", "ChildPlan", "become", "play"]

PAGE_SIZE = mmap.PAGESIZE
"""Bytes of the page that an evaluator shares with the daemon."""


@dataclass(frozen=True)
class ChildPlan:
    """What a child is to be. Descriptors: `sock` to whom it serves; `out` and `err` become 1 and 2; `page` is an
    evaluator's; `keep` stay open besides (the children's lock)."""

    kind: Literal["worker", "evaluator"]
    parent: int
    sock: int
    out: int
    err: int
    page: int = -1
    keep: tuple[int, ...] = ()


def become(plan: ChildPlan) -> None:
    """Leave the host behind: its descriptors, session, signals, terminal. Ends with the host from here on."""
    die_with_parent(plan.parent)
    os.setsid()
    become_subreaper()
    null = os.open(os.devnull, os.O_RDWR)
    for source, target in ((null, 0), (plan.out, 1), (plan.err, 2)):
        os.dup2(source, target)
    close_all_but({0, 1, 2, plan.sock, *plan.keep, *([plan.page] if plan.page >= 0 else [])})
    reset_signals()
    faulthandler.enable(file=2)
    faulthandler.register(signal.SIGUSR2, file=2)  # asked of a step that timed out: where it stands
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:  # else every worker would draw the same numbers; `random` sees to itself
        numpy_random.seed()


def play(plan: ChildPlan, catalog: Catalog, folders: Folders) -> NoReturn:
    """Do the child's part and end the process: no clean-up that was the host's is run twice."""
    status = 0
    try:
        sock = socket.socket(fileno=plan.sock)
        if plan.kind == "worker":
            serve(sock, catalog, folders)
        else:
            _evaluate(plan, sock, catalog)
    except (BrokenPipeError, ConnectionResetError):
        status = 1  # whom it serves is gone
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
        status = 70
    os._exit(status)


def _evaluate(plan: ChildPlan, sock: socket.socket, catalog: Catalog) -> None:
    from freshet.host.evaluator import main

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    page = mmap.mmap(plan.page, PAGE_SIZE)
    os.close(plan.page)
    main.run(sock, page, catalog.sensors)
