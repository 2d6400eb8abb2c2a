"""From what a plugin hands over to plain JSON data, or an error that says where it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from freshet.definitions.outcome import Json

__all__ = ["NotPlain", "is_a", "plain", "plain_text"]

_DEPTH = 100
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


class NotPlain(ValueError):
    """A value that JSON cannot hold as it is."""


def is_a(value: Any, *kinds: type[Any]) -> bool:
    """`isinstance`, for values that stay `Any` to the type checker."""
    return isinstance(value, kinds)


def plain(value: Any, what: str, *, exact: bool = False) -> Json:
    """A copy of `value` made of None, bool, int, float, str, list and dict.

    Raises `NotPlain` naming `what` and the place inside it. `exact`: refuse what would come back as another type
    (a tuple); else it becomes a list.
    """
    return _copy(value, what, exact, 0)


def plain_text(value: Any, what: str) -> str:
    """`value` if it is a text that can be written as UTF-8, else `NotPlain`."""
    if not isinstance(value, str):
        raise NotPlain(f"{what} must be a text, found {_show(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotPlain(f"{what} holds a lone surrogate: {value!r}") from None
    return str(value)


def _copy(value: Any, path: str, exact: bool, depth: int) -> Json:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return plain_text(value, path)
    if isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            raise NotPlain(f"{path} is {value}, which is over 64 bits: write it as a text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotPlain(f"{path} is {value}, which JSON cannot hold")
        return float(value)
    if depth >= _DEPTH:
        raise NotPlain(f"{path} is nested more than {_DEPTH} deep")
    if is_a(value, list) or (is_a(value, tuple) and not exact):
        return [_copy(item, f"{path}[{index}]", exact, depth + 1) for index, item in enumerate(value)]
    if is_a(value, dict) or (is_a(value, Mapping) and not exact):
        return _copy_mapping(value, path, exact, depth)
    if is_a(value, tuple):
        raise NotPlain(f"{path} is a tuple, which would come back as a list: use a list")
    raise NotPlain(f"{path} is {_show(value)}: only None, bool, int, float, str, list and dict can be kept")


def _copy_mapping(value: Mapping[Any, Any], path: str, exact: bool, depth: int) -> Json:
    copied: dict[str, Json] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise NotPlain(f"{path} has the key {key!r}: the keys must be texts")
        copied[plain_text(key, f"a key of {path}")] = _copy(item, f"{path}[{key!r}]", exact, depth + 1)
    return copied


def _show(value: object) -> str:
    return f"{repr(value)[:100]} ({type(value).__name__})"
