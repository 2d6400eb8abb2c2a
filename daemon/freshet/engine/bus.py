"""Committed events on their way to those who react. Publishing happens after COMMIT returned, never before."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

from freshet.errors import Conflict
from freshet.store.records import Event

__all__ = ["Bus", "Listener", "Subscription"]

_BEHIND_MAX = 10_000

Listener = Callable[[tuple[Event, ...]], None]


class Subscription:
    """A reader at its own pace: bounded, and told when it has lost its place."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Event, ...]] = deque()
        self._count = 0
        self._lost = False
        self._news = asyncio.Event()

    def push(self, events: tuple[Event, ...]) -> None:
        """From the bus."""
        self._waiting.append(events)
        self._count += len(events)
        if self._count > _BEHIND_MAX:
            self._waiting.clear()
            self._count, self._lost = 0, True
        self._news.set()

    async def next(self) -> tuple[Event, ...]:
        """The next transaction's events. Raises `Conflict` once after this reader fell 10,000 events behind."""
        while not self._waiting and not self._lost:
            self._news.clear()
            await self._news.wait()
        if self._lost:
            self._lost = False
            raise Conflict("the reader fell behind the events", hint="read on from the store with events?after=SEQ")
        events = self._waiting.popleft()
        self._count -= len(events)
        return events


class Bus:
    """Calls the engine's own listeners at once, and feeds subscriptions."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._subscriptions: set[Subscription] = set()

    def listen(self, listener: Listener) -> None:
        """`listener` gets each transaction's events, on the loop's thread; it must not block."""
        self._listeners.append(listener)

    def publish(self, events: tuple[Event, ...]) -> None:
        """Hand on one transaction's events."""
        if not events:
            return
        for listener in self._listeners:
            listener(events)
        for subscription in self._subscriptions:
            subscription.push(events)

    @contextmanager
    def subscribe(self) -> Generator[Subscription]:
        """All events published while the block is open."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
