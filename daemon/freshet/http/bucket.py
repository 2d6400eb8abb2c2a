"""Token buckets: how many of something may come in a second, each name by itself. No I/O, no clock."""

from __future__ import annotations

__all__ = ["BURST_SECONDS", "HOOK_RATE", "Buckets"]

BURST_SECONDS = 10.0
"""After a rest a bucket holds what comes in this long."""

HOOK_RATE = 5000.0
"""Deliveries a second that a hook takes, unless the settings say otherwise."""


class Buckets:
    """`rate`: tokens that a bucket gains a second. Each name's is full at first."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._size = max(1.0, rate * BURST_SECONDS)
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, name: str, now: float) -> float:
        """Take a token at `now`, in seconds of a monotonic clock: 0.0, or in how many seconds there will be one."""
        tokens, since = self._left.get(name, (self._size, now))
        tokens = min(self._size, tokens + max(0.0, now - since) * self._rate)
        if tokens < 1.0:
            self._left[name] = tokens, now
            return (1.0 - tokens) / self._rate
        self._left[name] = tokens - 1.0, now
        return 0.0
