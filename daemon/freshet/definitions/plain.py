"""Annotations of plain JSON values, told as data: who never runs a plugin's code can build them anew and check with
them, and finds exactly what the plugin's own process would."""

from __future__ import annotations

import types
from datetime import date, datetime
from typing import Any, Literal, Union, get_args, get_origin

from freshet.definitions.outcome import Json

__all__ = ["described", "rebuilt", "said"]

_SINGLE: dict[str, Any] = {
    "int": int, "float": float, "str": str, "bool": bool, "None": types.NoneType, "date": date, "datetime": datetime,
}  # fmt: skip
_NAMES = {kind: name for name, kind in _SINGLE.items()}


def described(annotation: Any) -> Json:
    """`int`, `float`, `str`, `bool`, `None`, `date`, `datetime`, a `Literal` of such, and `list`, `dict` by text and
    unions of those that are plain themselves, as JSON: `"int"`, `["list", "int"]`, `["literal", "a", 1]`. None for
    every other annotation."""
    if annotation is None:
        return "None"
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ["literal", *inner] if all(type(one) in (str, int, bool, types.NoneType) for one in inner) else None
    if origin is list:
        return _made("list", inner)
    if origin is dict:
        return _made("dict", inner[1:]) if inner[0] is str else None
    if origin is Union or origin is types.UnionType:
        return _made("union", inner)
    return _NAMES.get(annotation) if isinstance(annotation, type) else None


def _made(kind: str, inner: tuple[Any, ...]) -> Json:
    parts = [described(one) for one in inner]
    return None if None in parts else [kind, *parts]


def rebuilt(plain: Json) -> Any:
    """The annotation that was `described`."""
    if isinstance(plain, str):
        return _SINGLE[plain]
    kind, *parts = plain
    match kind:
        case "literal":
            return Literal[tuple(parts)]
        case "list":
            return types.GenericAlias(list, (rebuilt(parts[0]),))
        case "dict":
            return types.GenericAlias(dict, (str, rebuilt(parts[0])))
        case _:
            return Union[tuple(rebuilt(one) for one in parts)]  # noqa: UP007  # of as many as there are


def said(plain: Json) -> str:
    """For a message: `list of int`, `'a' or 'b'`."""
    if isinstance(plain, str):
        return {"None": "null", "str": "text"}.get(plain, plain)
    kind, *parts = plain
    match kind:
        case "literal":
            return " or ".join(map(repr, parts))
        case "list":
            return f"list of {said(parts[0])}"
        case "dict":
            return f"object of {said(parts[0])}"
        case _:
            return " or ".join(map(said, parts))
