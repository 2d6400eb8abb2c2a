"""Instants that conditions wait for: the next of each cron text is remembered, so none is missed or passes twice."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from pyroaring import BitMap

from freshet.definitions.condition import CronTickPassed
from freshet.definitions.instants import CronTimes
from freshet.engine.automation.memory import Memory
from freshet.engine.automation.program import Node, Program

__all__ = ["Clockwork", "next_instant"]

_ONE = BitMap([0])
_NEXT = ".next"


def next_instant(memory: Memory, node: Node) -> float | None:
    """The instant that a `CronTickPassed` waits for; None where none comes any more, or it has not been looked at."""
    return min(memory.stamps(node.key + _NEXT).values, default=None)


class Clockwork:
    """A heap of (instant, asset). What is in the memory of conditions is the truth: an entry that it does not have is
    passed over."""

    def __init__(self, programs: Callable[[str], Program | None], memory: Callable[[str], Memory]) -> None:
        self._program_of = programs
        self._memory_of = memory
        self._heap: list[tuple[float, str]] = []

    def begin(self, asset: str, now: float | None) -> None:
        """Wait for the instants that are remembered; where none is, for the first after `now`."""
        program = self._program_of(asset)
        for node in program.crons if program else ():
            stamps = self._memory_of(asset).stamps(node.key + _NEXT)
            if not stamps.values and now is not None:
                self._wait(asset, node, now)
            for when in stamps.values:
                heapq.heappush(self._heap, (when, asset))

    def passed(self, until: float) -> dict[str, frozenset[str]]:
        """The nodes, by asset, of which an instant has come up to `until`; each waits for its next one after that."""
        found: dict[str, set[str]] = {}
        while self._heap and self._heap[0][0] <= until:
            _, asset = heapq.heappop(self._heap)
            program = self._program_of(asset)
            for node in program.crons if program else ():
                stamps = self._memory_of(asset).stamps(node.key + _NEXT)
                if any(when <= until for when in stamps.values):
                    found.setdefault(asset, set()).add(node.key)
                    self._wait(asset, node, until)
        return {asset: frozenset(keys) for asset, keys in found.items()}

    def next(self) -> float | None:
        """The earliest instant that is waited for."""
        while self._heap:
            when, asset = self._heap[0]
            program = self._program_of(asset)
            if program and any(when in self._memory_of(asset).stamps(one.key + _NEXT).values for one in program.crons):
                return when
            heapq.heappop(self._heap)
        return None

    def clear(self) -> None:
        """Wait for nothing."""
        self._heap.clear()

    def _wait(self, asset: str, node: Node, after: float) -> None:
        assert isinstance(node.condition, CronTickPassed)
        times = CronTimes(node.condition.cron, node.condition.timezone or "UTC")
        stamps = self._memory_of(asset).stamps(node.key + _NEXT)
        when = times.after(after)
        if when is None:
            stamps.clear(_ONE)
        else:
            stamps.put(when, _ONE)
            heapq.heappush(self._heap, (when, asset))
