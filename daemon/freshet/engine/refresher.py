"""The freshness ticker: one heap entry for the next deadline of all; each change of state is one committed event.

What a materialization ends is committed with it: here is only what time makes worse."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog

from freshet.engine.freshness import FreshnessBook
from freshet.engine.instruments import STORE_RETRY, Instruments
from freshet.engine.partition_refresher import PartitionRefresher
from freshet.errors import StoreUnavailable
from freshet.store.freshness import commit_freshness
from freshet.store.partition_freshness import PIECE
from freshet.store.records import Event, FreshnessChange

__all__ = ["Refresher"]


_log = structlog.get_logger("freshet.freshness")


class Refresher:
    """Commits what `FreshnessBook` finds due, and has partitions looked at."""

    def __init__(self, instruments: Instruments, book: FreshnessBook) -> None:
        self._in = instruments
        self._book = book
        self._partitions = PartitionRefresher(instruments)
        self._changes: list[FreshnessChange] = []
        self._busy = False
        self.open = False

    def start(self) -> None:
        """Find what lapsed while the daemon was down, then wait for deadlines."""
        self.open = True
        self._partitions.start()
        self._due()

    def stop(self) -> None:
        """No more events."""
        self.open = False
        self._partitions.stop()
        self._in.heap.cancel("freshness")

    def look_again(self) -> None:
        """The rules of a zone have changed: deadlines may be other instants."""
        self._book.redefine(self._in.in_force.definitions)
        self._partitions.look_again()
        self._due()

    def published(self, events: tuple[Event, ...]) -> None:
        """A materialization moves its asset's baseline: the store has done so with it."""
        self._partitions.published(events)
        if self._book.on_events(events):
            self._arm()

    def _due(self) -> None:
        if self.open:
            self._commit_later(self._book.due(self._in.clock.now()))
            self._arm()

    def _arm(self) -> None:
        deadline = self._book.next_deadline()
        if deadline is None or not self.open:
            self._in.heap.cancel("freshness")
        else:
            self._in.heap.at("freshness", deadline, self._due)

    def _commit_later(self, changes: Sequence[FreshnessChange]) -> None:
        self._changes.extend(changes)
        if self._changes and not self._busy:
            self._busy = True
            self._in.work.spawn(self._commit())

    async def _commit(self) -> None:
        try:
            while self._changes:
                changes = tuple(self._changes[:PIECE])
                try:
                    events = await self._in.store.write(
                        partial(commit_freshness, changes=changes, at=self._in.clock.now())
                    )
                except StoreUnavailable as error:
                    _log.error("freshness waits for the store", error=str(error))
                    self._in.heap.after("freshness store", STORE_RETRY, partial(self._commit_later, ()))
                    return
                del self._changes[: len(changes)]
                self._in.bus.publish(events)
        finally:
            self._busy = False
