"""When a failing ticker looks again, and when it is not looked at any more. Pure."""

from __future__ import annotations

import hashlib
import random

__all__ = ["first_delay", "next_delay"]

_CAP_INTERVALS = 10


def next_delay(interval: float, failures: int, rng: random.Random) -> float:
    """Seconds until the next look after the `failures`-th failure in a row (from 1).

    Exponential from one interval (at least a second), capped at ten intervals (at least ten seconds), and jittered
    by a quarter.
    """
    base = max(interval, 1.0)
    delay = min(base * 2.0 ** min(failures - 1, 16), base * _CAP_INTERVALS)
    return delay * rng.uniform(0.75, 1.25)


def first_delay(name: str, interval: float) -> float:
    """The first gap between two looks: a fixed share of the interval by name, so that sensors that start together
    do not look together for ever."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return interval * (0.5 + int.from_bytes(digest, "big") / 2**65)
