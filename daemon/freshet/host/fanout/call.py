"""What `ctx.map` was asked for."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from freshet.definitions.cache import CacheKey, CacheSpec, cache_spec
from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect
from freshet.definitions.retries import Retries, RetrySpec, retry_spec
from freshet.errors import DefinitionError

__all__ = ["MapCall", "checked"]

_LIMIT = 1000
"""Processes at once, at most."""


@dataclass(frozen=True)
class MapCall:
    """One call. `limit`: processes at once; `timeout`: seconds for one attempt at an item; `wants_ctx`: the function
    takes `ctx` before the item; `raising`: what failed raises when all is over, else stands in its place; `cache`: when
    what was made of an item is taken again."""

    function: Callable[..., Any]
    items: tuple[Any, ...]
    name: str
    retries: RetrySpec
    limit: int
    timeout: float | None
    wants_ctx: bool
    raising: bool
    cache: CacheSpec | None = None


def checked(
    function: Callable[..., Any],
    items: Any,
    *,
    retries: int | Retries,
    limit: int | None,
    timeout: Duration | None,
    raising: bool,
    cache: Duration | CacheKey | None = None,
) -> MapCall:
    """The call as data. Raises `DefinitionError` for what cannot be."""
    if not callable(function):
        raise DefinitionError(f"ctx.map({function!r:.60}, ...): not a function", hint="ctx.map(function, items)")
    if isinstance(items, str | bytes) or not hasattr(items, "__iter__"):
        raise DefinitionError(f"ctx.map(..., {items!r:.60}): not a list of items", hint="ctx.map(function, [1, 2, 3])")
    expect(limit, (int, type(None)), "ctx.map(limit=)")
    if limit is not None and not 1 <= limit <= _LIMIT:
        raise DefinitionError(f"ctx.map(limit={limit}) is out of range", hint=f"processes at once: 1 to {_LIMIT}")
    return MapCall(
        function=function,
        items=tuple(items),
        name=str(getattr(function, "__qualname__", None) or getattr(function, "__name__", type(function).__name__)),
        retries=retry_spec(retries, "ctx.map(retries=)"),
        limit=limit or len(os.sched_getaffinity(0)),
        timeout=None if timeout is None else parse_duration(timeout, what="ctx.map(timeout=)"),
        wants_ctx=_wants_ctx(function),
        raising=raising,
        cache=_rule(cache),
    )


def _rule(cache: Duration | CacheKey | None) -> CacheSpec | None:
    rule = cache_spec(cache, "ctx.map(cache=)")
    if rule is not None and not rule.inputs:
        raise DefinitionError(
            "ctx.map(cache=CacheKey(inputs=False)): the item is what counts", hint="leave inputs= out"
        )
    return rule


def _wants_ctx(function: Callable[..., Any]) -> bool:
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a built-in one without a signature
        return False
    return len(names) > 1 and names[0] == "ctx"
