"""A folder with what its symbolic links lead to: `follow=True` of a file sensor.

Each real folder is looked through once, and so is each real file taken once: by its plain path where that lies inside,
else by the first, in the order of the names, of the links that lead to it. So no loop of links is walked twice.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from freshet_sensors.filesystem import is_network
from freshet_sensors.pattern import Pattern, temporary
from freshet_sensors.scan import File, is_closed

__all__ = ["Followed", "is_roundabout", "scan_following"]


@dataclass
class Followed:
    """What a scan met on its way, by relative path.

    `unreadable`: may not be read, folders with a slash at the end; `broken`: links that lead nowhere; `remote`: links
    into network file systems. What lies behind the first two is not known.
    """

    unreadable: list[str] = field(default_factory=list[str])
    broken: list[str] = field(default_factory=list[str])
    remote: list[str] = field(default_factory=list[str])


def is_roundabout(root: str, path: str) -> bool:
    """Whether a relative path is, or leads through, a link: then only a full scan knows by which name a file counts."""
    real = os.path.realpath(root).rstrip("/")
    return path.endswith("/") or os.path.realpath(f"{root}/{path}") != f"{real}/{path}"


def scan_following(root: str, pattern: Pattern, followed: Followed) -> Iterator[File]:
    """All files that are meant, in no order. Raises `OSError` where `root` itself cannot be read."""
    walk = _Walk(root, pattern, followed)
    ways = [("", os.path.realpath(root))]
    while ways:
        path, real = heapq.heappop(ways)
        yield from walk.through(path, real)
        for way in walk.folders:
            heapq.heappush(ways, way)
        walk.folders.clear()
    yield from walk.linked_files()


class _Walk:
    """`folders`: links to folders that were met and wait, as (path with a slash at its end, real path)."""

    def __init__(self, root: str, pattern: Pattern, followed: Followed) -> None:
        self.folders: list[tuple[str, str]] = []
        self._root = root
        self._pattern = pattern
        self._followed = followed
        self._names: dict[str, str] = {}  # of the real folders that were looked through
        self._files: list[tuple[str, str]] = []

    def through(self, path: str, real: str) -> Iterator[File]:
        """The files in a folder and in the plain ones below."""
        waiting = [(path, real)]
        while waiting:
            folder, real = waiting.pop()
            if real in self._names:
                continue
            self._names[real] = folder
            for entry in self._entries(folder):
                name = folder + entry.name
                if entry.is_symlink():
                    self._link(name)
                elif entry.is_dir(follow_symlinks=False):
                    if self._pattern.enters(name):
                        waiting.append((f"{name}/", f"{real.rstrip('/')}/{entry.name}"))
                elif self._pattern.matches(name) and (file := self._file(name)) is not None:
                    yield file

    def linked_files(self) -> Iterator[File]:
        """The files that only links lead to."""
        taken: set[str] = set()
        for path, real in sorted(self._files):
            folder, _, name = real.rpartition("/")
            known = self._names.get(folder or "/")
            has_own_name = known is not None and not temporary(name) and self._pattern.matches(known + name)
            if not has_own_name and real not in taken and (file := self._file(path)) is not None:
                taken.add(real)
                yield file

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            entries = os.scandir(f"{self._root}/{folder}")
        except OSError as error:
            gone = isinstance(error, FileNotFoundError | NotADirectoryError)
            if not folder or not (gone or is_closed(error)):
                raise
            if not gone:
                self._followed.unreadable.append(folder)
            return
        with entries:
            for entry in entries:
                if not temporary(entry.name):
                    yield entry

    def _link(self, path: str) -> None:
        meant, entered = self._pattern.matches(path), self._pattern.enters(path)
        if not (meant or entered):
            return
        target = f"{self._root}/{path}"
        try:
            mode = os.stat(target).st_mode  # noqa: PTH116  # as text
        except PermissionError:
            self._followed.unreadable.append(path)
        except OSError:  # not there, or links in a ring
            self._followed.broken.append(path)
        else:
            if stat.S_ISDIR(mode) and entered:
                if is_network(target):
                    self._followed.remote.append(path)
                self.folders.append((f"{path}/", os.path.realpath(target)))
            elif stat.S_ISREG(mode) and meant:
                self._files.append((path, os.path.realpath(target)))

    def _file(self, path: str) -> File | None:
        try:
            found = os.stat(f"{self._root}/{path}")  # noqa: PTH116  # as text
        except FileNotFoundError:
            return None
        except OSError as error:
            if not is_closed(error):
                raise
            self._followed.unreadable.append(path)
            return None
        return File(path, found.st_size, found.st_mtime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else None
