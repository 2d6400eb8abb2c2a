"""Times that conditions wait for: when to look at which assets again."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping

from freshet.engine.automation.memory import Memory

__all__ = ["Deadlines"]


class Deadlines:
    """Heaps of (time, asset): deadlines, held against the clock; and instants, held against the time at which
    transactions were committed. What is in the memory of conditions is the truth: an entry that it does not have is
    passed over."""

    def __init__(self, memory: Mapping[str, Memory]) -> None:
        self._memory = memory
        self._heaps: tuple[list[tuple[float, str]], list[tuple[float, str]]] = ([], [])

    def put(self, asset: str, when: float, instant: bool) -> None:
        """Something of an asset waits for `when`."""
        heapq.heappush(self._heaps[instant], (when, asset))

    def come(self, until: float, *, instant: bool) -> Iterator[str]:
        """The assets with a deadline, or an instant, up to `until`; it is waited for no longer."""
        heap = self._heaps[instant]
        while heap and heap[0][0] <= until:
            yield heapq.heappop(heap)[1]

    def next(self, *, instant: bool, after: float = -math.inf) -> float | None:
        """The earliest one later than `after` that something still waits for."""
        heap = self._heaps[instant]
        while heap:
            when, asset = heap[0]
            if when > after and asset in self._memory and self._memory[asset].waits_for(when, instant=instant):
                return when
            heapq.heappop(heap)
        return None

    def clear(self) -> None:
        """Wait for nothing."""
        for heap in self._heaps:
            heap.clear()
