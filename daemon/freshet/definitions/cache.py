"""When what was made is taken again instead of being made again: `cache=` of an asset."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect
from freshet.errors import DefinitionError

__all__ = ["CacheKey", "CacheSpec", "cache_spec"]


@dataclass(frozen=True)
class CacheSpec:
    """What must be as it was: the upstreams (`inputs`) and the code; `ttl`: for how many seconds it holds, None for
    ever."""

    inputs: bool = True
    code: bool = True
    ttl: float | None = None


class CacheKey:
    """`cache=CacheKey(inputs=True, code=True, ttl="1d")`; `cache="1d"` is `CacheKey(ttl="1d")`.

    An asset that was made of the same inputs, by the same code, for the same partition (with the same metadata) and
    parameters, no longer than `ttl` ago, is not made again: what was made then is recorded again, by reference.
    `inputs`: the values that the function takes, by their digest; of an upstream for order alone, and of one that keeps
    no value, the version of its data, else each materialization counts. `code`: as in `@asset(version=)`. False: that
    one does not count. `ttl`: counted from when the work began; None: for ever.
    """

    def __init__(self, *, inputs: bool = True, code: bool = True, ttl: Duration | None = None) -> None:
        expect(inputs, (bool,), "CacheKey(inputs=)", "write inputs=False where they do not count")
        expect(code, (bool,), "CacheKey(code=)", "write code=False where it does not count")
        seconds = None if ttl is None else parse_duration(ttl, what="CacheKey(ttl=)")
        if seconds == 0:
            raise DefinitionError("CacheKey(ttl=) is no time at all", hint='for example ttl="1d"')
        self.spec = CacheSpec(inputs, code, seconds)


def cache_spec(cache: Duration | CacheKey | None, what: str) -> CacheSpec | None:
    """The rule of a decorator's `cache=`. Raises `DefinitionError`."""
    if cache is None:
        return None
    expect(cache, (str, timedelta, CacheKey), what, 'write cache="1d", or cache=CacheKey(ttl="1d")')
    return cache.spec if isinstance(cache, CacheKey) else CacheKey(ttl=cache).spec
