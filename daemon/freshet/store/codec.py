"""How values lie in TEXT columns: JSON as orjson writes it."""

from __future__ import annotations

from typing import Any

import orjson

from freshet.definitions.outcome import Json
from freshet.errors import ValueFormatError
from freshet.store.records import ValueRef

__all__ = ["dump", "dump_optional", "dump_value", "load", "load_optional", "load_value"]


def dump(value: Json) -> str:
    """JSON text of `value`. Raises `ValueFormatError` for what JSON cannot hold (integers beyond 64 bits, too)."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise ValueFormatError(f"a value cannot be kept as JSON: {error}", hint="keep it as text") from error


def dump_optional(value: Json) -> str | None:
    """As `dump`, with None as SQL NULL."""
    return None if value is None else dump(value)


def load(text: str) -> Any:
    """The value of a JSON text."""
    return orjson.loads(text)


def load_optional(text: str | None) -> Any:
    """As `load`, with SQL NULL as None."""
    return None if text is None else orjson.loads(text)


def dump_value(ref: ValueRef | None) -> str | None:
    """A kept value's reference as text; None stays NULL."""
    return None if ref is None else dump([ref.path, ref.io, ref.size, ref.digest])


def load_value(text: str | None) -> ValueRef | None:
    """What `dump_value` wrote."""
    return None if text is None else ValueRef(*orjson.loads(text))
