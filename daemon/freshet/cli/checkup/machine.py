"""The machine: limits of the kernel and of the process, the clock, the interpreter."""

from __future__ import annotations

import ctypes
import platform
import resource
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from freshet.cli.checkup.finding import Finding, fine, warned

__all__ = ["INOTIFY", "clock", "interpreter", "limits"]

INOTIFY = Path("/proc/sys/fs/inotify")
_LEAST = {"max_user_watches": 65_536, "max_user_instances": 128}
"""A watch for each folder that a sensor looks at with those below it; an instance for each evaluator and the daemon."""
_FILES = 4_096
_TIME_ERROR = 5
"""What adjtimex(2) returns where nothing keeps the clock in time."""


def limits(inotify: Path = INOTIFY) -> Iterator[Finding]:
    """Watches of folders, and open files."""
    for name, least in _LEAST.items():
        try:
            found = int((inotify / name).read_text())
        except (OSError, ValueError):
            continue  # no Linux, or hidden
        if found < least:
            remedy = (
                f"echo fs.inotify.{name}={least * 4} | sudo tee /etc/sysctl.d/60-freshet.conf && sudo sysctl --system"
            )
            said = f"fs.inotify.{name} is {found}: folders beyond it are looked at in intervals only"
            yield warned("inotify", said, remedy)
        else:
            yield fine("inotify", f"{name} {found}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        said = f"{soft} open files at most (the hard limit is {hard})"
        yield warned(
            "open files", said, f"LimitNOFILE={_FILES * 16} in the unit, or ulimit -n {min(hard, _FILES * 16)}"
        )
    else:
        yield fine("open files", f"{soft} at most")


def clock() -> Iterator[Finding]:
    """Whether something keeps it in time."""
    synchronised = _synchronised()
    if synchronised is None:
        yield fine("clock", "whether something keeps it in time cannot be told here")
    elif synchronised:
        yield fine("clock", "kept in time")
    else:
        said = "nothing keeps it in time: schedules and deadlines drift with it"
        yield warned("clock", said, "sudo timedatectl set-ntp true (in a container: on its host)")


def _synchronised() -> bool | None:
    if sys.platform != "linux":
        return None
    answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # modes = 0: it only asks
    return None if answer < 0 else answer != _TIME_ERROR


def interpreter() -> Iterator[Finding]:
    """What the daemon and its code host run on: that of this command."""
    said = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    yield fine("python", f"{said}, SQLite {sqlite3.sqlite_version}")
