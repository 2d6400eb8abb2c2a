"""What replaces `sys.stdout`, `sys.stderr` and the root log handler in a worker: lines go straight to the journal.

What does not pass through Python (C libraries, subprocesses, faulthandler) goes to the descriptors 1 and 2, which are
pipes to the host; it writes those lines.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import Any, BinaryIO, Literal

from freshet.definitions.outcome import Json
from freshet.host.journal import LINE_MAX, Journal

__all__ = ["JournalLogger", "JournalStream", "Output"]

_LEVELS = ((50, "critical"), (40, "error"), (30, "warning"), (20, "info"))
_PLAIN_RECORD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})


class JournalStream(io.TextIOBase):
    """A text stream whose lines are journal lines. `flush()` writes an unfinished line as one of its own."""

    def __init__(self, journal: Journal, stream: Literal["stdout", "stderr"], fd: int) -> None:
        super().__init__()
        self._journal = journal
        self._stream: Literal["stdout", "stderr"] = stream
        self._fd = fd
        self._rest = ""
        self._lock = threading.RLock()
        self._binary: BinaryIO | None = None

    encoding = "utf-8"
    errors = "backslashreplace"

    @property
    def buffer(self) -> BinaryIO:
        """The bytes below, for those who write bytes: they take the way through the pipe."""
        if self._binary is None:
            self._binary = open(self._fd, "wb", buffering=0, closefd=False)  # noqa: SIM115  # as long as this lives
        return self._binary

    def fileno(self) -> int:
        """The pipe: a subprocess given this stream writes there."""
        return self._fd

    def writable(self) -> bool:
        """Yes."""
        return True

    def reconfigure(self, **options: Any) -> None:
        """For libraries that set their encoding: it is what it is."""

    def write(self, text: str, /) -> int:
        """Write the lines that `text` completes."""
        with self._lock:
            if "\n" in text:
                *lines, rest = (self._rest + text).split("\n")
                self._rest = rest
                for line in lines:  # what a progress bar overwrote is not kept
                    self._journal.text(self._stream, line.rstrip("\r").rpartition("\r")[2])
            else:
                self._rest += text
            if len(self._rest) > LINE_MAX:
                self.flush()
            return len(text)

    def flush(self) -> None:
        """Write what has no end of line yet."""
        with self._lock:
            if self._rest:
                rest, self._rest = self._rest, ""
                self._journal.text(self._stream, rest)


class JournalLogger:
    """`ctx.log`: see `contexts.Logger`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def debug(self, message: str, /, **fields: Json) -> None:
        """For the one who looks closely."""
        self._journal.log("debug", message, fields)

    def info(self, message: str, /, **fields: Json) -> None:
        """What happened."""
        self._journal.log("info", message, fields)

    def warning(self, message: str, /, **fields: Json) -> None:
        """What may become a problem."""
        self._journal.log("warning", message, fields)

    def error(self, message: str, /, **fields: Json) -> None:
        """What is one."""
        self._journal.log("error", message, fields)


class _JournalHandler(logging.Handler):
    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, Any] = {"logger": record.name}
            fields |= {name: value for name, value in vars(record).items() if name not in _PLAIN_RECORD}
            if record.exc_info:
                fields["traceback"] = self._formatter.formatException(record.exc_info)
            level = next((name for number, name in _LEVELS if record.levelno >= number), "debug")
            if record.levelname.lower() != level:  # one of the program's own
                fields["level"] = record.levelname
            self._journal.log(level, record.getMessage(), fields)
        except Exception:  # as every logging handler: a line that cannot be formatted is reported, not raised
            self.handleError(record)


class Output:
    """A process's streams and root log handler, made for a journal. Log lines count from INFO on.

    Made in the host, so that its forks find everything in place; `install` and `remove` only swap.
    """

    def __init__(self, journal: Journal) -> None:
        self._streams = (JournalStream(journal, "stdout", 1), JournalStream(journal, "stderr", 2))
        self._plain = (sys.stdout, sys.stderr)
        root = logging.getLogger()
        self._level = root.level
        self._plain_handlers = root.handlers
        kept = [handler for handler in root.handlers if type(handler) is not logging.StreamHandler]
        self._handlers = [*kept, _JournalHandler(journal)]

    def install(self) -> None:
        """Let output and log lines go to the journal."""
        root = logging.getLogger()
        root.handlers = self._handlers
        if self._level == logging.WARNING:
            root.setLevel(logging.INFO)
        sys.stdout, sys.stderr = self._streams

    def remove(self) -> None:
        """As before."""
        root = logging.getLogger()
        root.handlers = self._plain_handlers
        root.setLevel(self._level)
        sys.stdout, sys.stderr = self._plain
