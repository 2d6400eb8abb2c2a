"""One look: what the folder holds that the ledger does not, and the reverse.

Blocking: it runs aside, in a thread, unless it is about a few named files.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from freshet import Ledger, RetryLater
from freshet_sensors.filesystem import is_network
from freshet_sensors.links import Followed, is_roundabout, scan_following
from freshet_sensors.pattern import Pattern, temporary
from freshet_sensors.recall import Pass, recall_of
from freshet_sensors.scan import NO_TEXT, File, Row, entry_of, is_closed, probe, readable, scan, scan_rows, version_of

__all__ = ["Folder", "LookEnded", "Survey", "look_at", "look_at_all"]

_BREATH = 1000
_T = TypeVar("_T")


class LookEnded(Exception):
    """Nobody waits for this look any more."""


@dataclass(frozen=True)
class Folder:
    """What is looked at. `root`: its path, absolute; `follow`: links lead on, see `links`."""

    root: str
    pattern: Pattern
    follow: bool = False

    def rows(self, followed: Followed, known: Pass | None = None) -> Iterator[Row]:
        """All files that are meant, but for those that are `known`. Raises `OSError` where it cannot be read."""
        if self.follow:
            return (file.row for file in scan_following(self.root, self.pattern, followed))
        return scan_rows(self.root, self.pattern, unreadable=followed.unreadable, known=known)

    def identity(self) -> tuple[int, int] | None:
        """Its device and inode, None where it is not there."""
        try:
            found = Path(self.root).stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


@dataclass
class Survey:
    """What a look found.

    `full`: it was about everything; `fresh`: files in a version that the ledger does not hold, the oldest first;
    `gone`: paths that it holds and that are not there; `files`: how many there are; `identity`: device and inode of the
    folder, None where there is no such folder; `network`: files lie on a network file system.
    """

    full: bool = False
    fresh: list[Row] = field(default_factory=list[Row])
    gone: list[str] = field(default_factory=list[str])
    files: int = 0
    met: Followed = field(default_factory=Followed)
    identity: tuple[int, int] | None = None
    network: bool = False


def look_at_all(folder: Folder, ledger: Ledger, *, ended: Callable[[], bool] = lambda: False) -> Survey:
    """A full look. Raises `OSError` where the folder is there but cannot be read, `LookEnded` once `ended()`."""
    survey = Survey(full=True, identity=folder.identity())
    if survey.identity is None:
        return survey
    recall = recall_of(ledger, folder.pattern.text)
    look = recall.begin(partial(_breathe, ended))
    try:
        known, count, seen, fresh = 0, 0, ledger.seen, survey.fresh
        for row in folder.rows(survey.met, look):
            count += 1
            if count % _BREATH == 0:
                _breathe(ended)
            path = entry_of(row[0])
            if seen(path, version_of(row)):
                known += 1
                if path == row[0]:
                    look.mark(*row[1:])
                continue
            known += path in ledger
            fresh.append(row)
        survey.files = look.known + count
        survey.network = is_network(folder.root) or bool(survey.met.remote)
        recall.conclude(look)
        if len(ledger) > look.known + known:
            survey.gone = _absent(folder, ledger, survey, ended)
            recall.doubt(survey.gone)
        survey.fresh = _by_age(survey.fresh)
    except FileNotFoundError:
        return Survey(full=True)
    return survey


def look_at(
    folder: Folder, paths: Iterable[str], ledger: Ledger, *, ended: Callable[[], bool] = lambda: False
) -> Survey:
    """A look at some paths alone, those with a slash at their end folders to look through.

    A full look where one of them leads through a link that is to be followed.
    """
    survey = Survey()
    found: dict[str, Row | None] = {}  # a path may be named twice, also by a folder above it
    for path in _breathing(paths, ended):
        if folder.follow and is_roundabout(folder.root, path):
            return look_at_all(folder, ledger, ended=ended)
        if path.endswith("/"):
            below = _below(folder.root, path, folder.pattern, survey.met.unreadable)
            found |= {file.path: file.row for file in _breathing(below, ended)}
            continue
        try:
            file = probe(folder.root, path, folder.pattern)
        except OSError as error:
            if not is_closed(error):
                raise
            continue
        found[path] = None if file is None else file.row
    for path, row in _breathing(found.items(), ended):
        if row is None:
            if path in ledger:
                survey.gone.append(path)
        elif not ledger.seen(entry_of(path), version_of(row)):
            survey.fresh.append(row)
    changed = [row[0] for row in survey.fresh if entry_of(row[0]) in ledger]
    recall_of(ledger, folder.pattern.text).doubt([*changed, *survey.gone])
    survey.fresh = _by_age(survey.fresh)
    survey.identity = folder.identity()
    return survey


def _absent(folder: Folder, ledger: Ledger, survey: Survey, ended: Callable[[], bool]) -> list[str]:
    """What the ledger holds and a second pass does not meet, without what may lie where nobody could look."""
    again = _breathing(folder.rows(survey.met), ended)
    absent = list(ledger.absent(entry_of(path) for path, *_ in again))
    if folder.identity() != survey.identity:
        raise RetryLater(f"the folder {folder.root} was replaced while it was looked at")
    hidden = frozenset(readable(path.rstrip("/")) for path in (*survey.met.unreadable, *survey.met.broken))
    fresh = {entry_of(path) for path, *_ in survey.fresh}
    return [
        path for path in absent if path not in fresh and not (hidden and _lies_in(path.removeprefix(NO_TEXT), hidden))
    ]


def _lies_in(path: str, folders: frozenset[str]) -> bool:
    """Whether the path is one of these or lies below one."""
    while path:
        if path in folders:
            return True
        path = path.rpartition("/")[0]
    return False


def _below(root: str, folder: str, pattern: Pattern, unreadable: list[str]) -> Iterator[File]:
    """The files in a folder that was named by a hint: by the same rules as a scan that comes to it from above."""
    parts = folder.rstrip("/").split("/")
    real = os.path.realpath(root).rstrip("/")
    inside = "/".join(parts)
    if (
        any(map(temporary, parts))
        or not pattern.enters(inside)
        or os.path.realpath(f"{root}/{folder}") != f"{real}/{inside}"
    ):
        return iter(())
    return scan(root, pattern, below=folder, unreadable=unreadable)


def _by_age(files: list[Row]) -> list[Row]:
    """The oldest first. In small parts: one sort of a million holds up all threads for half a second."""
    parts = (files[at : at + _BREATH] for at in range(0, len(files), _BREATH))
    return list(heapq.merge(*(sorted(part, key=_age) for part in parts), key=_age))


def _age(row: Row) -> tuple[int, str]:
    return row[2], row[0]


def _breathe(ended: Callable[[], bool]) -> None:
    if ended():
        raise LookEnded


def _breathing(items: Iterable[_T], ended: Callable[[], bool]) -> Iterator[_T]:
    for at, item in enumerate(items):
        if at % _BREATH == _BREATH - 1:
            _breathe(ended)
        yield item
