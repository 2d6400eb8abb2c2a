"""Processes, as Linux sees them: whose child, whose parent, how ended, and how a new one becomes its own.

Every descendant of a worker is found: the worker is a subreaper, so what double-forks below it becomes its child again,
and what outlives it becomes the host's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

__all__ = [
    "become_subreaper",
    "children_of",
    "close_all_but",
    "complain",
    "describe_end",
    "die_with_parent",
    "kill_all",
    "reset_signals",
    "thread_count",
    "tree_of",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}, {value}): {os.strerror(code)}")


def die_with_parent(parent: int | None) -> None:
    """SIGKILL for this process when its parent ends; at once if that is not `parent` any more. None: no longer."""
    _prctl(_PR_SET_PDEATHSIG, 0 if parent is None else signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def become_subreaper() -> None:
    """Orphans below this process become its children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def complain(text: str) -> None:
    """A line for the daemon's log, if there still is a daemon."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))


def reset_signals() -> None:
    """Handlers as in a fresh interpreter, nothing blocked."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_all_but(keep: Collection[int]) -> None:
    """Close every descriptor except `keep`: a sibling's socket held here would never give its end of file."""
    low = 0
    for fd in sorted(keep):
        if fd > low:
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 20)


def thread_count() -> int:
    """Threads of this process as the kernel counts them: `threading` does not know the native ones."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208  # names alone, and as cheap as it gets


def children_of(pid: int | str = "self") -> list[int]:
    """The children of a process, also ended ones that are not reaped; none if it is gone."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except (FileNotFoundError, ProcessLookupError):
        return found
    for task in tasks:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def tree_of(pid: int) -> list[int]:
    """A process and all below it, parents first."""
    found, position = [pid], 0
    while position < len(found):
        found += children_of(found[position])
        position += 1
    return found


def kill_all(pids: Iterable[int], number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to each that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def describe_end(status: int) -> str:
    """`exit status 3` or `killed by SIGSEGV`, of a status as `os.waitpid` gives it."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


if sys.platform != "linux":  # pragma: no cover
    raise ImportError("the code host needs Linux: prctl, pidfds and /proc")
