"""Whether a value is of the kind that an annotation says: where it first is not, and why.

Looked at is what can be told by looking: classes, unions, literals, and the elements of lists, tuples, sets, dicts and
TypedDicts. What cannot be told (a protocol, a name that resolves to nothing, the parameters of a class of one's own)
fits. As type checkers have it, an int is a float; a number of numpy counts as the number that it is, and a view of a
dict, which comes back as one, as a dict.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
    is_typeddict,
)

__all__ = ["element", "prepared", "unfit"]

Fit = Callable[[Any], "tuple[str, str] | None"]
"""Where below the value, and why; None where it fits."""

_BY_KEY = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_ALSO: dict[type, tuple[type, ...]] = {float: (int,), complex: (int, float), dict: (MappingProxyType,)}
_HOLDERS = (list, tuple, set, frozenset)


def unfit(value: Any, annotation: Any) -> tuple[str, str] | None:
    """The first place that does not fit, such as `$[3].amount`, and why; None where all does."""
    fit = _fit(annotation)
    found = None if fit is None else fit(value)
    return None if found is None else (f"${found[0]}", found[1])


def element(annotation: Any) -> Any:
    """Of a parameter that takes values by key, what each value is to be: the `int` of `dict[str, int] | None`."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return element(args[0])
    if origin is Union or isinstance(annotation, types.UnionType):
        found = [element(one) for one in args if one is not types.NoneType]
        return found[0] if len(found) == 1 else Any
    by_key = isinstance(origin, type) and issubclass(origin, _BY_KEY)
    return args[1] if by_key and len(args) == 2 else Any


def prepared(annotation: Any) -> None:
    """Work out what is asked of values, once for all that follow in this process and those forked from it."""
    _fit(annotation)
    _fit(element(annotation))


def _fit(annotation: Any) -> Fit | None:
    """None where anything fits."""
    try:
        return _kept(annotation)
    except TypeError:  # it has no hash: Annotated[int, []]
        return _made(annotation)


def _made(annotation: Any) -> Fit | None:
    if annotation is None:
        annotation = types.NoneType
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _fit(args[0])
    if origin in (Awaitable, Coroutine):
        return _fit(args[-1])
    if origin is Union or isinstance(annotation, types.UnionType):
        return _one_of(annotation, [_fit(one) for one in args])
    if origin is Literal:
        return _literal(args)
    if origin is not None:
        return _holder(origin, args) if isinstance(origin, type) else None
    if hasattr(annotation, "__supertype__"):
        return _fit(annotation.__supertype__)
    if type(annotation).__name__ == "TypeAliasType":
        return _fit(annotation.__value__)
    if annotation in (Any, object) or isinstance(annotation, TypeVar) or not isinstance(annotation, type):
        return None
    return _typed_dict(annotation) if is_typeddict(annotation) else _instance(annotation)


_kept = lru_cache(maxsize=4096)(_made)


# --- one value -----------------------------------------------------------------------------------------------


def _instance(kind: type) -> Fit | None:
    if getattr(kind, "_is_protocol", False):
        return None
    try:
        isinstance(None, kind)
    except TypeError:
        return None
    return _Instance(kind)


class _Instance:
    """Of a class. `sure`: types whose values fit without a look."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._fitting = (kind, *_ALSO.get(kind, ()))
        self.sure = frozenset(self._fitting)

    def __call__(self, value: Any) -> tuple[str, str] | None:
        if isinstance(value, self._fitting) or _is_number(value, self._kind):
            return None
        return "", _not(value, _text(self._kind))


def _all_sure(one: Fit, values: Iterable[Any]) -> bool:
    return isinstance(one, _Instance) and one.sure.issuperset(map(type, values))


def _is_number(value: Any, kind: type) -> bool:
    if kind not in (int, float, complex) or isinstance(value, str | bytes):
        return False
    import numbers

    return isinstance(value, {int: numbers.Integral, float: numbers.Real, complex: numbers.Complex}[kind])


def _literal(choices: tuple[Any, ...]) -> Fit:
    def fit(value: Any) -> tuple[str, str] | None:
        if any(type(value) is type(one) and value == one for one in choices):
            return None
        return "", f"{_short(value)} is none of {', '.join(map(repr, choices))}"

    return fit


def _one_of(annotation: Any, fits: list[Fit | None]) -> Fit | None:
    if any(one is None for one in fits):
        return None
    known = [one for one in fits if one is not None]

    def fit(value: Any) -> tuple[str, str] | None:
        found: tuple[str, str] | None = None
        for one in known:
            new = one(value)
            if new is None:
                return None
            if found is None or len(new[0]) > len(found[0]):
                found = new  # that of the kind which it fits best
        return found if found is not None and found[0] else ("", _not(value, _text(annotation)))

    return fit


# --- what holds others -----------------------------------------------------------------------------------------


def _holder(origin: type, args: tuple[Any, ...]) -> Fit | None:
    if origin is type or (origin.__module__ not in ("builtins", "collections.abc", "collections")):
        return None
    outer = _instance(origin)
    if outer is None:
        return None
    if issubclass(origin, _BY_KEY) and len(args) == 2:
        return _with(outer, _by_key(_fit(args[0]), _fit(args[1])))
    if origin is tuple:
        return _with(outer, _elements(_fit(args[0])) if args[1:] == (...,) else _places([_fit(one) for one in args]))
    one = _fit(args[0]) if len(args) == 1 else None
    return _with(outer, _elements(one))


def _with(outer: Fit, inner: Fit | None) -> Fit:
    return outer if inner is None else lambda value: outer(value) or inner(value)


def _elements(one: Fit | None) -> Fit | None:
    if one is None:
        return None

    def fit(value: Any) -> tuple[str, str] | None:
        if _is_holder(value) and not _all_sure(one, value):  # of any other, to look at an element may take it away
            for at, entry in enumerate(value):
                if (found := one(entry)) is not None:
                    return f"[{at}]{found[0]}", found[1]
        return None

    return fit


def _places(fits: list[Fit | None]) -> Fit:
    def fit(value: Any) -> tuple[str, str] | None:
        if len(value) != len(fits):
            return "", f"{len(value)} elements, not {len(fits)}"
        for at, (one, entry) in enumerate(zip(fits, value, strict=True)):
            if one is not None and (found := one(entry)) is not None:
                return f"[{at}]{found[0]}", found[1]
        return None

    return fit


def _by_key(key: Fit | None, one: Fit | None) -> Fit | None:
    if key is None and one is None:
        return None

    def fit(value: Any) -> tuple[str, str] | None:
        if not _is_dict(value):
            return None
        if key is not None and not _all_sure(key, value):
            for name in value:
                if (found := key(name)) is not None:
                    return f"'s key {_short(name)}{found[0]}", found[1]
        if one is not None and not _all_sure(one, value.values()):
            for name, entry in value.items():
                if (found := one(entry)) is not None:
                    return f"{_member(name)}{found[0]}", found[1]
        return None

    return fit


def _typed_dict(kind: Any) -> Fit | None:
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception:  # a name that resolves to nothing
        return _instance(dict)
    # Where annotations are texts, Python takes all keys for required.
    required = {name for name in kind.__required_keys__ if get_origin(hints.get(name)) is not NotRequired}
    fits = {name: _fit(_bare(hint)) for name, hint in hints.items()}

    def fit(value: Any) -> tuple[str, str] | None:
        if not _is_dict(value):
            return "", _not(value, kind.__name__)
        for name in sorted(required - value.keys()):
            return "", f"{kind.__name__} needs the key {name!r}"
        for name, one in fits.items():
            if one is not None and name in value and (found := one(value[name])) is not None:
                return f"{_member(name)}{found[0]}", found[1]
        return None

    return fit


def _is_holder(value: object) -> TypeGuard[Iterable[Any]]:
    return isinstance(value, _HOLDERS)


def _is_dict(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, dict | MappingProxyType)


def _bare(hint: Any) -> Any:
    return _bare(get_args(hint)[0]) if get_origin(hint) in (NotRequired, Required) else hint


# --- words -----------------------------------------------------------------------------------------------------


def _not(value: object, wanted: str) -> str:
    return f"{_short(value)} is of type {type(value).__name__}, not {wanted}"


def _text(annotation: Any) -> str:
    if get_origin(annotation) is Union or isinstance(annotation, types.UnionType):
        return " | ".join(map(_text, get_args(annotation)))
    plain = isinstance(annotation, type) and get_origin(annotation) is None
    return annotation.__name__ if plain else str(annotation).replace("typing.", "")


def _member(key: Any) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{_short(key)}]"


def _short(item: object) -> str:
    try:
        text = repr(item)
    except Exception:  # a user's __repr__ must not hide the message
        text = f"<{type(item).__name__}>"
    text = text.partition("\n")[0]
    return text if len(text) <= 60 else text[:57] + "..."
