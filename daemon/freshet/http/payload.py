"""JSON from strangers: bounded in depth and in the number of its values before it is parsed, finite, and each key once.

Nothing here holds the interpreter for long, however large the body: what counts goes through it in pieces, so that a
thread in which this runs lets others work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from freshet.definitions.outcome import Json

__all__ = ["MAX_DEPTH", "MAX_VALUES", "BadPayload", "parse", "pointed"]

MAX_DEPTH = 64
MAX_VALUES = 100_000

_PIECE = 1 << 16
_BRACKET = re.compile(rb"[\[\]{}]")
_INDEX = re.compile("0|[1-9][0-9]{0,9}")


class BadPayload(ValueError):
    """No JSON, or more of it than anybody means."""


def parse(body: bytes, *, depth: int = MAX_DEPTH, values: int = MAX_VALUES) -> Json:
    """The value in a body. Raises `BadPayload`, also for NaN, infinities and numbers that are none in 64 bits' range
    of floats, and for an object with the same key twice: readers differ on which one counts. What costs most is refused
    by counting, before anything is built."""
    opened = body.count(b"[") + body.count(b"{")
    if opened > depth or body.count(b",") + opened > values:
        _check_bounds(body, depth, values)
    try:
        found: Json = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadPayload(f"it is no JSON: {error}") from None
    if not _is_all(body, orjson.dumps(found)):
        raise BadPayload(f"the key {_twice(body)!r} stands twice in one object")
    return found


def pointed(value: Json, pointer: str) -> str | None:
    """The text or number at a JSON pointer (RFC 6901), as a text; None where there is none.

    The pointer begins with a slash, as `Intake.id_from` checks.
    """
    here: Any = value
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict) and name in here:
            here = here[name]  # pyright: ignore[reportUnknownVariableType]
        elif isinstance(here, list) and _INDEX.fullmatch(name) and int(name) < len(here):  # pyright: ignore[reportUnknownArgumentType]
            here = here[int(name)]  # pyright: ignore[reportUnknownVariableType]
        else:
            return None
    if isinstance(here, bool) or not isinstance(here, str | int):
        return None
    return str(here)


def _check_bounds(body: bytes, depth: int, values: int) -> None:
    opened = commas = 0
    for bare in _outside_texts(body):
        opened += bare.count(b"[") + bare.count(b"{")
        commas += bare.count(b",")
        if commas + opened > values:
            raise BadPayload(f"it has more than {values:,} values")
    if opened > depth and _too_deep(body, depth):
        raise BadPayload(f"it is nested deeper than {depth}")


def _is_all(body: bytes, read: bytes) -> bool:
    """Whether what was read has all keys of the body. By the colons: one stands for each key, and those in texts are in
    both, unless they are written as an escape."""
    if b"\\u003" not in body:
        return body.count(b":") == read.count(b":")
    before, after = (sum(bare.count(b":") for bare in _outside_texts(text)) for text in (body, read))
    return before == after


def _outside_texts(body: bytes) -> Iterator[bytes]:
    """What of a JSON body stands in no text, in pieces."""
    rest, inside = b"", 0
    for start in range(0, len(body), _PIECE):
        piece = rest + body[start : start + _PIECE]
        cut = len(piece) - (len(piece) - len(piece.rstrip(b"\\"))) % 2  # what escapes comes with what is escaped
        piece, rest = piece[:cut], piece[cut:]
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.split(b'"')
        yield b"".join(parts[inside::2])
        inside = (inside + len(parts) - 1) % 2


def _too_deep(body: bytes, depth: int) -> bool:
    level = 0
    for bare in _outside_texts(body):
        for match in _BRACKET.finditer(bare):
            level += 1 if match[0] in b"[{" else -1
            if level > depth:
                return True
    return False


def _twice(body: bytes) -> str:
    """A key that stands twice in one object of a body that has such a one."""
    found = list[str]()

    def look(pairs: list[tuple[str, Any]]) -> None:
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                found.append(name)
            seen.add(name)

    json.loads(body, object_pairs_hook=look)
    return found[0][:100]
