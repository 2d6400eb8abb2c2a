"""Processes, as Linux sees them: whose child, whose parent, how ended, and how a new one becomes its own.

Every descendant of a worker is found: the worker is a subreaper, so what double-forks below it becomes its child again,
and what outlives it becomes the host's.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

__all__ = [
    "become_subreaper",
    "children_of",
    "close_all_but",
    "complain",
    "describe_end",
    "die_with_parent",
    "ignore_signals",
    "kill_all",
    "line_buffered",
    "restore_signals",
    "thread_count",
    "tree_of",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_FD_END = 1 << 20
_SIGKILL = int(signal.SIGKILL)
_KERNEL_TELLS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()
_OURS = (int(signal.SIGTERM), int(signal.SIGINT))
_call = ctypes.CDLL(None, use_errno=True).prctl
_call.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
_call.restype = ctypes.c_int
# The wrappers of the module `signal` turn numbers into enum members, which touches much memory: see `child`.
_set_handler: Callable[[int, Any], Any] = importlib.import_module("_signal").signal


def _prctl(option: int, value: int) -> None:
    if _call(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}, {value}): {os.strerror(code)}")


def die_with_parent(parent: int | None) -> None:
    """SIGKILL for this process when its parent ends; at once if that is not `parent` any more. None: no longer."""
    _prctl(_PR_SET_PDEATHSIG, 0 if parent is None else _SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def become_subreaper() -> None:
    """Orphans below this process become its children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def complain(text: str) -> None:
    """A line for the daemon's log, if there still is a daemon."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))


def ignore_signals() -> None:
    """For the host: handlers as in a fresh interpreter whatever a plugin did while it loaded, nothing blocked, and
    deaf to SIGTERM and SIGINT: systemd and terminals signal whole groups, and the daemon decides."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ, *_OURS}:  # Python itself ignores the first
        if signal.getsignal(number) not in (None, signal.SIG_DFL):  # as they are for what faulthandler handles
            signal.signal(number, signal.SIG_DFL)
    for ours in _OURS:
        signal.signal(ours, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def restore_signals() -> None:
    """For its children: SIGTERM ends them, SIGINT raises KeyboardInterrupt."""
    _set_handler(_OURS[0], 0)
    _set_handler(_OURS[1], signal.default_int_handler)


def close_all_but(keep: Collection[int]) -> None:
    """Close every descriptor except `keep`: a sibling's socket held here would never give its end of file."""
    low = 0
    for fd in sorted(keep):
        if fd > low:
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, _FD_END)


def line_buffered() -> None:
    """Let what is printed appear line by line, although it goes to a pipe."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def thread_count() -> int:
    """Threads of this process as the kernel counts them: `threading` does not know the native ones."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208  # names alone, and as cheap as it gets


def children_of(pid: int | str = "self") -> list[int]:
    """The children of a process, also ended ones that are not reaped; none if it is gone."""
    found: list[int] = []
    if not _KERNEL_TELLS_CHILDREN:
        return _children_by_parent(os.getpid() if pid == "self" else int(pid))
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except (FileNotFoundError, ProcessLookupError):
        return found
    for task in tasks:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def _children_by_parent(parent: int) -> list[int]:
    """For kernels built without CONFIG_PROC_CHILDREN: all processes are asked for their parent."""
    found: list[int] = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                after_name = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2]
                if int(after_name.split()[1]) == parent:
                    found.append(int(name))
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
