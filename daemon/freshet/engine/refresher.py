"""The freshness ticker: one heap entry for the next deadline of all; each change of state is one committed event."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog

from freshet.engine.freshness import FreshnessBook
from freshet.engine.instruments import STORE_RETRY, Instruments
from freshet.errors import StoreUnavailable
from freshet.store.assets import commit_freshness
from freshet.store.records import Event, FreshnessChange

__all__ = ["Refresher"]


_log = structlog.get_logger("freshet.freshness")


class Refresher:
    """Commits what `FreshnessBook` finds due, and what a materialization restores."""

    def __init__(self, instruments: Instruments, book: FreshnessBook) -> None:
        self._in = instruments
        self._book = book
        self._changes: list[FreshnessChange] = []
        self._busy = False
        self.open = False

    def start(self) -> None:
        """Find what lapsed while the daemon was down, then wait for deadlines."""
        self.open = True
        self._due()

    def stop(self) -> None:
        """No more events."""
        self.open = False
        self._in.heap.cancel("freshness")

    def published(self, events: tuple[Event, ...]) -> None:
        """A materialization moves its asset's baseline. A move alone is not written: the store derives it."""
        changes = self._book.on_events(events)
        self._commit_later([change for change in changes if change.event is not None])
        if changes:
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
                changes = tuple(self._changes)
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
