"""Durable files: what these functions return from has reached the disk, name and all.

The flushes are as few as that allows: the file before it gets its name, the folder after. A folder's own entry in its
parent is flushed by whoever finds the folder empty, before anything is put into it: so a folder that holds anything is
known to be durable, whoever made it, and no flush is spent on it again.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["ensure_folder", "write_durable"]

_MODE_FILE, _MODE_FOLDER = 0o600, 0o700
_flush_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def write_durable(folder: Path, name: str, data: bytes) -> None:
    """Put `data` into `folder` under `name`, whole or not at all, replacing what stands there; durable on return.

    `folder` must be there and durable (`ensure_folder`). Raises `OSError`, and then leaves no trace.
    """
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE_FILE)
    try:
        try:
            _write_all(descriptor, data)
            _flush_data(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(folder / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(folder)


def ensure_folder(folder: Path, *, top: Path) -> None:
    """Make `folder` and its parents below `top`, durable on return. `top`'s parent must be there."""
    if _holds_something(folder):
        return
    if folder != top:
        ensure_folder(folder.parent, top=top)
    folder.mkdir(mode=_MODE_FOLDER, exist_ok=True)
    _flush_folder(folder.parent)


def _holds_something(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
