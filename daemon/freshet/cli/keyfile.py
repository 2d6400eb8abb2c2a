"""Keys from a file or from standard input: a key a line, or NDJSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

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
    brace, all are NDJSON already; otherwise each is a key."""
    rest = iter(lines)
    head: list[bytes] = []
    for line in rest:
        head.append(line)
        if line.strip():
            break
    ready = bool(head) and head[-1].lstrip()[:1] in (b'"', b"{")
    every = chain(head, rest)
    while piece := list(islice(every, _AT_ONCE)):
        yield b"".join(piece if ready else map(_quoted, piece))


def _quoted(line: bytes) -> bytes:
    key = line.rstrip(b"\r\n")
    try:
        return (json.dumps(key.decode()) if key else "").encode() + b"\n"
    except UnicodeDecodeError:
        return line  # refused by the daemon, which names the line
