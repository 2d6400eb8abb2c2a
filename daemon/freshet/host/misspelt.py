"""What Python says of a wrong name while a plugin loads, in the plugin's words: what was called, and what is near."""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from freshet.definitions.names import nearest_hint

__all__ = ["misspelt"]

_UNEXPECTED = re.compile(r"got an unexpected keyword argument '(\w+)'")
_BARE = re.compile(r"^(\w+)\(\) takes 0 positional arguments but 1 was given$")
_UNPACKED = re.compile(r"(?:\w+\.)*Unpack\[(?:\w+\.)*(\w+)\]")
_NOT_THERE = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")


def misspelt(error: BaseException, file: str) -> tuple[str, str] | None:
    """What is wrong, and the remedy; None where the error is no wrong name, or nothing more can be said of it."""
    try:
        if isinstance(error, TypeError) and (found := _UNEXPECTED.search(str(error))) is not None:
            return _keyword(error, file, found[1])
        if isinstance(error, TypeError) and (found := _BARE.match(str(error))) is not None:
            return _bare(error, file, found[1])
        if isinstance(error, AttributeError) and error.name is not None and error.obj is not None:
            hint = _near(error.name, dir(error.obj))
            return (f"{_called(error.obj)} has no {error.name!r}", hint) if hint else None
        if isinstance(error, NameError) and error.name is not None:
            return _name(error, file, error.name)
        if isinstance(error, ImportError) and (found := _NOT_THERE.search(str(error))) is not None:
            hint = _near(found[1], dir(__import__(found[2], fromlist=["*"])))
            return (f"{found[2]} has no {found[1]!r}", hint) if hint else None
    except Exception:  # objects of the plugin are asked here: what they raise is not what is to be told
        return None
    return None


def _keyword(error: TypeError, file: str, keyword: str) -> tuple[str, str] | None:
    """The call that gives the keyword by its name, else one that hands on a dict: the inner one first."""
    frames, calls = _frames(error, file), list(_calls(file))
    for name in (keyword, None):
        for frame, line in frames:
            for call in calls:
                if name in {one.arg for one in call.keywords} and call.lineno <= line <= (call.end_lineno or line):
                    called = _value(call.func, frame)
                    known = set[str]() if called is None else set(_keywords(called))
                    if known and keyword not in known:
                        said = f"{ast.unparse(call.func)}({_first(call)}): there is no {keyword}="
                        return said, nearest_hint(keyword, known)
    return None


def _bare(error: TypeError, file: str, name: str) -> tuple[str, str] | None:
    """A decorator that needs to be told something, above a function without it."""
    frames = _frames(error, file)
    called = _value(ast.Name(name), frames[0][0]) if frames else None
    if called is None:
        return None
    parameters = inspect.signature(called).parameters.values()
    needed = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
    if not needed:
        return None
    given = ", ".join(f"{one}=..." for one in needed)
    return f"{name} is told by name what it needs: {', '.join(f'{one}=' for one in needed)}", f"write @{name}({given})"


def _first(call: ast.Call) -> str:
    """The name that a definition is given, which stands first."""
    first = call.args[0] if call.args else None
    return repr(first.value) if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def _name(error: NameError, file: str, name: str) -> tuple[str, str] | None:
    frames = _frames(error, file)
    frame = frames[0][0] if frames else None
    hint = "" if frame is None else _near(name, [*frame.f_locals, *frame.f_globals, *frame.f_builtins])
    return (f"{type(error).__name__}: {error}", hint) if hint else None


def _frames(error: BaseException, file: str) -> list[tuple[FrameType, int]]:
    """Those of the plugin with their lines, the inner ones first."""
    found = [one for one in traceback.walk_tb(error.__traceback__) if one[0].f_code.co_filename == file]
    return found[::-1]


def _calls(file: str) -> Iterator[ast.Call]:
    """The calls in a file, the inner ones first."""
    found = [node for node in ast.walk(ast.parse("".join(linecache.getlines(file)))) if isinstance(node, ast.Call)]
    return reversed(found)


def _value(node: ast.expr, frame: FrameType) -> Any:
    """What a plain or dotted name stands for; None for what is none."""
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, frame), node.attr, None)
    return None


def _keywords(called: Any) -> Iterator[str]:
    """What may be given by name; of a class, also what it hands on to those above it."""
    classes: tuple[type[Any], ...] = called.__mro__ if isinstance(called, type) else ()
    inits: list[Any] = [vars(one)["__init__"] for one in classes if "__init__" in vars(one)]
    for function in inits or [called]:
        parameters = inspect.signature(function).parameters.values()
        yield from (one.name for one in parameters if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD))
        rest = next((one for one in parameters if one.kind is one.VAR_KEYWORD), None)
        if rest is None:
            return
        unpacked = _UNPACKED.fullmatch(str(rest.annotation))
        if unpacked is not None:
            yield from function.__globals__[unpacked[1]].__annotations__


def _called(thing: Any) -> str:
    name: object = getattr(thing, "__name__", None)
    return name if isinstance(name, str) else f"{type(thing).__name__} object"


def _near(name: str, known: list[str]) -> str:
    """The nearest name in a hint; an empty text where none is near: a list of all would be of no use."""
    hint = nearest_hint(name, {one for one in known if not one.startswith("_")})
    return hint if hint.startswith("did you mean") else ""
