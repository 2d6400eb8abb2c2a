"""The version of a function's code: an edit of what it does changes it, one of how it is written does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_VARARGS, CO_VARKEYWORDS
from opcode import EXTENDED_ARG, hasconst
from types import CodeType, FunctionType
from typing import Any, cast

__all__ = ["code_version"]

_SIZE = 8
_FLAGS = CO_VARARGS | CO_VARKEYWORDS | CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
"""The flags that say what a call gives; others tell of `from __future__` or that there is a docstring."""
_TAKES_CONSTANT = frozenset(hasconst)
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))


def code_version(function: Callable[..., Any]) -> str:
    """16 hex digits, the same in every process of one Python release.

    Taken are the compiled code with its constants and names, that of the functions within, default values, and of what
    a function around it left it: plain values and functions (so that a factory's assets differ, and a decorator's
    wrapper stands for what it wraps). Comments, formatting, the docstring, annotations and the place in the file are
    not taken; nor are other functions that it calls: give `version=` where those are to count. Another minor release
    of Python compiles to other code.
    """
    digest = blake2b(digest_size=_SIZE)
    for part in _parts(function, set()):
        digest.update(part)
        digest.update(b"\0")
    return digest.hexdigest()


def _parts(function: object, seen: set[int]) -> Iterator[bytes]:
    if not isinstance(function, FunctionType) or id(function) in seen:
        return
    seen.add(id(function))
    yield _code(function.__code__)
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield _value(value)
        yield from _parts(value, seen)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        yield name.encode()
        yield _value(value)
        yield from _parts(value, seen)


@lru_cache(maxsize=4096)
def _code(code: CodeType) -> bytes:
    digest = blake2b(digest_size=_SIZE)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _FLAGS)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    digest.update(repr((code.co_exceptiontable, counts, names)).encode(errors="surrogatepass"))
    extended = 0
    for operation, place in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        digest.update(bytes((operation,)))
        place |= extended
        extended = place << 8 if operation == EXTENDED_ARG else 0
        # A constant by its value: no instruction takes the docstring, whose coming and going moves the others.
        digest.update(_value(code.co_consts[place]) if operation in _TAKES_CONSTANT else bytes((place & 0xFF,)))
    return digest.digest()


def _value(value: object) -> bytes:
    """Nothing of what is no plain value; sets in an order of their own, which differs between processes."""
    if isinstance(value, CodeType):
        return _code(value)
    kind = type(value)
    if kind in (tuple, frozenset):
        parts = [_value(one) for one in cast("Iterable[object]", value)]
        parts = sorted(parts) if kind is frozenset else parts
        said = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    elif kind in _PLAIN:
        said = repr(value).encode(errors="surrogatepass")
    else:
        said = b""
    return f"{kind.__name__}:{len(said)}:".encode() + said
