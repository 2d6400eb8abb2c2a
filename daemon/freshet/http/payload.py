"""JSON from strangers: bounded in depth and in the number of its values before it is parsed, and finite."""

from __future__ import annotations

import re
from typing import Any

import orjson

from freshet.definitions.outcome import Json

__all__ = ["MAX_DEPTH", "MAX_VALUES", "BadPayload", "parse", "pointed"]

MAX_DEPTH = 64
MAX_VALUES = 100_000

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


class BadPayload(ValueError):
    """No JSON, or more of it than anybody means."""


def parse(body: bytes, *, depth: int = MAX_DEPTH, values: int = MAX_VALUES) -> Json:
    """The value in a body. Raises `BadPayload`, also for NaN, infinities and numbers that are none in 64 bits' range
    of floats. What costs most is refused by counting, before anything is built."""
    opened = body.count(b"[") + body.count(b"{")
    if opened > depth or body.count(b",") + opened > values:
        bare = _STRING.sub(b"", body)
        opened = bare.count(b"[") + bare.count(b"{")
        if bare.count(b",") + opened > values:
            raise BadPayload(f"it has more than {values:,} values")
        if opened > depth and _too_deep(bare, depth):
            raise BadPayload(f"it is nested deeper than {depth}")
    try:
        found: Json = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadPayload(f"it is no JSON: {error}") from None
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
        elif isinstance(here, list) and name.isascii() and name.isdigit() and int(name) < len(here):  # pyright: ignore[reportUnknownArgumentType]
            here = here[int(name)]  # pyright: ignore[reportUnknownVariableType]
        else:
            return None
    if isinstance(here, bool) or not isinstance(here, str | int):
        return None
    return str(here)


def _too_deep(bare: bytes, depth: int) -> bool:
    level = 0
    for match in _BRACKET.finditer(bare):
        level += 1 if match[0] in b"[{" else -1
        if level > depth:
            return True
    return False
