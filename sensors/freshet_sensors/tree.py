"""A folder and those below it, watched by inotify."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from freshet_sensors import inotify
from freshet_sensors.inotify import Event, Inotify
from freshet_sensors.pattern import Pattern, temporary
from freshet_sensors.scan import is_closed
from freshet_sensors.watch import Changes

__all__ = ["TreeWatch"]

_ENOUGH_AT_ONCE = 200
_ENOUGH_ENTRIES = 5_000
"""So many new folders at once, or entries in them, are watched by a new watch, set aside from the loop."""


class TreeWatch:
    """See `watch.Watch`. `handle` is its core: events in, changes out."""

    def __init__(self, root: str, pattern: Pattern, follow: bool = False) -> None:
        self.identity = (0, 0)
        self._root = root
        self._pattern = pattern
        self._follow = follow
        self._links: set[str] = set()
        """The links to folders that are watched through."""
        self._inotify: Inotify | None = None
        self._folders: dict[int, str] = {}
        self._reading = False

    def prepare(self) -> None:
        """See `watch.Watch`."""
        self._inotify = Inotify()
        try:
            found = Path(self._root).stat()
            self.identity = (found.st_dev, found.st_ino)
            self._watch_tree("")
        except BaseException:
            self._inotify.close()
            raise

    def attach(self, report: Callable[[Changes], None]) -> None:
        """See `watch.Watch`."""
        watch = self._inotify
        if watch is None:
            raise RuntimeError("attach() before prepare()")

        def readable() -> None:
            if events := watch.read():
                report(self.handle(events))

        asyncio.get_running_loop().add_reader(watch.fd, readable)
        self._reading = True

    def close(self) -> None:
        """See `watch.Watch`."""
        if self._inotify is None:
            return
        if self._reading:
            asyncio.get_running_loop().remove_reader(self._inotify.fd)
            self._reading = False
        self._inotify.close()

    def handle(self, events: list[Event]) -> Changes:
        """What the events mean. New folders are watched on the way, before anybody looks into them."""
        changes = Changes()
        for event in events:
            if event.mask & inotify.OVERFLOW:
                changes.full = True
                # Folders may have come and gone unheard: only a watch set anew knows them all.
                changes.lost = changes.lost or not self._pattern.flat
                continue
            folder = self._folders.get(event.watch)
            if folder is None:
                continue
            if event.mask & (inotify.IGNORED | inotify.UNMOUNT | inotify.DELETE_SELF | inotify.MOVE_SELF):
                self._self_changed(event, folder, changes)
            elif not temporary(event.name):
                self._entry_changed(folder + event.name, event.mask, changes)
        return changes

    def _self_changed(self, event: Event, folder: str, changes: Changes) -> None:
        if not folder or (folder[:-1] in self._links and not event.mask & inotify.IGNORED):
            changes.full = changes.lost = True
        elif event.mask & (inotify.IGNORED | inotify.UNMOUNT):
            self._folders.pop(event.watch, None)

    def _entry_changed(self, path: str, mask: int, changes: Changes) -> None:
        if mask & inotify.IS_FOLDER:
            self._folder_changed(path, mask, changes)
            return
        if self._follow and self._link_changed(path, mask, changes):
            return
        if not self._pattern.matches(path) or not _is_text(path):
            return
        if mask & inotify.MOVED_TO:
            _only(changes.renamed, path, changes)
        elif mask & inotify.CLOSE_WRITE:
            _only(changes.written, path, changes)
        elif mask & inotify.CREATE:
            _only(changes.created, path, changes)
        elif mask & (inotify.DELETE | inotify.MOVED_FROM):
            _only(changes.gone, path, changes)

    def _folder_changed(self, path: str, mask: int, changes: Changes) -> None:
        if not self._pattern.enters(path):
            return
        folder = path + "/"
        if mask & inotify.MOVED_FROM:
            self._forget(folder)
            changes.full = True
        elif mask & (inotify.CREATE | inotify.MOVED_TO):
            if not self._watch_new(path):
                changes.full = changes.lost = True
            elif _is_text(path):
                changes.folders.add(folder)
            else:
                changes.full = True

    def _link_changed(self, path: str, mask: int, changes: Changes) -> bool:
        """Whether it is about a link to a folder. Which real folders are looked through then is for a full look."""
        if mask & (inotify.DELETE | inotify.MOVED_FROM) and path in self._links:
            changes.full = changes.lost = True
        elif mask & (inotify.CREATE | inotify.MOVED_TO) and self._pattern.enters(path) and self._leads_on(path):
            self._links.add(path)
            changes.full = True
            changes.lost = not self._watch_new(path) or changes.lost
        else:
            return False
        return True

    def _leads_on(self, path: str) -> bool:
        whole = Path(f"{self._root}/{path}")
        return whole.is_symlink() and whole.is_dir()

    def _watch_new(self, path: str) -> bool:
        """Whether a new folder and those in it could be watched here; if not, the whole watch is set anew."""
        try:
            return self._watch_tree(path, limit=_ENOUGH_AT_ONCE)
        except inotify.WatchLimit:
            return False

    def _watch_tree(self, path: str, *, limit: int | None = None) -> bool:
        """Watch a folder and those in it, each listed after its own watch is set. False where they are more than
        `limit`, or hold very many entries."""
        waiting, links, count, met = [path], list[str](), 0, 0
        while waiting or links:
            current = waiting.pop() if waiting else links.pop()
            count += 1
            if limit is not None and count > limit:
                return False
            try:
                if not self._add(current):
                    continue
                with os.scandir(f"{self._root}/{current}") as entries:
                    for entry in entries:
                        met += 1
                        if limit is not None and met > _ENOUGH_ENTRIES:
                            return False
                        below = f"{current}/{entry.name}" if current else entry.name
                        if temporary(entry.name) or not self._pattern.enters(below):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(below)
                        elif self._follow and entry.is_dir():
                            self._links.add(below)
                            links.append(below)
            except OSError as error:
                if not current or not (isinstance(error, FileNotFoundError | NotADirectoryError) or is_closed(error)):
                    raise
                # Gone again, or a link; where nobody can look is told by the look.
        return True

    def _add(self, path: str) -> bool:
        """Watch one folder. False where that is done already, because links lead to it by another name."""
        if self._inotify is None:
            raise RuntimeError("no watch is set")
        watch = self._inotify.add(f"{self._root}/{path}", follow=self._follow or not path)
        if self._follow and watch in self._folders:
            return False
        self._folders[watch] = path + "/" if path else ""
        return True

    def _forget(self, folder: str) -> None:
        for watch in [watch for watch, path in self._folders.items() if path.startswith(folder)]:
            del self._folders[watch]
            if self._inotify is not None:
                self._inotify.remove(watch)


def _only(kind: set[str], path: str, changes: Changes) -> None:
    """The last word on a path counts."""
    for other in (changes.written, changes.created, changes.renamed, changes.gone):
        other.discard(path)
    kind.add(path)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
