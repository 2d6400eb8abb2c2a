"""What an annotation says of an argument: whether it can be values by key, or is a single value for certain."""

from __future__ import annotations

import collections.abc
import types
from typing import Annotated, Any, Protocol, Union, get_args, get_origin, is_typeddict

__all__ = ["single_value"]

_BY_KEY = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def single_value(annotation: Any) -> str | None:
    """The annotation as text where nothing by key can be meant, such as `int` or `list[Row]`; None where it may be, or
    where it says nothing."""
    return None if annotation is None or _may_be_by_key(annotation) else _text(annotation)


def _may_be_by_key(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _may_be_by_key(get_args(annotation)[0])
    if origin is Union or isinstance(annotation, types.UnionType):
        return any(one is not types.NoneType and _may_be_by_key(one) for one in get_args(annotation))
    kind = origin or annotation
    if kind is Any or not isinstance(kind, type):
        return True  # Any, Literal, a name that means nothing yet: no judgement
    if is_typeddict(kind) or Protocol in kind.__mro__ or getattr(kind, "__abstractmethods__", None):
        return True
    return issubclass(kind, _BY_KEY) or any(issubclass(one, kind) for one in _BY_KEY)


def _text(annotation: Any) -> str:
    shown = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    plain = isinstance(shown, type) and get_origin(shown) is None
    return shown.__name__ if plain else str(shown).replace("typing.", "")
