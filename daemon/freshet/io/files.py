"""Durable files: what these functions return from has reached the disk, name and all.

The flushes are as few as that allows: the file before it gets its name, the folder after. A folder's own entry in its
parent is flushed by whoever finds the folder empty, before anything is put into it: so a folder that holds anything is
known to be durable, whoever made it, and no flush is spent on it again.

Paths are texts here: a worker writes one value in its life, and each `Path` it makes touches memory that it shares with
the host until then, a page of which costs more to copy than the path does to write.
"""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["ensure_folder", "write_durable"]

_MODE_FILE, _MODE_FOLDER = 0o600, 0o700
_flush_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def write_durable(folder: str, name: str, data: bytes) -> None:
    """Put `data` into `folder` under `name`, whole or not at all, replacing what stands there; durable on return.

    `folder` must be there and durable (`ensure_folder`). Raises `OSError`, and then leaves no trace.
    """
    temporary = f"{folder}/.{name}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE_FILE)
    try:
        try:
            _write_all(descriptor, data)
            _flush_data(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, f"{folder}/{name}")  # noqa: PTH104
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    _flush_folder(folder)


def ensure_folder(folder: str, *, top: str) -> None:
    """Make `folder` and its parents below `top`, durable on return. `top`'s parent must be there."""
    if _holds_something(folder):
        return
    parent = folder[: folder.rindex("/")]
    if folder != top:
        ensure_folder(parent, top=top)
    with suppress(FileExistsError):
        os.mkdir(folder, _MODE_FOLDER)  # noqa: PTH102
    _flush_folder(parent)


def _holds_something(folder: str) -> bool:
    try:
        if os.stat(folder).st_nlink > 2:  # noqa: PTH116  # folders: to list the first of thousands takes as long as all
            return True
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _flush_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
