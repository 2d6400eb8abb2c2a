"""How often a step is tried again, and when. The attempt budget is persisted; this only computes delays."""

from __future__ import annotations

import random
from dataclasses import dataclass

from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect
from freshet.errors import DefinitionError

__all__ = ["NEVER", "Retries", "RetrySpec", "retry_delay", "retry_spec"]


@dataclass(frozen=True)
class RetrySpec:
    """`max` further attempts after the first; `delay` seconds before the first of them, times `backoff` for each
    next, at most `cap`; each delay is drawn from [1 - jitter, 1 + jitter] times itself."""

    max: int = 0
    delay: float = 1.0
    backoff: float = 2.0
    jitter: float = 0.25
    cap: float = 300.0


NEVER = RetrySpec()
"""No further attempt."""


class Retries:
    """`retries=Retries(3, delay="5s", backoff=2, jitter=0.25)`; `retries=3` is `Retries(3)`."""

    def __init__(
        self, max: int, *, delay: Duration = "1s", backoff: float = 2.0, jitter: float = 0.25, cap: Duration = "5m"
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
            max=max, delay=first, backoff=backoff, jitter=jitter, cap=longest if longest > first else first
        )


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
