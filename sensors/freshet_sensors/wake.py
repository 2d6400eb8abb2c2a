"""When a file sensor looks: now, because something happened; later, because a file has to settle; else, never.

Nothing here runs while nothing happens: events come by the loop's reader, due times by one timer.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import stat
from typing import Literal

from freshet import FreshetError
from freshet_sensors.aside import aside
from freshet_sensors.filesystem import is_network
from freshet_sensors.pattern import Pattern
from freshet_sensors.settle import Settling
from freshet_sensors.watch import Changes, Watch, make_watch

__all__ = ["Dues", "Waker"]

_RETRY_MISSING = 1.0
_RETRY_LIMIT = 60.0
_MAX_HINTS = 10_000


class Dues:
    """Paths and when to look at them. A path put again moves."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def put(self, path: str, at: float) -> None:
        """Look at `path` at the time `at`, and not before."""
        self._at[path] = at
        heapq.heappush(self._heap, (at, path))

    def drop(self, path: str) -> None:
        """No longer."""
        self._at.pop(path, None)

    def next(self) -> float | None:
        """The earliest time, None where nothing is due."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> set[str]:
        """The paths whose time has come; they are forgotten here."""
        taken: set[str] = set()
        while (at := self.next()) is not None and at <= now:
            path = heapq.heappop(self._heap)[1]
            del self._at[path]
            taken.add(path)
        return taken


class Waker:
    """The wakes of one file sensor. All methods are for the loop's thread.

    `interested_in_gone`: whether a deletion is worth a look of its own; else the next full look sees it.
    """

    def __init__(
        self,
        root: str,
        pattern: Pattern,
        settling: Settling,
        *,
        interested_in_gone: bool,
        follow: bool = False,
    ) -> None:
        self.state: Literal["starting", "watching", "polling"] = "starting"
        self.reason: str = ""
        """Why it is polling: a sentence for the log."""
        self._root = root
        self._pattern = pattern
        self._settling = settling
        self._follow = follow
        self._interested_in_gone = interested_in_gone
        self._watch: Watch | None = None
        self._loop = asyncio.get_running_loop()
        self._signal = asyncio.Event()
        self._unwatched = True
        self._ready: set[str] = set()
        self._full = False
        self._closed = False
        self._dues = Dues()
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    async def next(self) -> set[str] | None:
        """The next hints, however long they take. Once a watch is set, None comes first: for what was before it."""
        while True:
            self._signal.clear()
            if self._unwatched:
                self._unwatched = False
                await self._establish()
            if self._full or len(self._ready) > _MAX_HINTS:
                self._full, self._ready = False, set()
                return None
            if self._ready:
                ready, self._ready = self._ready, set()
                return ready
            await self._signal.wait()

    def later(self, path: str, seconds: float) -> None:
        """Hint at `path` in `seconds`."""
        self._dues.put(path, self._loop.time() + seconds)
        self._arm()

    def check(self, identity: tuple[int, int] | None) -> None:
        """After a full look: the folder that it saw. Where that is not the one watched, it is watched anew."""
        if self._watch is not None and self._watch.identity != identity:
            self._lose()

    def close(self) -> None:
        """End the watch and the timers."""
        self._closed = True
        for handle in (self._timer, self._retry):
            if handle is not None:
                handle.cancel()
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    async def _establish(self) -> None:
        """Set the watch if it can be; else say why not, and try again in a while."""
        try:
            watch = await aside(self._prepare)
        except (FileNotFoundError, NotADirectoryError):
            self._poll(f"the folder {self._root} is not there", retry=_RETRY_MISSING)
        except (FreshetError, OSError) as error:
            self._poll(str(error), retry=_RETRY_LIMIT)
        else:
            if watch is None:
                self._poll(
                    f"{self._root} lies on a network file system, which tells no changes made elsewhere", retry=None
                )
                return
            self._watch = watch
            watch.attach(self._changed)
            self.state, self.reason = "watching", ""
            self._full = True

    def _prepare(self) -> Watch | None:
        if is_network(self._root):
            return None
        watch = make_watch(self._root, self._pattern, self._follow)
        watch.prepare()
        if self._closed:  # while this waited for the disk
            watch.close()
            return None
        return watch

    def _poll(self, reason: str, *, retry: float | None) -> None:
        self.state, self.reason = "polling", reason
        if retry is not None:
            self._retry = self._loop.call_later(retry, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._unwatched = True
        self._signal.set()

    def _lose(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
            self._try_again()

    def _changed(self, changes: Changes) -> None:
        now, settle = self._loop.time(), self._settling.seconds
        for path in changes.renamed:
            self._settling.renamed(path)
            self._at_once(path)
        for path in changes.written:
            self._settling.written(path)
            self._after_settle(path, now + settle)
        for path in changes.created:
            self._settling.written(path)
            # With no time to settle, a file that is still open is not to be taken: its closing will be told.
            if settle > 0 or self._is_whole(path):
                self._after_settle(path, now + settle)
        for path in changes.gone:
            self._settling.written(path)
            self._dues.drop(path)
            if self._interested_in_gone:
                self._at_once(path)
        if changes.full:
            # What was heard of single files may be about others by now: those wait, as any.
            self._settling.distrust()
        self._ready |= changes.folders
        self._full = self._full or changes.full
        self._arm()
        if self._ready or self._full:
            self._signal.set()
        if changes.lost:
            self._lose()

    def _at_once(self, path: str) -> None:
        self._dues.drop(path)
        self._ready.add(path)

    def _after_settle(self, path: str, due: float) -> None:
        if self._settling.seconds > 0:
            self._dues.put(path, due)
        else:
            self._at_once(path)

    def _is_whole(self, path: str) -> bool:
        """Whether a new entry is a link to what was there before: such a one is never closed after writing."""
        try:
            found = os.lstat(f"{self._root}/{path}")
        except OSError:
            return False
        return found.st_nlink > 1 or stat.S_ISLNK(found.st_mode)

    def _arm(self) -> None:
        at = self._dues.next()
        if self._timer is not None:
            if at is not None and self._timer.when() <= at and not self._timer.cancelled():
                return
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = self._loop.call_at(at, self._due)

    def _due(self) -> None:
        self._timer = None
        self._ready |= self._dues.take(self._loop.time())
        self._arm()
        if self._ready:
            self._signal.set()
