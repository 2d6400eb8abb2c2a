"""The kernel's inotify, by ctypes: changes in folders within a fraction of a millisecond, and nothing while idle."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from pathlib import Path
from typing import NamedTuple

from freshet import FreshetError

__all__ = [
    "ATTACHED",
    "CLOSE_WRITE",
    "CREATE",
    "DELETE",
    "DELETE_SELF",
    "IGNORED",
    "IS_FOLDER",
    "MOVED_FROM",
    "MOVED_TO",
    "MOVE_SELF",
    "OVERFLOW",
    "UNMOUNT",
    "Event",
    "Inotify",
    "WatchLimit",
]

CLOSE_WRITE = 0x0008
MOVED_FROM = 0x0040
MOVED_TO = 0x0080
CREATE = 0x0100
DELETE = 0x0200
DELETE_SELF = 0x0400
MOVE_SELF = 0x0800
UNMOUNT = 0x2000
OVERFLOW = 0x4000
IGNORED = 0x8000
IS_FOLDER = 0x40000000

_ONLYDIR, _DONT_FOLLOW, _EXCL_UNLINK = 0x01000000, 0x02000000, 0x04000000
ATTACHED = CREATE | CLOSE_WRITE | MOVED_TO | MOVED_FROM | DELETE | DELETE_SELF | MOVE_SELF
"""What a folder is watched for. Not for each single write: `settle` looks again by itself."""

_HEADER = struct.Struct("iIII")
_BUFFER = 64 * 1024
_SETTINGS = Path("/proc/sys")
_ENOUGH = {"watches": 524_288, "instances": 1_024}
"""What to set at least."""


class WatchLimit(FreshetError):
    """The system allows no more watches. The folder is polled instead."""


class Event(NamedTuple):
    """One event: on watch `watch`, what (`mask`), to which entry (`name`, empty for the folder itself)."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One inotify instance. Raises `WatchLimit` where a limit is met, else `OSError`."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise _failure("inotify_init1")

    def add(self, folder: str, *, follow: bool = False) -> int:
        """Watch a folder; `follow`: also where it is a symbolic link. Returns the watch's number."""
        mask = ATTACHED | _ONLYDIR | _EXCL_UNLINK | (0 if follow else _DONT_FOLLOW)
        watch: int = self._libc.inotify_add_watch(self.fd, os.fsencode(folder), ctypes.c_uint32(mask))
        if watch < 0:
            raise _failure(folder)
        return watch

    def remove(self, watch: int) -> None:
        """Stop a watch; one that the kernel has ended by itself is no error."""
        self._libc.inotify_rm_watch(self.fd, watch)

    def read(self) -> list[Event]:
        """The events that wait, up to a buffer full; none where none do."""
        try:
            data = os.read(self.fd, _BUFFER)
        except BlockingIOError:
            return []
        events: list[Event] = []
        at = 0
        while at < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, at)
            at += _HEADER.size
            events.append(Event(watch, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))))
            at += length
        return events

    def close(self) -> None:
        """End all watches."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _failure(what: str) -> Exception:
    number = ctypes.get_errno()
    # Both read as something else ("no space left on device", "too many open files"), so the setting is named.
    if number == errno.ENOSPC:
        return _reached("watches")
    if number == errno.EMFILE:
        return _files_reached() or _reached("instances")
    return OSError(number, os.strerror(number), what)


def _reached(kind: str) -> WatchLimit:
    """Of the system's setting and that of the user namespace, the lower is the one that was met."""
    names = (f"fs.inotify.max_user_{kind}", f"user.max_inotify_{kind}")
    value, name = min((_value(name), name) for name in names)
    shown = "reached" if value == sys.maxsize else f"{value}"
    return WatchLimit(
        f"no more inotify {kind}: {name} is {shown}, for all programs of this user together",
        hint=f"raise it: sysctl {name}={_enough(kind, value)}; until then the folder is polled",
    )


def _enough(kind: str, value: int) -> int:
    return max(_ENOUGH[kind], 2 * value if value < sys.maxsize else 0)


def _files_reached() -> WatchLimit | None:
    """Where it is this process that may open no more files. None else."""
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return WatchLimit(
            f"no inotify instance: this process may open {limit} files, and has",
            hint="raise LimitNOFILE= of the service, or ulimit -n; until then the folder is polled",
        )
    os.close(lowest)
    return None


def _value(setting: str) -> int:
    """A sysctl's value; where it cannot be read, more than any."""
    try:
        return int((_SETTINGS / setting.replace(".", "/")).read_text())
    except (OSError, ValueError):
        return sys.maxsize
