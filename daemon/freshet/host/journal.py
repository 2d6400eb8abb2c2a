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
    cut              `message`: that what follows is not kept, or how much was not: `fields`: `lines` and `bytes`

A journal is bounded. Of each attempt the first 16 MiB that its worker writes are kept, and as much again of what comes
through the worker's pipes; of what follows, the last lines, which are written before the state in which it ended. What
processes that the worker forked print counts for each of them, as long as the whole run has less than 256 MiB. States
are always written.

Each line is written whole by one `write` to a descriptor opened with O_APPEND, so the worker, its threads and
subprocesses and the host (which writes what came through a worker's pipes) may all append at once. A reader may see a
last line without its end: it is still being written.

A journal is made for what is said: that a step has started is written with its first line, and without anybody's word
there is no file. The store knows as much, and to make a folder and a file costs more than many a step does.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import orjson

from freshet.masking import masked_bytes

__all__ = ["ATTEMPT_MAX", "LINE_MAX", "RUN_MAX", "Journal", "LineCutter", "journal_path"]

ATTEMPT_MAX = 16 * 2**20
"""Bytes that a process may write of an attempt."""
RUN_MAX = 256 * 2**20
"""Bytes of a run's journal beyond which no attempt of it writes more."""
LINE_MAX = 64 * 1024
"""The longest text of a line, in characters; a line of output that is longer is cut into several."""

_TAIL_LINES = 100
_TAIL_CHARS = 1_000
_TAIL_BYTES = 8 * 1024
_WEIGHED = 256 * 1024
"""Bytes after which the size of the whole is looked at again."""
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
        self._opening = threading.Lock()
        self._held: tuple[int, float] | None = None
        self._torn = False
        self._start_over()

    def _start_over(self) -> None:
        self._written = 0
        self._weigh_at = _WEIGHED
        self.full = False
        self._cut_lines = self._cut_bytes = 0
        self._tail: deque[dict[str, Any]] = deque(maxlen=_TAIL_LINES)
        self._raw_tail: dict[Literal["stdout", "stderr"], bytes] = {}

    def begin(self, run_id: int, step: str, attempt: int) -> None:
        """From here on, lines are this attempt's."""
        self.folder = f"{self._runs_dir}/{run_id}"
        self._head = {"t": 0.0, "step": step, "attempt": attempt}
        self._held = None
        if self._written:
            self._start_over()

    def text(self, stream: Literal["stdout", "stderr"], line: str) -> None:
        """A line of output, without its end."""
        for start in range(0, len(line) or 1, LINE_MAX):
            self._line({"stream": stream, "text": line[start : start + LINE_MAX]})

    def texts(self, stream: Literal["stdout", "stderr"], lines: Sequence[str]) -> None:
        """Lines of output that came at once, in one write. For those who write many: a tenth of the time of each."""
        if self.full or any(len(line) > LINE_MAX for line in lines):
            for line in lines:
                self.text(stream, line)
        elif lines:
            head = orjson.dumps({**self._head, "t": self.clock(), "stream": stream})[:-1] + b',"text":'
            self._write_some(b"".join([b"%b%b}\n" % (head, orjson.dumps(line)) for line in lines]))

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
        """What became of the step; before it, the end of what was cut."""
        self.settle()
        self._write(self._dumped({"stream": "state", "message": message, "fields": fields}))

    def started(self, pid: int) -> None:
        """The step has started, in this process: said before its next line."""
        self._held = pid, self.clock()

    def say_started(self) -> None:
        """Before processes below this one may write: what they say comes after that."""
        if self._held is not None:
            self._write(b"")

    def succeeded(self) -> None:
        """The step has succeeded: said where there is a journal."""
        if self._fd >= 0 or os.access(f"{self.folder}/{_FILE}", os.F_OK):
            self.state("succeeded")

    def skip(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Output that is too much: count it, and remember its end."""
        self._cut_lines += data.count(b"\n")
        self._cut_bytes += len(data)
        self._raw_tail[stream] = (self._raw_tail.get(stream, b"") + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]

    def settle(self) -> None:
        """Say how much was cut, if anything was, and write the last lines of it."""
        if not self._cut_bytes:
            return
        told = {"lines": self._cut_lines, "bytes": self._cut_bytes}
        self._write(self._dumped({"stream": "cut", "message": "not kept, but for the last lines", "fields": told}))
        for line in self._tail:
            self._write(self._dumped(line))
        for stream, data in self._raw_tail.items():
            for raw in data.split(b"\n")[-_TAIL_LINES:]:
                self._write(self._dumped({"stream": stream, "text": _text(raw)}))
        self._cut_lines = self._cut_bytes = 0
        self._tail.clear()
        self._raw_tail.clear()

    def close(self) -> None:
        """Give the descriptor back; a later line opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _line(self, line: dict[str, Any]) -> None:
        if self.full:
            self._cut(line)
            return
        self._write_some(self._dumped(line))

    def _write_some(self, data: bytes) -> None:
        self._write(data)
        self._written += len(data)
        if self._written > ATTEMPT_MAX or (self._written > self._weigh_at and self._run_is_full()):
            self.full = True
            said = "there is too much: what follows is not kept, but for its last lines"
            self._write(self._dumped({"stream": "cut", "message": said, "fields": {}}))

    def _run_is_full(self) -> bool:
        self._weigh_at = self._written + _WEIGHED
        return self._fd >= 0 and os.fstat(self._fd).st_size > RUN_MAX

    def _cut(self, line: dict[str, Any]) -> None:
        name = "text" if "text" in line else "message"
        text: str = line.get(name, "")
        self._cut_lines += 1
        self._cut_bytes += len(text) + 1
        if text:  # neither progress nor metadata, which are known otherwise
            self._tail.append({**line, "t": self.clock(), name: text[-_TAIL_CHARS:]})

    def _dumped(self, line: dict[str, Any]) -> bytes:
        return _dump({**self._head, "t": self.clock(), **line})

    def _write(self, text: bytes) -> None:
        try:
            if self._fd < 0 or self._held is not None:
                self._begin()
            self._put(text)
        except OSError as error:
            if self._unwritten is None:
                raise
            self._unwritten(error)

    def _begin(self) -> None:
        with self._opening:
            if self._fd < 0:
                self._fd = self._open()
            held = self._held
            if held is not None and os.getpid() == held[0]:  # else who forked this process says it itself
                line = {"t": held[1], "stream": "state", "message": "started", "fields": {"pid": held[0]}}
                self._put(_dump({**self._head, **line}))
            self._held = None  # until now, others wait for it

    def _put(self, text: bytes) -> None:
        text = masked_bytes(text)
        if self._torn:
            text = b"\n" + text
        self._torn = os.write(self._fd, text) < len(text)
        if self._torn:  # the disk took a part of it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

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

    def __init__(self, emit: Callable[[list[str]], None]) -> None:
        self._emit = emit
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Emit the lines completed by `data`, and what grows too long for one."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = list(map(_text, lines))
        if len(self._rest) > LINE_MAX:
            found.append(_text(self._rest))
            self._rest = b""
        if found:
            self._emit(found)

    def end(self) -> None:
        """Emit what has no end of line."""
        if self._rest:
            rest, self._rest = self._rest, b""
            self._emit([_text(rest)])


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "backslashreplace")
