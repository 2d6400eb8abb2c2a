"""The I/O manager `json`: for values that come back from JSON exactly as they went in.

Exactly means: of the types dict (keys of type str), list, str, int within 64 bits, finite float, bool and None, none of
them a subclass. A tuple would come back as a list, NaN as None: such values do not fit, and are refused. A `Values`,
or a view of a dict such as `ctx.partition.metadata` (which a step is given and may hand on), counts as a dict.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import isfinite
from types import MappingProxyType
from typing import Any

import orjson

from freshet.errors import ValueFormatError
from freshet.io.values import Values

__all__ = ["MAX_DEPTH", "dumps", "loads", "misfit", "try_dumps"]

MAX_DEPTH = 254
"""How deep lists and dicts may be nested (orjson's limit)."""

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_PLAIN = frozenset({str, int, bool, type(None)})
_LEAVES = _PLAIN | {float}
_VIEWS = (Values, MappingProxyType)
_FITTING = _LEAVES | {dict, list, *_VIEWS}
# What orjson would turn into something else is refused instead of converted.
_OPTIONS = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def dumps(value: Any) -> bytes:
    """The value as JSON.

    Raises `ValueFormatError` where it would not come back exactly, saying what stands where: `$[3].amount: NaN`.
    """
    data = try_dumps(value)
    if data is None:
        place, reason = misfit(value) or ("$", "orjson cannot write it")
        raise ValueFormatError(
            f"the value does not fit io='json': {place}: {reason}",
            hint="return what JSON can hold, or use io='pickle', or name no io and it is chosen by the value",
        )
    return data


def try_dumps(value: Any) -> bytes | None:
    """The value as JSON, or None where it would not come back exactly."""
    written = [value]

    def plain(item: Any) -> Any:
        within = item
        if not isinstance(item, _VIEWS):
            raise TypeError
        written.append(dict[str, Any](within.items()))
        return written[-1]

    try:
        data = orjson.dumps(value, default=plain, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        if isinstance(error.__cause__, ValueFormatError):  # an input that cannot be read
            raise error.__cause__ from None
        return None
    # Written at all: so there is no cycle and no excess of depth, and integers and texts are in range.
    return data if all(_exact(one) for one in written) else None


def loads(data: bytes) -> Any:
    """The value again."""
    return orjson.loads(data)


def misfit(value: Any) -> tuple[str, str] | None:
    """The first place that does not fit, as a path such as `$.rows[3].amount`, and why; None where all fits."""
    stack: list[tuple[str, Any, int]] = [("$", value, 1)]
    while stack:
        place, item, depth = stack.pop()
        kind = _kind(item)
        reason = _reason(item)
        if reason is None and depth > MAX_DEPTH and kind in (dict, list, *_VIEWS):
            reason = f"nested deeper than {MAX_DEPTH}"
        if reason is not None:
            return place, reason
        if kind in (dict, *_VIEWS):
            mapping: dict[Any, Any] = item
            for key in mapping:
                if type(key) is not str:
                    return place, f"the key {_short(key)} is of type {type(key).__name__}, not str"
                if (broken := _reason(key)) is not None:
                    return place, f"the key {_short(key)}: {broken}"
            stack.extend((place + _member(key), entry, depth + 1) for key, entry in reversed(mapping.items()))
        elif kind is list:
            items: list[Any] = item
            stack.extend((f"{place}[{at}]", items[at], depth + 1) for at in range(len(items) - 1, -1, -1))
    return None


def _exact(value: Any) -> bool:
    """Whether every type is exact and every float finite; whole containers at a time, for speed."""
    if type(value) not in (dict, list):
        return _leaves_exact({type(value)}, (value,))
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        kind = _kind(item)
        entries: Collection[Any] = item
        if kind is dict:
            mapping: dict[Any, Any] = item
            if any(type(key) is not str for key in mapping):
                return False
            entries = mapping.values()
        types = set(map(type, entries))
        if types <= _PLAIN:
            continue
        if not _leaves_exact(types, entries):
            return False
        if dict in types or list in types:
            stack.extend(entry for entry in entries if type(entry) in (dict, list))
    return True


def _leaves_exact(types: set[type], entries: Iterable[Any]) -> bool:
    if not types <= _FITTING:
        return False
    return float not in types or all(isfinite(entry) for entry in entries if type(entry) is float)


def _reason(item: Any) -> str | None:
    kind = _kind(item)
    if kind not in _FITTING:
        return f"{_short(item)} is of type {kind.__name__}"
    if kind is float and not isfinite(item):
        return {True: "Infinity", False: "-Infinity"}[item > 0] if item == item else "NaN"
    if kind is int and not _INT_MIN <= item <= _INT_MAX:
        return "an integer of more than 64 bits"
    if kind is str:
        try:
            item.encode()
        except UnicodeEncodeError:
            return f"{_short(item)} holds a lone surrogate"
    return None


def _kind(item: object) -> type[object]:
    return type(item)


def _member(key: str) -> str:
    return f".{key}" if key.isidentifier() else f"[{_short(key)}]"


def _short(item: Any) -> str:
    try:
        text = repr(item)
    except Exception:  # a user's __repr__ must not hide the message
        text = f"<{type(item).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."
