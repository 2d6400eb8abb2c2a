"""Unix sockets whose path is longer than the kernel's 108 bytes."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from freshet.errors import SettingsError

__all__ = ["reachable"]

_LONGEST = 100


@contextmanager
def reachable(path: Path) -> Generator[str]:
    """A path by which the socket can be bound or connected to while the block lasts.

    Over 100 bytes it goes through a descriptor of the folder, `/proc/self/fd/N/NAME`. Raises `OSError` where the
    folder cannot be opened, `SettingsError` where the system has no such way.
    """
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    if not Path("/proc/self/fd").is_dir():
        raise SettingsError(
            f"the socket's path is longer than {_LONGEST} bytes: {path}", hint="set [http] socket to a shorter one"
        )
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
