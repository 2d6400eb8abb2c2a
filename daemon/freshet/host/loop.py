"""The host's loop: a selector and a heap of timers. One thread, no asyncio, no signal handlers."""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections.abc import Callable

__all__ = ["Loop", "Timer"]


class Timer:
    """A call that is due later; `cancel()` forgets it."""

    __slots__ = ("_forgotten", "call")

    def __init__(self, call: Callable[[], None], forgotten: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call
        self._forgotten = forgotten

    def cancel(self) -> None:
        """Do not call."""
        if self.call is not None:
            self.call = None
            self._forgotten()


class Loop:
    """Calls back when a descriptor is ready or a time has come. `clock` is in seconds and only goes forward."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._counter = itertools.count()
        self._canceled = 0
        self._running = False

    def watch(self, fd: int, call: Callable[[int], None], *, write: bool = False) -> None:
        """Call with the ready mask (EVENT_READ, EVENT_WRITE) when `fd` is readable (`write`: or writable)."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        known = self._selector.get_map().get(fd)
        if known is None:
            self._selector.register(fd, events, call)
        elif known.events != events or known.data != call:
            self._selector.modify(fd, events, call)

    def forget(self, fd: int) -> None:
        """Watch `fd` no longer; nothing happens if it was not watched. To be called before it is closed."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call after `seconds`."""
        timer = Timer(call, self._forget_timer)
        heapq.heappush(self._timers, (self.clock() + seconds, next(self._counter), timer))
        return timer

    def run(self) -> None:
        """Until `stop()`. An exception of a callback ends the loop: it is a bug."""
        self._running = True
        while self._running:
            for key, mask in self._selector.select(self._timeout()):
                if self._selector.get_map().get(key.fd) is key:  # not forgotten, or replaced, by one called before
                    key.data(mask)
            self._call_due()

    def stop(self) -> None:
        """End `run` after this turn."""
        self._running = False

    def close(self) -> None:
        """Give the selector's descriptor back."""
        self._selector.close()

    def _forget_timer(self) -> None:
        self._canceled += 1
        if self._canceled > 64 and self._canceled > len(self._timers) // 2:  # hour-long timeouts of steps long done
            self._timers = [entry for entry in self._timers if entry[2].call is not None]
            heapq.heapify(self._timers)
            self._canceled = 0

    def _timeout(self) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
            self._canceled -= 1
        return max(0.0, self._timers[0][0] - self.clock()) if self._timers else None

    def _call_due(self) -> None:
        now = self.clock()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.call is None:
                self._canceled -= 1
                continue
            call, timer.call = timer.call, None
            call()
