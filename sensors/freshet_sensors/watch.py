"""What a watched folder tells: one small interface, by inotify on Linux, by watchfiles elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from freshet_sensors.pattern import Pattern

__all__ = ["Changes", "Watch", "make_watch"]


@dataclass
class Changes:
    """What happened, by relative path.

    `written`: closed after writing; `created`: there is a new entry, perhaps unfinished; `renamed`: moved to its name
    whole; `gone`: deleted or moved away; `folders`: new folders with what is in them, a slash at the end. `full`:
    more than can be told: look at everything. `lost`: this watch tells nothing more.
    """

    written: set[str] = field(default_factory=set[str])
    created: set[str] = field(default_factory=set[str])
    renamed: set[str] = field(default_factory=set[str])
    gone: set[str] = field(default_factory=set[str])
    folders: set[str] = field(default_factory=set[str])
    full: bool = False
    lost: bool = False


class Watch(Protocol):
    """A watch on one folder and those below that the pattern enters."""

    identity: tuple[int, int]
    """Device and inode of the folder that is watched."""

    def prepare(self) -> None:
        """Set the watch; blocking, for a thread. From here on nothing is missed. Raises `WatchLimit` or `OSError`."""
        ...

    def attach(self, report: Callable[[Changes], None]) -> None:
        """Begin to report, on the running loop."""
        ...

    def close(self) -> None:
        """End it, on the loop."""
        ...


def make_watch(root: str, pattern: Pattern, follow: bool = False) -> Watch:
    """The best watch that this system has. `follow`: also on the folders that links lead to."""
    if sys.platform != "linux":
        from freshet_sensors.portable import PortableWatch

        return PortableWatch(root, pattern, follow)
    from freshet_sensors.tree import TreeWatch

    return TreeWatch(root, pattern, follow)
