"""Inputs too many for a frame: written to a file beside the run's journal, in a thread, and removed with the step.

`runs/ID/inputs-POSITION-ATTEMPT.jsonl`; what its lines are is told at `host.messages.InputsFile`. The event loop only
hands it over.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

import orjson

from freshet.host.messages import InputsFile
from freshet.store.records import StepToRun, ValueRef

__all__ = ["MOST_IN_FRAME", "InputFiles", "is_large", "remove_inputs", "write_inputs"]

MOST_IN_FRAME = 2_000
"""References that a launch carries itself: a few milliseconds of the event loop's time."""

_LINES = 256
"""Lines written at a time; the interpreter is given to the event loop after each write, a fraction of a millisecond."""

_StepKey = tuple[int, int, int]


def is_large(step: StepToRun) -> bool:
    """Whether a step's inputs go by file."""
    return sum(map(len, step.inputs.values())) > MOST_IN_FRAME


def write_inputs(runs_dir: Path, step: StepToRun, *, stop: threading.Event | None = None) -> InputsFile | None:
    """Write the inputs of each upstream that has several. None if `stop` was set meanwhile. Raises `OSError`."""
    path = _path(runs_dir, step)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # of an attempt that was returned
    sections: dict[str, tuple[int, int]] = {}
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        at = 0
        for asset, refs in step.inputs.items():
            if len(refs) < 2:
                continue
            size = _write(file, refs, stop)
            if size is None:
                return None
            sections[asset] = (at, len(refs))
            at += size
    finally:
        os.close(file)
    return InputsFile(path=str(path), sections=sections)


def _write(file: int, refs: Mapping[str | None, ValueRef], stop: threading.Event | None) -> int | None:
    pairs, size = iter(refs.items()), 0
    while lines := [_line(key, ref) for key, ref in islice(pairs, _LINES)]:
        if stop is not None and stop.is_set():
            return None
        rest = memoryview(b"".join(lines))
        size += len(rest)
        while rest:
            rest = rest[os.write(file, rest) :]
    return size


def _line(key: str | None, ref: ValueRef) -> bytes:
    return orjson.dumps((key, ref.path, ref.io, ref.size, ref.digest), option=orjson.OPT_APPEND_NEWLINE)


def remove_inputs(runs_dir: Path, step: StepToRun) -> None:
    """The step has ended. What cannot be removed goes with the run's folder."""
    with suppress(OSError):
        _path(runs_dir, step).unlink(missing_ok=True)


def _path(runs_dir: Path, step: StepToRun) -> Path:
    return runs_dir.absolute() / str(step.run_id) / f"inputs-{step.position}-{step.attempt}.jsonl"


class InputFiles:
    """The files of a code host's steps. `written` is called on the event loop with what was written, or why nothing
    was: an error, or None after `stop`."""

    def __init__(self, runs_dir: Path, written: Callable[[StepToRun, InputsFile | OSError | None], None]) -> None:
        self._runs_dir = runs_dir
        self._written = written
        self._writing: dict[_StepKey, tuple[asyncio.Task[None], threading.Event]] = {}
        self._removing: dict[_StepKey, asyncio.Future[None]] = {}

    def write(self, step: StepToRun) -> None:
        """Begin to write a step's inputs."""
        stop = threading.Event()
        task = asyncio.get_running_loop().create_task(self._write(step, stop))
        self._writing[_key(step)] = (task, stop)

    async def _write(self, step: StepToRun, stop: threading.Event) -> None:
        made: InputsFile | OSError | None
        if (removing := self._removing.get(_key(step))) is not None:
            await asyncio.wait([removing])
        try:
            made = await asyncio.to_thread(write_inputs, self._runs_dir, step, stop=stop)
        except OSError as error:
            made = error
        del self._writing[_key(step)]
        self._written(step, None if stop.is_set() else made)

    def stop(self, run_id: int, position: int) -> bool:
        """Whether the inputs of this step were still being written; `written` follows."""
        found = [stop for key, (_, stop) in self._writing.items() if key[:2] == (run_id, position)]
        for stop in found:
            stop.set()
        return bool(found)

    def remove(self, step: StepToRun) -> None:
        """A step has ended: in a thread, since a large file takes its time to go."""
        if is_large(step):
            removing = asyncio.get_running_loop().run_in_executor(None, remove_inputs, self._runs_dir, step)
            self._removing[_key(step)] = removing
            removing.add_done_callback(lambda done: self._removing.pop(_key(step), None))

    async def close(self) -> None:
        """Stop writing, and wait until nothing is written or removed any more."""
        for task, stop in list(self._writing.values()):
            stop.set()
            await asyncio.wait([task])
        if self._removing:
            await asyncio.wait(list(self._removing.values()))


def _key(step: StepToRun) -> _StepKey:
    return step.run_id, step.position, step.attempt
