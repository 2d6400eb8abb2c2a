"""How often a step is tried again, and when. The attempt budget is persisted; this only computes delays."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect, expect_list
from freshet.definitions.source import PLUGIN_PACKAGE
from freshet.errors import DefinitionError

__all__ = ["NEVER", "Retries", "RetrySpec", "exception_name", "is_retried", "retry_delay", "retry_spec"]


@dataclass(frozen=True)
class RetrySpec:
    """`max` further attempts after the first; `delay` seconds before the first of them, times `backoff` for each
    next, at most `cap`; each delay is drawn from [1 - jitter, 1 + jitter] times itself. `on`: names of exceptions, of
    which one must be the failure's or a base of it; empty, every failure is tried again."""

    max: int = 0
    delay: float = 1.0
    backoff: float = 2.0
    jitter: float = 0.25
    cap: float = 300.0
    on: tuple[str, ...] = ()


NEVER = RetrySpec()
"""No further attempt."""


class Retries:
    """`retries=Retries(3, delay="5s", backoff=2, jitter=0.25)`; `retries=3` is `Retries(3)`.

    `on=(ConnectionError, "httpx.TransportError")`: only failures by these exceptions, or by what derives from them, are
    tried again; a text is a class's name with its module, or of a built-in one without. What no function raises has a
    name, too: `TimeoutError` (its `timeout`), `MemoryError` (its `memory`), `WorkerDied` (the process ended).
    `RetryLater` is always tried again, `GiveUp` never.
    """

    def __init__(
        self,
        max: int,
        *,
        delay: Duration = "1s",
        backoff: float = 2.0,
        jitter: float = 0.25,
        cap: Duration = "5m",
        on: type[BaseException] | str | Iterable[type[BaseException] | str] = (),
    ) -> None:
        expect(max, (int,), "Retries(max=)")
        expect(backoff, (int, float), "Retries(backoff=)")
        expect(jitter, (int, float), "Retries(jitter=)")
        if max < 0 or backoff < 1 or not 0 <= jitter <= 1:
            raise DefinitionError(
                f"Retries(max={max}, backoff={backoff}, jitter={jitter}) is out of range",
                hint="max >= 0, backoff >= 1, jitter between 0 and 1",
            )
        first = parse_duration(delay, what="Retries(delay=)")
        longest = parse_duration(cap, what="Retries(cap=)")
        self.spec = RetrySpec(
            max=max,
            delay=first,
            backoff=backoff,
            jitter=jitter,
            cap=longest if longest > first else first,
            on=_names(on),
        )


_ON = "Retries(on=)"
_ON_HINT = 'for example on=(ConnectionError, TimeoutError), or on="httpx.TransportError"'


def _names(on: type[BaseException] | str | Iterable[type[BaseException] | str]) -> tuple[str, ...]:
    given = (on,) if isinstance(on, type | str) else expect_list(on, _ON, _ON_HINT)
    return tuple(dict.fromkeys(_name(one) for one in given))


def _name(one: object) -> str:
    if isinstance(one, str):
        name = one.removeprefix("builtins.")
        if not all(part.isidentifier() for part in name.split(".")):
            raise DefinitionError(f"{_ON}: {one!r} is no name of an exception", hint=_ON_HINT)
        return name
    if not isinstance(one, type) or not issubclass(one, BaseException):
        raise DefinitionError(f"{_ON} takes exceptions or their names, not {one!r:.100}", hint=_ON_HINT)
    return exception_name(one)


def exception_name(kind: type[BaseException]) -> str:
    """The name by which `on=` knows a class: a built-in one's without its module, a plugin's by the file's."""
    module = kind.__module__.removeprefix(f"{PLUGIN_PACKAGE}.")
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def is_retried(spec: RetrySpec, error: BaseException) -> bool:
    """Whether another attempt may follow a failure by this error, as far as `on` has a say. A group of exceptions is
    what it holds, if all of that is."""
    if not spec.on or not {exception_name(kind) for kind in type(error).__mro__}.isdisjoint(spec.on):
        return True
    group = cast("BaseExceptionGroup[BaseException]", error) if isinstance(error, BaseExceptionGroup) else None
    return group is not None and all(is_retried(spec, one) for one in group.exceptions)


def retry_spec(retries: int | Retries, what: str) -> RetrySpec:
    """The rule of a decorator's `retries=`. Raises `DefinitionError`."""
    expect(retries, (int, Retries), what, 'write retries=3, or Retries(3, delay="5s")')
    if retries == 0:
        return NEVER
    return Retries(retries).spec if isinstance(retries, int) else retries.spec


def retry_delay(spec: RetrySpec, failures: int, rng: random.Random) -> float:
    """Seconds to wait after the `failures`-th failure (counted from 1)."""
    base = min(spec.cap, spec.delay * spec.backoff ** min(failures - 1, 64))
    return base * rng.uniform(1 - spec.jitter, 1 + spec.jitter)
