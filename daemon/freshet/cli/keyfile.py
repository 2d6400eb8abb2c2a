"""Keys from a file or from standard input: a key a line, or NDJSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, NoReturn

from freshet.cli.session import UsageError

__all__ = ["as_json", "reading"]

_AT_ONCE = 1000
"""Lines sent together."""


@contextmanager
def reading(source: str) -> Generator[BinaryIO]:
    """The file; `-` is standard input. Raises `UsageError` where it cannot be opened."""
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise UsageError(f"--from {source}: {error.strerror}", hint="name a file of keys, one a line, or -") from None
    with file:
        yield file


def as_json(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines as NDJSON, some together. Where the first that is not empty begins as JSON does, with a quote or a
    brace, all are NDJSON already; otherwise each is a key. Raises `UsageError` for a file that mixes both, naming the
    line: nothing of it is then added or deleted."""
    rest = iter(lines)
    head: list[bytes] = []
    for line in rest:
        head.append(line)
        if line.strip():
            break
    ready = bool(head) and _like_json(head[-1])
    every = chain(head, rest)
    first = 1
    while piece := list(islice(every, _AT_ONCE)):
        for number, line in enumerate(piece, first):
            if line.strip() and _like_json(line) != ready and (ready or _is_object(line)):
                _refuse(number, line, ready=ready)
        first += len(piece)
        yield b"".join(piece if ready else map(_quoted, piece))


def _like_json(line: bytes) -> bool:
    return line.lstrip()[:1] in (b'"', b"{")


def _is_object(line: bytes) -> bool:
    """A key may begin with a brace or a quote; that one is a whole object by chance is another matter."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _refuse(number: int, line: bytes, *, ready: bool) -> NoReturn:
    shown = line.strip()[:60].decode(errors="replace")
    one, all_ = ("a plain key", "JSON") if ready else ("a JSON object", "plain keys")
    raise UsageError(
        f"--from: line {number} is {one}, {shown!r}, among lines of {all_}",
        hint='write all lines in one form: KEY, or {"key": "KEY", "metadata": {...}}',
    )


def _quoted(line: bytes) -> bytes:
    key = line.rstrip(b"\r\n")
    try:
        return (json.dumps(key.decode()) if key else "").encode() + b"\n"
    except UnicodeDecodeError:
        return line  # refused by the daemon, which names the line
