"""What every loop of the engine works with: time, memory, news, and the tasks under way. Nothing that decides."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog

from freshet.definitions.graph import Definitions
from freshet.engine.bus import Bus
from freshet.engine.clock import Clock
from freshet.engine.heap import DueHeap
from freshet.engine.partitions.graph import PartitionGraph
from freshet.engine.work import Work
from freshet.errors import StoreUnavailable
from freshet.executors.base import CodeHost
from freshet.store.records import Event, SetState
from freshet.store.store import Store

__all__ = ["STORE_RETRY", "InForce", "Instruments", "pause", "persist", "recall"]

T = TypeVar("T")

STORE_RETRY = 1.0
"""Seconds between attempts while the store is unavailable."""

_log = structlog.get_logger("freshet.engine")


@dataclass
class InForce:
    """The definitions that hold now, how partitions follow along them, and the host that serves them; None while there
    is no host. `partitions.sets` has taken in every event by the time that any other listener hears of it. `leaving`:
    hosts of earlier definitions, with what is still in flight there."""

    definitions: Definitions
    partitions: PartitionGraph
    host: CodeHost | None = None
    leaving: tuple[CodeHost, ...] = ()
    _news: list[Event] | None = None

    @property
    def hosts(self) -> tuple[CodeHost, ...]:
        """All that something may be in flight on: what is said of one tick or step is said to all."""
        return self.leaving if self.host is None else (self.host, *self.leaving)

    def published(self, events: tuple[Event, ...]) -> None:
        """A transaction has committed: the first listener on the bus."""
        for event in events:
            self.partitions.sets.apply(event)
        if self._news is not None:
            self._news += events

    def note_news(self) -> None:
        """Other definitions are about to be committed: what is published until `change` counts for them too."""
        self._news = []

    def change(self, definitions: Definitions, sets: Mapping[str, SetState]) -> tuple[Event, ...]:
        """Other definitions hold from now on. `sets`: those that are new or mean something else, as they were
        committed. Returns what was published since `note_news`."""
        known = self.partitions.sets.redefined(definitions, sets)
        news, self._news = tuple(self._news or ()), None
        for event in news:
            known.apply(event)
        self.definitions, self.partitions = definitions, PartitionGraph(definitions, known)
        return news


@dataclass(frozen=True)
class Instruments:
    """Shared by the loops of one engine."""

    clock: Clock
    heap: DueHeap
    store: Store
    bus: Bus
    work: Work
    in_force: InForce
    rng: random.Random


async def pause(instruments: Instruments, seconds: float) -> None:
    """Sleep on the engine's heap, so that virtual time passes it too."""
    waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    name = ("pause", id(waited))

    def wake() -> None:
        if not waited.done():
            waited.set_result(None)

    instruments.heap.after(name, seconds, wake)
    try:
        await waited
    finally:
        instruments.heap.cancel(name)


async def persist(instruments: Instruments, transaction: Callable[[sqlite3.Connection], T], *, what: str) -> T:
    """Write what must not be lost: try again, for as long as it takes, while the store is unavailable. Nothing is
    written twice: what may have committed is asked about first."""
    return await _insist(instruments, lambda: instruments.store.write(transaction, patient=True), what)


async def recall(instruments: Instruments, query: Callable[[sqlite3.Connection], T], *, what: str) -> T:
    """Read what is needed to go on: try again, for as long as it takes, while the store is unavailable."""
    return await _insist(instruments, lambda: instruments.store.read(query), what)


async def _insist(instruments: Instruments, attempt: Callable[[], Awaitable[T]], what: str) -> T:
    while True:
        try:
            return await attempt()
        except StoreUnavailable as error:
            _log.error("the store is unavailable", waiting=what, error=str(error))
            await pause(instruments, STORE_RETRY)
