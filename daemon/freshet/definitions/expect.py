"""Plugins are not type-checked: what they hand to a definition is looked at here, and refused with place and remedy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any, TypeVar

from freshet.definitions.source import caller_source
from freshet.errors import DefinitionError

__all__ = ["expect", "expect_function", "expect_list", "expect_tags", "expect_takes_ctx"]

_T = TypeVar("_T")
_IN_WORDS = {str: "a text", int: "a whole number", float: "a number", dict: "a dict"}


def expect(value: _T, types: tuple[type, ...], what: str, hint: str = "") -> _T:
    """Return `value` if it is one of `types` (True and False are no numbers), or raise `DefinitionError` that names
    the place in the plugin. A class or function where its result is meant gets a hint of its own."""
    if isinstance(value, types) and not (isinstance(value, bool) and bool not in types):
        return value
    shown = [one for one in types if one is not NoneType and not (one is int and float in types)]
    *most, last = [_IN_WORDS.get(one, one.__name__) for one in shown]
    named = f"{', '.join(most)} or {last}" if most else last
    raise _refused(f"{what} takes {named}, not {_shown(value)}", _uncalled(value, types) or hint)


def expect_list(value: Iterable[_T], what: str, hint: str) -> tuple[_T, ...]:
    """The elements of what must be a list or its like; a text, which Python takes for a list of letters, is refused."""
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise _refused(f"{what} takes a list, not {_shown(value)}", hint)
    return tuple(value)


def expect_tags(tags: dict[str, str] | None, what: str) -> dict[str, str]:
    """A copy of the tags: texts by text."""
    hint = 'for example tags={"team": "sales"}'
    expect(tags, (dict, NoneType), what, hint)
    found: dict[Any, Any] = dict(tags or {})
    for key, value in found.items():
        expect(key, (str,), f"{what}: a key", hint)
        expect(value, (str,), f"{what}[{key!r}]", hint)
    return found


def expect_function(function: Callable[..., Any], decorator: str) -> None:
    """Refuse what a decorator stands on, or was given, and is no plain function."""
    given: object = function
    if not hasattr(given, "__code__") or not hasattr(given, "__name__"):
        hint = f"for a name, write {decorator}(name=...)" if isinstance(given, str) else "put it on a plain def"
        raise _refused(f"{decorator} takes a function, not {_shown(function)}", hint)


def expect_takes_ctx(function: Callable[..., Any], what: str, beside: Iterable[str] = ()) -> None:
    """Refuse a function that cannot be called with `ctx` alone, and what it is given `beside`, by name."""
    try:
        inspect.signature(function).bind(None, **dict.fromkeys(beside))
    except TypeError:
        said = f"{what} is called with ctx alone, and its function takes {inspect.signature(function)}"
        code = function.__code__
        raise DefinitionError(
            said, hint=f"write def {code.co_name}(ctx)", file=code.co_filename, line=code.co_firstlineno
        ) from None


def _uncalled(value: object, types: tuple[type, ...]) -> str:
    """The hint for `Last` instead of `Last()`, and for `AutomationCondition.eager` instead of `.eager()`."""
    if isinstance(value, type):
        return f"give one of it: {value.__name__}(...)" if issubclass(value, types) else ""
    name: str = getattr(value, "__name__", "")
    return f"call it: {name}()" if name and any(hasattr(one, name) for one in types) else ""


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception as broken:  # a plugin's own __repr__
        text = f"a {type(value).__name__} (its __repr__ raised {type(broken).__name__})"
    return text if len(text) <= 100 else f"{text[:100]}..."


def _refused(message: str, hint: str) -> DefinitionError:
    place = caller_source()
    file, line = (place.file, place.line) if place else (None, None)
    return DefinitionError(message, hint=hint, file=file, line=line)
