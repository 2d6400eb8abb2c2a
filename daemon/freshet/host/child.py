"""What a new worker or evaluator does first, forked or spawned alike: become its own process, then its part."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from freshet.host.describe import Catalog
from freshet.host.process import become_subreaper, close_all_but, die_with_parent, line_buffered, restore_signals
from freshet.host.worker import Bench

__all__ = ["PAGE_SIZE", "ChildKind", "ChildPlan", "become", "play"]

PAGE_SIZE = mmap.PAGESIZE
"""Bytes of the page that an evaluator shares with the daemon."""


ChildKind = Literal["worker", "kept", "inline", "evaluator"]
"""`worker`: runs one step; `kept`: one after another; `inline`: many at once, in a loop."""


@dataclass(frozen=True)
class ChildPlan:
    """What a child is to be. Descriptors: `sock` to whom it serves; `out` and `err` become 1 and 2; `page` is an
    evaluator's, or of the process for inline steps; `keep` stay open besides (the children's lock). The host's own 0 is
    /dev/null, and stays."""

    kind: ChildKind
    parent: int
    sock: int
    out: int
    err: int
    page: int = -1
    keep: tuple[int, ...] = ()


def become(plan: ChildPlan) -> None:
    """Leave the host behind: its descriptors, session, signals. Ends with the host from here on."""
    die_with_parent(plan.parent)
    if plan.kind != "inline":  # there nobody knows whose an orphan is: it is the host's
        become_subreaper()
    os.setsid()
    if plan.out != 1:
        os.dup2(plan.out, 1)
    if plan.err != 2:
        os.dup2(plan.err, 2)
    close_all_but({0, 1, 2, plan.sock, *plan.keep, *([plan.page] if plan.page >= 0 else [])})
    restore_signals()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:  # else every worker would draw the same numbers; `random` sees to itself
        numpy_random.seed()


def play(plan: ChildPlan, catalog: Catalog, bench: Bench) -> NoReturn:
    """Do the child's part and end the process: no clean-up that was the host's is run twice.

    `bench` is installed already.
    """
    status = 0
    try:
        if plan.kind == "worker":
            bench.serve(plan.sock)
        elif plan.kind == "kept":
            bench.serve_on(plan.sock)
        elif plan.kind == "inline":
            bench.remove()
            _loop(plan, catalog, bench.state_dir)
        else:
            bench.remove()
            _evaluate(plan, catalog)
    except (BrokenPipeError, ConnectionResetError):
        status = 1  # whom it serves is gone
    except BaseException:
        status = 70
        with contextlib.suppress(OSError):  # a step may have closed it: the process ends all the same
            os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    os._exit(status)


def _loop(plan: ChildPlan, catalog: Catalog, state_dir: Path) -> None:
    from freshet.host.inline import process

    page = mmap.mmap(plan.page, PAGE_SIZE)
    os.close(plan.page)
    process.run(plan.sock, page, catalog, state_dir)


def _evaluate(plan: ChildPlan, catalog: Catalog) -> None:
    from freshet.host.evaluator import main

    line_buffered()
    page = mmap.mmap(plan.page, PAGE_SIZE)
    os.close(plan.page)
    main.run(socket.socket(fileno=plan.sock), page, catalog.sensors, catalog.check, catalog.resources)
