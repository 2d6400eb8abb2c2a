"""What a full look need not ask the ledger again: files that stand where and as they stood when it was asked last.

A look at a large folder costs what the file system takes to tell of each file, and little more: the names come in the
same order again, and a number for each name and one for its size, time and inode are all that is compared. They are
kept in the ledger's own notes, so they go with what they were concluded from.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from threading import Lock

from freshet import Ledger

__all__ = ["Pass", "Recall", "recall_of"]

_WORTH = 8
"""Entries of a folder that is remembered: a hundred thousand small ones would take more than they give."""
_MANY = 10_000
_NEAR = 64
_FAR = 8
_SEARCHES = 32
_BREATH = 1000
_NEWS = -1
"""Stands for no file: Python's hashes are never -1."""

_Folder = tuple["array[int]", "array[int]"]
"""Of its entries, in the order in which the file system names them: hashes of the names, and of what stands there."""


class Recall:
    """16 bytes an entry: the files of a folder that the ledger was seen to hold as they stood. `meaning`: the pattern
    by which they were meant.

    Right as long as whoever is about to change the ledger's word on a path says so (`doubt`).
    """

    def __init__(self, meaning: str) -> None:
        self.meaning = meaning
        self._folders: dict[str, _Folder] = {}
        self._doubted: set[str] = set()
        self._turn = 0
        self._lock = Lock()

    def doubt(self, paths: Iterable[str]) -> None:
        """The ledger may hold something else of these paths soon: the next full look asks it. A full look that is under
        way concludes nothing."""
        with self._lock:
            self._turn += 1
            self._doubted.update(paths)
            if len(self._doubted) > _MANY:
                self._folders, self._doubted = {}, set()

    def begin(self, breathe: Callable[[], None]) -> Pass:
        """A full look. `breathe`: called now and then, and may raise what ends it."""
        with self._lock:
            return Pass(self._turn, self._folders, frozenset(self._doubted), breathe)

    def conclude(self, look: Pass) -> None:
        """The look has met everything: what it did not mark is not recalled any more."""
        with self._lock:
            self._folders, self._doubted = look.folders if look.turn == self._turn else {}, set()


class Pass:
    """One full look's comparison. `known`: how many files it has met that stand as they did."""

    def __init__(
        self, turn: int, before: dict[str, _Folder], doubted: frozenset[str], breathe: Callable[[], None]
    ) -> None:
        self.turn = turn
        self.known = 0
        self.folders: dict[str, _Folder] = {}
        self._before = before
        self._doubted = doubted
        self._breathe = breathe
        self._stands = array("q")

    def news(self, folder: str, entries: Iterable[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        """The entries that are not known. The others are counted, and passed over.

        `folder`: relative, with a slash at its end; each once a look. Whether a name is meant is not asked for a known
        one, nor what kind of thing it is beyond that it is a plain file still.
        """
        names, before = self._before.get(folder, _NOTHING)
        place, at, end, doubted = _Place(names), 0, len(names), self._doubted
        met = array("q")
        self._stands = stands = array("q")
        for entry in entries:
            name = hash(entry.name)
            met.append(name)
            if at < end:
                if names[at] != name:
                    at = place.find(name, at)
                if names[at] == name:
                    stood = before[at]
                    at += 1
                    if stood != _NEWS and stood == _as_it_stands(entry) and folder + entry.name not in doubted:
                        stands.append(stood)
                        self.known += 1
                        if not self.known % _BREATH:
                            self._breathe()
                        continue
            stands.append(_NEWS)
            yield entry
        if len(met) >= _WORTH:
            self.folders[folder] = met, stands

    def mark(self, size: int, mtime_ns: int, inode: int) -> None:
        """The ledger holds the file that `news` gave last as it stands."""
        if self._stands:
            self._stands[-1] = hash((size, mtime_ns, inode))


class _Place:
    """Finds the way back into the order of last time, where entries have come or gone since."""

    def __init__(self, names: array[int]) -> None:
        self._names = names
        self._found = 0
        self._missed = 0
        self._searches = _SEARCHES

    def find(self, name: int, at: int) -> int:
        """Where it stands from `at` on; `at` where it is new, or too far away to look for it each time."""
        self._missed = self._missed + 1 if self._found == at else 1  # in a row
        stop = at + _NEAR
        if self._missed % _FAR == 0 and self._searches:
            self._searches -= 1
            stop = len(self._names)
        self._found = at
        with suppress(ValueError):
            return self._names.index(name, at, stop)
        return at


_NOTHING: _Folder = array("q"), array("q")


def recall_of(ledger: Ledger, meaning: str) -> Recall:
    """What is recalled beside this ledger."""
    found = ledger.notes.get("files")
    if not isinstance(found, Recall) or found.meaning != meaning:
        ledger.notes["files"] = found = Recall(meaning)
    return found


def _as_it_stands(entry: os.DirEntry[str]) -> int:
    try:
        if entry.is_file(follow_symlinks=False):
            found = entry.stat(follow_symlinks=False)
            return hash((found.st_size, found.st_mtime_ns, found.st_ino))
    except OSError:  # whoever looks closer meets it again
        pass
    return _NEWS
