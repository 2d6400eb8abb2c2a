"""Everything that waits for a moment waits in this one heap.

An entry has a name; scheduling a name again replaces its entry. An entry waits for a monotonic instant (intervals,
back-off) or for a wall instant (deadlines): a step of the wall clock moves the second kind only.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from freshet.engine.alarm import Alarm
from freshet.engine.clock import Clock, Timer

__all__ = ["DueHeap"]

_LONGEST_SLEEP = 60.0
"""Seconds between looks at the wall clock while something waits for a date: how late a step can be noticed where the
system does not tell."""
_STEP = 0.05
"""A smaller difference between the clocks is drift, for which callbacks that compare and wait again are enough."""
_DEAD_MAX = 64
"""Replaced and cancelled places that are let lie; beyond these, and beyond as many as there are entries, they go."""


@dataclass(slots=True)
class _Entry:
    when: float
    wall: float | None
    callback: Callable[[], None]
    order: int


class DueHeap:
    """Calls back what is due, never early. `paused` until `start()`; empty, it sleeps for ever."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Hashable]] = []
        self._entries: dict[Hashable, _Entry] = {}
        self._order = itertools.count()
        self._offset = self._keyed = clock.now() - clock.monotonic()
        self._alarm: Alarm | None = None
        self._armed: float | None = None
        self._running = False
        self._watch: Timer | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def after(self, name: Hashable, delay: float, callback: Callable[[], None]) -> None:
        """Call back `delay` seconds from now, however the wall clock jumps."""
        self._put(name, self._clock.monotonic() + delay, None, callback)

    def at(self, name: Hashable, wall: float, callback: Callable[[], None]) -> None:
        """Call back when the wall clock reads `wall` or more."""
        self._put(name, wall - self._offset, wall, callback)

    def cancel(self, name: Hashable) -> None:
        """Forget the entry, if there is one."""
        self._entries.pop(name, None)

    def due_at(self, name: Hashable) -> float | None:
        """The wall instant at which an entry is due, as far as is known now."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        return entry.wall if entry.wall is not None else entry.when + self._offset

    def start(self) -> None:
        """Begin to call back."""
        self._running = True
        self._alarm = self._clock.alarm(self._turn)
        self._watch = None if self._clock.steady else self._clock.watch_steps(self._turn)
        self._arm()

    def stop(self) -> None:
        """Call back nothing more."""
        self._running = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None

    def _put(self, name: Hashable, when: float, wall: float | None, callback: Callable[[], None]) -> None:
        entry = _Entry(when, wall, callback, next(self._order))
        self._entries[name] = entry
        if len(self._heap) > 2 * len(self._entries) + _DEAD_MAX:
            self._rebuild()
        else:
            heapq.heappush(self._heap, (when, entry.order, name))
        if self._running and (self._armed is None or when < self._armed):
            self._arm()

    def _arm(self) -> None:
        assert self._alarm is not None, "it has started"
        self._armed = None
        heap, entries = self._heap, self._entries
        while heap and ((entry := entries.get(heap[0][2])) is None or entry.order != heap[0][1]):
            heapq.heappop(heap)
        if heap:
            self._armed = heap[0][0]
            if not self._clock.steady:
                self._armed = min(self._armed, self._clock.monotonic() + _LONGEST_SLEEP)
            self._alarm.set(self._armed)
        else:
            self._alarm.clear()

    def _turn(self) -> None:
        self._armed = None
        self._follow_wall_clock()
        now, heap, entries = self._clock.monotonic(), self._heap, self._entries
        due: list[_Entry] = []
        while heap and heap[0][0] <= now:
            _, order, name = heapq.heappop(heap)
            entry = entries.get(name)
            if entry is not None and entry.order == order:
                del entries[name]
                due.append(entry)
        for entry in due:
            entry.callback()
        if self._running:
            self._arm()

    def _follow_wall_clock(self) -> None:
        self._offset = offset = self._clock.now() - self._clock.monotonic()
        if abs(offset - self._keyed) < _STEP:
            return
        self._keyed = offset
        for entry in self._entries.values():
            if entry.wall is not None:
                entry.when = entry.wall - offset
        self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [(entry.when, entry.order, name) for name, entry in self._entries.items()]
        heapq.heapify(self._heap)
