"""A folder watched by watchfiles, for systems without inotify."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from watchfiles import Change, awatch  # pyright: ignore[reportUnknownVariableType]

from freshet_sensors.pattern import Pattern, temporary
from freshet_sensors.watch import Changes

__all__ = ["PortableWatch"]

# Its defaults hold events back up to 1.6 s.
_DEBOUNCE_MS, _STEP_MS = 50, 5


class PortableWatch:
    """See `watch.Watch`. It cannot tell a rename, and reports no overflow: the interval's look makes up for that.

    Of what links lead to it tells what watchfiles tells, whatever `follow` asks for.
    """

    def __init__(self, root: str, pattern: Pattern, follow: bool = False) -> None:
        self.identity = (0, 0)
        self._root = root
        self._real = os.path.realpath(root)
        self._pattern = pattern
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """See `watch.Watch`. The watch itself begins with `attach`, which asks for a full look once it stands."""
        found = Path(self._root).stat()
        self.identity = (found.st_dev, found.st_ino)

    def attach(self, report: Callable[[Changes], None]) -> None:
        """See `watch.Watch`."""
        self._task = asyncio.get_running_loop().create_task(self._run(report))

    def close(self) -> None:
        """See `watch.Watch`. Cancelling the task instead would take seconds."""
        self._stop.set()

    def handle(self, events: set[tuple[Change, str]]) -> Changes:
        """What watchfiles says, as changes."""
        changes = Changes()
        for change, full in events:
            path = os.path.relpath(full, self._real)
            if path == ".":
                changes.full = changes.lost = True
            elif any(map(temporary, path.split("/"))):
                continue
            elif self._pattern.matches(path):
                (changes.gone if change is Change.deleted else changes.written).add(path)
            elif change is Change.added and self._pattern.enters(path):
                changes.folders.add(path + "/")
        return changes

    async def _run(self, report: Callable[[Changes], None]) -> None:
        turns = awatch(
            self._real,
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            stop_event=self._stop,
            recursive=not self._pattern.flat,
        )
        try:
            turn = asyncio.ensure_future(anext(turns))
            await asyncio.sleep(0)  # now it has begun to watch
            report(Changes(full=True))
            while True:
                report(self.handle(await turn))
                turn = asyncio.ensure_future(anext(turns))
        except StopAsyncIteration:
            return
        except (FileNotFoundError, RuntimeError):
            report(Changes(full=True, lost=True))
