"""Files that nothing needs any more: of runs that are forgotten or ended long ago, and of values that nothing names.

A run's folder is made after its row, and removed after it: a folder without a row is one that a crash left. A value is
named by the state of its asset, whatever that is called now, or by what may be taken again; a step under way may have
been told of one that has been replaced since. So what is found unnamed goes at a later look, when all steps that were
under way have ended, and only if nothing names it then either.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import structlog
from pyroaring import BitMap

from freshet.definitions.retention import Cuts, Retention
from freshet.engine.instruments import Instruments, pause, recall
from freshet.store.naming import named_values, path_mark
from freshet.store.retention_runs import busy_since, ended_since

__all__ = ["Leftovers", "rest", "too_large"]

T = TypeVar("T")

_EVERY = 24
"""Sweeps between two looks at all files."""
_AT_ONCE = 1_000
"""Files looked at or removed between two rests."""
_CANDIDATES = 200_000
_DAY = 86400.0

_log = structlog.get_logger("freshet.retention")


class Leftovers:
    """Removes files below `state_dir`. Those that cannot be removed stay, and are said once a look."""

    def __init__(self, instruments: Instruments, keep: Retention, state_dir: Path) -> None:
        self._in = instruments
        self._keep = keep
        self._runs_dir, self._values_dir = state_dir / "runs", state_dir / "values"
        self._looks = 0
        self._unnamed: tuple[float, list[str]] | None = None
        """When it was found that nothing names these files of values."""
        self._removed = 0
        self.open = False

    async def forget_runs(self, ids: Sequence[int]) -> None:
        """Remove the folders of runs."""
        for start in range(0, len(ids), _AT_ONCE):
            await self._rest_after(partial(_remove_runs, self._runs_dir, ids[start : start + _AT_ONCE]))

    async def sweep(self, cut: Cuts) -> None:
        """Look at what was found before; once a day, at all files."""
        self._removed = 0
        await self._remove_unnamed()
        if self._looks % _EVERY == 0:
            await self._runs(cut)
            await self._values(cut)
        self._looks += 1
        if self._removed:
            _log.info("files no longer kept", removed=self._removed)

    # --- runs -----------------------------------------------------------------------------------------------

    async def _runs(self, cut: Cuts) -> None:
        sizes: list[tuple[int, int]] = []
        folders = _run_folders(self._runs_dir)
        while self.open and (ids := await self._rest_after(lambda: list(islice(folders, _AT_ONCE)))):
            ended = await self._ask(partial(ended_since, ids=ids))
            old = [run for run in ids if run not in ended or _before(ended[run], cut.journals)]
            await self._forget(old)
            if self._keep.max_journals:
                rest = [run for run in ids if run not in old]
                found = await self._rest_after(partial(_run_sizes, self._runs_dir, rest))
                sizes += [(run, size if ended[run] is not None else -size) for run, size in found]
        if self._keep.max_journals:
            await self._forget(too_large(sizes, self._keep.max_journals))

    async def _forget(self, ids: Sequence[int]) -> None:
        self._removed += len(ids)
        await self.forget_runs(ids)

    # --- values ---------------------------------------------------------------------------------------------

    async def _values(self, cut: Cuts) -> None:
        """What is named is read first: nothing that is unnamed and old is named later, but by the end of its run."""
        named = await self._named()
        now, unnamed = self._in.clock.now(), list[str]()
        files = _old_files(self._values_dir, cut.values, now - _DAY)
        while self.open and (paths := await self._rest_after(lambda: list(islice(files, _AT_ONCE)))):
            paths = [path for path in paths if path_mark(path) not in named]
            of_run = {path: _run_of(path) or 0 for path in paths}
            ended = await self._ask(partial(ended_since, ids=sorted(set(of_run.values()))))
            unnamed += [path for path in paths if ended.get(of_run[path], 0.0) is not None]
            if len(unnamed) >= _CANDIDATES:
                break
        self._unnamed = (now, unnamed) if unnamed else None

    async def _remove_unnamed(self) -> None:
        if self._unnamed is None:
            return
        since, paths = self._unnamed
        busy = await self._ask(busy_since)
        if busy is not None and busy <= since:
            return
        named = await self._named()
        paths = [path for path in paths if path_mark(path) not in named]
        for start in range(0, len(paths), _AT_ONCE):
            if self.open:
                some = paths[start : start + _AT_ONCE]
                await self._rest_after(partial(_remove_files, self._values_dir, some))
                self._removed += len(some)
        self._unnamed = None

    async def _named(self) -> BitMap:
        named, place = BitMap(), None
        while True:
            marks, place = await self._ask(partial(named_values, after=place))
            named |= marks
            if place is None:
                return named

    # --- how ------------------------------------------------------------------------------------------------

    async def _ask(self, query: Callable[[sqlite3.Connection], T]) -> T:
        return await recall(self._in, query, what="which files are kept")

    async def _rest_after(self, work: Callable[[], T]) -> T:
        """In a thread; then it rests for as long as that took, since the loop waits for the interpreter meanwhile."""
        begun = self._in.clock.monotonic()
        done = await asyncio.to_thread(work)
        await rest(self._in, begun)
        return done


async def rest(instruments: Instruments, begun: float) -> None:
    """For as long as the work took that was begun then (monotonic): others come first."""
    took = instruments.clock.monotonic() - begun
    if took > 0:
        await pause(instruments, took)


def too_large(sizes: Iterable[tuple[int, int]], most: int) -> list[int]:
    """The oldest runs whose files are too much for `most` bytes in all. The size of one that has not ended is negative:
    it counts, and stays."""
    known = sorted(sizes)
    total, gone = sum(abs(size) for _, size in known), list[int]()
    for run, size in known:
        if total <= most:
            break
        if size >= 0:
            gone.append(run)
            total -= size
    return gone


def _before(ended: float | None, cut: float) -> bool:
    return ended is not None and ended < cut


def _run_folders(runs_dir: Path) -> Iterator[int]:
    with suppress(FileNotFoundError), os.scandir(runs_dir) as entries:
        for entry in entries:
            if entry.name.isdecimal():
                yield int(entry.name)


def _run_sizes(runs_dir: Path, ids: Sequence[int]) -> list[tuple[int, int]]:
    return [(run, sum(_sizes(f"{runs_dir}/{run}"))) for run in ids]


def _sizes(folder: str) -> Iterator[int]:
    for path, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                yield os.lstat(f"{path}/{name}").st_size


def _remove_runs(runs_dir: Path, ids: Sequence[int]) -> None:
    for run in ids:
        shutil.rmtree(runs_dir / str(run), ignore_errors=True)


def _old_files(values_dir: Path, before: float, temporary: float) -> Iterator[str]:
    """Files of values that were written before then, and what was left of writing one, relative to `values_dir`."""
    for folder, _, files in os.walk(values_dir):
        for name in files:
            path = f"{folder}/{name}"
            cut = before if _run_of(name) is not None else temporary if _is_temporary(name) else 0.0
            with suppress(OSError):
                if os.lstat(path).st_mtime < cut:
                    yield os.path.relpath(path, values_dir)


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _run_of(path: str) -> int | None:
    """The run that wrote a value, by the name of the file: `RUN-ATTEMPT.MANAGER`."""
    run, _, rest = path.rpartition("/")[2].partition("-")
    return int(run) if run.isdecimal() and rest.partition(".")[0].isdecimal() else None


def _remove_files(values_dir: Path, paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(OSError):
            os.unlink(values_dir / path)  # noqa: PTH108
