"""Which item is next, and which are over. Pure: time and chance are arguments."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from freshet.definitions.retries import RetrySpec, retry_delay
from freshet.host.messages import ErrorData

__all__ = ["Failure", "ItemQueue"]


@dataclass(frozen=True)
class Failure:
    """An attempt that failed, or (`canceled`) was ended by hand. `retried`: `on=` of the retries lets it be."""

    error: ErrorData
    retried: bool = True
    canceled: bool = False


@dataclass
class ItemQueue:
    """Items by number, in order; those that are tried again come first once their time is there."""

    items: Iterable[int]
    retries: RetrySpec
    rng: random.Random
    failed: dict[int, Failure] = field(default_factory=dict[int, Failure])
    _attempts: dict[int, int] = field(default_factory=dict[int, int])
    _again: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    _under_way: set[int] = field(default_factory=set[int])

    def __post_init__(self) -> None:
        waiting = list(self.items)
        self._fresh = iter(waiting)
        self._open = set(waiting)

    @property
    def left(self) -> int:
        """Items that are not over."""
        return len(self._open)

    def attempt(self, item: int) -> int:
        """How many attempts at an item were begun."""
        return self._attempts.get(item, 0)

    def take(self, now: float) -> int | None:
        """The next item, counted as begun; None while there is none, or none whose time is there."""
        while self._again and self._again[0][0] <= now:
            _, item = heapq.heappop(self._again)
            if item not in self.failed:
                return self._begin(item)
        fresh = next((one for one in self._fresh if one not in self.failed), None)
        return None if fresh is None else self._begin(fresh)

    def next_due(self) -> float | None:
        """When the next item comes that is tried again; None if none waits."""
        return self._again[0][0] if self._again else None

    def succeeded(self, item: int) -> None:
        """It is over."""
        self._under_way.discard(item)
        self._open.discard(item)

    def fail(self, item: int, failure: Failure, now: float) -> float | None:
        """An attempt failed; returns when the next may begin, None where it was the last."""
        self._under_way.discard(item)
        error, failures = failure.error, self._attempts[item]
        final = failure.canceled or error.get("final", False) or not failure.retried
        if final or failures > self.retries.max:
            self._end(item, failure)
            return None
        after = error.get("after")
        due = now + (retry_delay(self.retries, failures, self.rng) if after is None else after)
        heapq.heappush(self._again, (due, item))
        return due

    def cancel(self, item: int, failure: Failure) -> bool:
        """An item that is not under way is not begun (again); False where it is under way, over, or none of these."""
        if item in self._under_way or item not in self._open:
            return False
        self._end(item, failure)
        return True

    def _begin(self, item: int) -> int:
        self._attempts[item] = self._attempts.get(item, 0) + 1
        self._under_way.add(item)
        return item

    def _end(self, item: int, failure: Failure) -> None:
        self.failed[item] = failure
        self._open.discard(item)
