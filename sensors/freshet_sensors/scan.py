"""What lies in a folder: the truth that a look compares with the ledger.

Only regular files. A symbolic link to a file counts as its target (its size, time and inode) where the target lies
inside the watched folder; other links, and links to folders, are passed over: who may write into the folder must not be
able to name files elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from freshet_sensors.pattern import Pattern, temporary
from freshet_sensors.recall import Pass

__all__ = ["NO_TEXT", "File", "Row", "entry_of", "is_closed", "probe", "readable", "scan", "scan_rows", "version_of"]

NO_TEXT = "//"
"""Begins the ledger's key of a path that is no UTF-8: no path within a folder, and none that is meant, begins so."""

Row = tuple[str, int, int, int]
"""A `File` where there may be a million: of exact tuples the garbage collector drops those that hold only texts and
numbers, and of no others. A full collection over a million named ones stops the whole process for a second."""


class File(NamedTuple):
    """A file as it stood at the look. `path` is relative to the watched folder; `mtime_ns` nanoseconds since 1970."""

    path: str
    size: int
    mtime_ns: int
    inode: int

    @property
    def version(self) -> str:
        """What tells one content from the next."""
        return version_of(self)

    @property
    def run_key(self) -> str:
        """Of the run for this version."""
        return f"{self.path}@{self.version}"

    def metadata(self, root: str) -> dict[str, Any]:
        """What the file's partition gets to know of it."""
        return {"path": f"{root}/{self.path}", "size": self.size, "mtime": self.mtime_ns / 1e9}

    @property
    def row(self) -> Row:
        """The same as an exact tuple."""
        return self.path, self.size, self.mtime_ns, self.inode


def version_of(row: Row) -> str:
    """See `File.version`."""
    return f"{row[1]}:{row[2]}:{row[3]}"


def scan(root: str, pattern: Pattern, *, below: str = "", unreadable: list[str] | None = None) -> Iterator[File]:
    """All files that are meant, in no order, in `below` and deeper: `""`, or a relative folder with a slash at its end.

    Folders and files that may not be read, or lie too deep, are added to `unreadable`: nothing is known of what lies
    there. What vanishes meanwhile is left out. Raises `OSError` where `root` itself cannot be read.
    """
    return map(File._make, scan_rows(root, pattern, below=below, unreadable=unreadable))


def scan_rows(
    root: str, pattern: Pattern, *, below: str = "", unreadable: list[str] | None = None, known: Pass | None = None
) -> Iterator[Row]:
    """`scan`, where there may be a million; without those that are `known`."""
    folders, matches = [below], pattern.matches
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(f"{root}/{folder}")
        except (FileNotFoundError, NotADirectoryError):
            if not folder:
                raise
            continue
        except OSError as error:
            if not folder or not is_closed(error):
                raise
            if unreadable is not None:
                unreadable.append(folder)
            continue
        with entries:
            for entry in entries if known is None else known.news(folder, entries):
                if temporary(entry.name):
                    continue
                path = folder + entry.name
                if entry.is_dir(follow_symlinks=False):
                    if pattern.enters(path):
                        folders.append(path + "/")
                elif matches(path):
                    try:
                        if entry.is_file(follow_symlinks=False):
                            found = entry.stat(follow_symlinks=False)
                            row = path, found.st_size, found.st_mtime_ns, found.st_ino
                        elif entry.is_symlink() and (file := _file(root, path)) is not None:
                            row = file.row
                        else:
                            continue
                    except FileNotFoundError:
                        continue
                    except OSError as error:  # a folder that may be listed, and no more
                        if not is_closed(error):
                            raise
                        if unreadable is not None:
                            unreadable.append(path)
                        continue
                    yield row


def probe(root: str, path: str, pattern: Pattern) -> File | None:
    """One file by its relative path, by the same rules as `scan`; None where it is not there or not meant."""
    parts = path.split("/")
    if any(map(temporary, parts)) or not pattern.matches(path):
        return None
    folder = path.rpartition("/")[0]
    if folder and os.path.realpath(f"{root}/{folder}") != f"{_real(root)}{folder}":
        return None
    return _file(root, path)


def is_closed(error: OSError) -> bool:
    """Whether nobody can look there, as long as nobody mends it: it may not be read, or lies too deep for any path."""
    return isinstance(error, PermissionError) or error.errno == errno.ENAMETOOLONG


def readable(path: str) -> str:
    """A path as text that can be kept and shown: bytes that are no UTF-8 become `\\xff`."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def entry_of(path: str) -> str:
    """The ledger's key of a path: itself where it is text, else one that no other path has."""
    if path.isascii():
        return path
    text = readable(path)
    return text if text == path else NO_TEXT + text


def _file(root: str, path: str) -> File | None:
    try:
        found = os.lstat(f"{root}/{path}")
        if stat.S_ISLNK(found.st_mode):
            target = os.path.realpath(f"{root}/{path}")
            if not target.startswith(_real(root)):
                return None
            found = os.lstat(target)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return File(path, found.st_size, found.st_mtime_ns, found.st_ino)


def _real(root: str) -> str:
    return os.path.realpath(root).rstrip("/") + "/"
