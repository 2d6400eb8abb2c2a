"""The threads in which `def` sensors look: few while they suffice, more while calls wait behind slow ones."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from freshet.host.evaluator.page import FIRST_THREAD, THREAD_WORDS, THREADS
from freshet.host.evaluator.steps import Owner, Words

__all__ = ["Call", "ThreadPool"]

_CHECK = 0.005


class Call:
    """A call to make in a thread. `done` is called on the event loop with the result or the exception."""

    __slots__ = ("began", "done", "function", "ident", "owner")

    def __init__(
        self, owner: Owner, function: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        self.owner = owner
        self.function = function
        self.done = done
        self.began: float | None = None
        """Monotonic time at which a thread took it, None while it waits."""
        self.ident: int = 0


class ThreadPool:
    """Runs calls in the order they come. One that never returns costs one thread, not the pool."""

    def __init__(self, loop: asyncio.AbstractEventLoop, words: Words, *, limit: int = THREADS) -> None:
        self._loop = loop
        self._words = words
        self._limit = limit
        self._queue: SimpleQueue[Call] = SimpleQueue()
        self._finished: deque[tuple[Call, Any, BaseException | None]] = deque()
        self._announced = False
        self._threads = 0
        self._done = 0
        self._done_before = 0
        self._check: asyncio.TimerHandle | None = None

    def submit(self, call: Call) -> None:
        """Run `call` as soon as a thread is free."""
        self._queue.put(call)
        if self._threads == 0:
            self._grow(1)
        if self._check is None:
            self._done_before = self._done
            self._check = self._loop.call_later(_CHECK, self._look_after)

    def _look_after(self) -> None:
        """Are calls waiting that the present threads will not reach within 50 ms? Then there are too few."""
        waiting = self._queue.qsize()
        self._check = None
        if waiting == 0:
            return
        if (self._done - self._done_before) * 10 < waiting:
            self._grow(min(max(self._threads, 1), waiting))
        if self._threads < self._limit:
            self._done_before = self._done
            self._check = self._loop.call_later(_CHECK, self._look_after)

    def _grow(self, count: int) -> None:
        for _ in range(min(count, self._limit - self._threads)):
            number = self._threads
            self._threads += 1
            threading.Thread(target=self._work, args=(number,), name=f"def-sensors-{number}", daemon=True).start()

    def _work(self, number: int) -> None:
        words, base = self._words, FIRST_THREAD + THREAD_WORDS * number
        ident = threading.get_ident()
        words[base + 1] = ident
        words[base + 2] = threading.get_native_id()
        while True:
            call = self._queue.get()
            call.ident = ident
            call.began = time.monotonic()
            words[base] = call.owner.mark
            try:
                result, error = call.function(), None
            except BaseException as raised:  # SystemExit too is the plugin's failure
                result, error = None, raised
            words[base] = 0
            self._done += 1
            self._finished.append((call, result, error))
            del call, result, error
            if not self._announced:
                self._announced = True
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._announced = False
        while self._finished:
            call, result, error = self._finished.popleft()
            call.done(result, error)
