"""The journal of a run: `state_dir/runs/ID/journal.jsonl`, one JSON object a line, appended and never changed.

    {"t": 1767225600.25, "step": "raw_orders", "attempt": 1, "stream": "stdout", "text": "12 rows"}

`t` is seconds since 1970. What else a line holds depends on `stream`:

    stdout, stderr   `text`: one line without its end (a longer one comes in pieces of 64 KiB)
    log              `level` (debug, info, warning, error, critical), `message`, `fields`
    progress         `fields`: `done`, and `total` (null where unknown)
    metadata         `fields`: what `ctx.metadata(...)` was given
    artifact         `fields`: `name`, `kind`, and where it lies: see `artifacts`
    state            `message`: started, succeeded, failed, died, timed out, canceled or interrupted; `fields`: the
                     `pid`, or the `error` with its type, message and traceback

Each line is written whole by one `write` to a descriptor opened with O_APPEND, so the worker, its threads and
subprocesses and the host (which writes what came through a worker's pipes) may all append at once. A reader may see a
last line without its end: it is still being written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import orjson

__all__ = ["LINE_MAX", "Journal", "LineCutter", "journal_path"]

LINE_MAX = 64 * 1024
"""The longest text of a line, in characters; a line of output that is longer is cut into several."""

_FILE = "journal.jsonl"
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


def journal_path(runs_dir: Path, run_id: int) -> Path:
    """Where a run's journal lies."""
    return runs_dir / str(run_id) / _FILE


class Journal:
    """Appends the lines of one attempt of one step, which `begin` names. Safe to use from several threads.

    `folder`: the run's.

    `unwritten`: told why a line could not be written (a full disk), which is then lost; without it that raises.
    """

    def __init__(
        self,
        runs_dir: Path,
        *,
        clock: Callable[[], float] = time.time,
        unwritten: Callable[[OSError], None] | None = None,
    ) -> None:
        self._runs_dir = str(runs_dir)
        self.clock = clock
        self._unwritten = unwritten
        self.folder = ""
        self._head: dict[str, Any] = {}
        self._fd = -1

    def begin(self, run_id: int, step: str, attempt: int) -> None:
        """From here on, lines are this attempt's."""
        self.folder = f"{self._runs_dir}/{run_id}"
        self._head = {"t": 0.0, "step": step, "attempt": attempt}

    def open(self) -> None:
        """Make the file now, where the first line would."""
        self._write(b"")

    def text(self, stream: Literal["stdout", "stderr"], line: str) -> None:
        """A line of output, without its end."""
        for start in range(0, len(line) or 1, LINE_MAX):
            self._line({"stream": stream, "text": line[start : start + LINE_MAX]})

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        """A line of log."""
        self._line({"stream": "log", "level": level, "message": message, "fields": fields})

    def progress(self, done: float, total: float | None) -> None:
        """How far the step is."""
        self._line({"stream": "progress", "fields": {"done": done, "total": total}})

    def metadata(self, values: dict[str, Any]) -> None:
        """Facts to keep with the result."""
        self._line({"stream": "metadata", "fields": values})

    def artifact(self, told: dict[str, Any]) -> None:
        """Something was kept to be looked at."""
        self._line({"stream": "artifact", "fields": told})

    def state(self, message: str, **fields: Any) -> None:
        """What became of the step."""
        self._line({"stream": "state", "message": message, "fields": fields})

    def close(self) -> None:
        """Give the descriptor back; a later line opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _line(self, line: dict[str, Any]) -> None:
        self._write(_dump({**self._head, "t": self.clock(), **line}))

    def _write(self, text: bytes) -> None:
        try:
            if self._fd < 0:
                self._fd = self._open()
            if text:
                os.write(self._fd, text)
        except OSError as error:
            if self._unwritten is None:
                raise
            self._unwritten(error)

    def _open(self) -> int:
        # The folder is not there in nearly every case: it is made without asking, and without pathlib, whose objects
        # cost a forked process more than the folder does.
        try:
            os.mkdir(self.folder, 0o700)  # noqa: PTH102
        except FileExistsError:
            pass
        except FileNotFoundError:
            os.makedirs(self.folder, 0o700, exist_ok=True)  # noqa: PTH103
        return os.open(f"{self.folder}/{_FILE}", _APPEND, 0o600)


def _dump(line: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(line, default=repr, option=_OPTIONS)
    except (TypeError, ValueError):  # a lone surrogate, an integer beyond 64 bits: keep the line, shown another way
        return orjson.dumps(_shown(line), default=repr, option=_OPTIONS)


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        pairs: dict[Any, Any] = cast(Any, value)
        return {_shown(str(key)): _shown(item) for key, item in pairs.items()}
    if isinstance(value, list | tuple):
        items: list[Any] = cast(Any, value)
        return [_shown(item) for item in items]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value


class LineCutter:
    """Cuts bytes from a pipe into lines of text; what is no UTF-8 is shown with backslashes."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Emit the lines completed by `data`, and what grows too long for one."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._emit(_text(line))
        if len(self._rest) > LINE_MAX:
            self.end()

    def end(self) -> None:
        """Emit what has no end of line."""
        if self._rest:
            rest, self._rest = self._rest, b""
            self._emit(_text(rest))


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "backslashreplace")
