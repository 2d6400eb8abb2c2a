"""What comes back from the code host, handed to the loop it belongs to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from freshet.definitions.listen import Happenings
from freshet.executors.base import StepCall, StepEnd, TickEnd
from freshet.store.records import LedgerEntry, WaitingDelivery
from freshet.store.records.offences import Offence
from freshet.store.tickers import ledger_keys, ledger_page

if TYPE_CHECKING:
    from freshet.engine.engine import Engine

__all__ = ["EngineAnswers"]

_LEDGER_PAGE = 8_000


class EngineAnswers:
    """Implements `executors.base.Answers` for an engine and one host. `lost`: why that has ended on its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.lost: str | None = None

    def tick_ended(self, end: TickEnd) -> None:
        """To the tick loop, or to who waits for a dry run; not while other definitions come into force."""
        if self._engine.reloader.held_back(partial(self.tick_ended, end)):
            return
        if not self._engine.desk.dry_ended(end) and not self._engine.timetable.ended(end):
            self._engine.ticks.ended(end)

    def woken(self, sensor: str, hints: tuple[str, ...] | None) -> None:
        """To the tick loop."""
        self._engine.ticks.woken(sensor, hints)

    def step_received(self, run_id: int, position: int, attempt: int, pid: int) -> None:
        """The launch is confirmed; nothing waits for it."""

    def step_ended(self, end: StepEnd) -> None:
        """To the launcher."""
        self._engine.launcher.ended(end)

    def step_calls(self, call: StepCall) -> None:
        """To who admits sub-runs."""
        self._engine.launcher.sub_runs.called(call)

    def call_left(self, run_id: int, position: int, attempt: int, number: int) -> None:
        """To who admits sub-runs."""
        self._engine.launcher.sub_runs.call_left((run_id, position), attempt, number)

    @asynccontextmanager
    async def load_ledger(self, sensor: str) -> AsyncGenerator[AsyncIterator[tuple[LedgerEntry, ...]]]:
        """Pages in the order of the digests, each read for itself: a tick of this sensor is in flight, so that none of
        its commits can come between."""
        yield self._pages(self._engine.ticks.known(sensor).row.id)

    async def _pages(self, ticker_id: int) -> AsyncIterator[tuple[LedgerEntry, ...]]:
        after = b""
        while True:
            page = await self._engine.instruments.store.read(
                partial(ledger_page, ticker_id=ticker_id, after=after, limit=_LEDGER_PAGE)
            )
            if not page:
                return
            yield page
            after = page[-1].digest

    async def ledger_keys(self, sensor: str, digests: tuple[bytes, ...]) -> dict[bytes, str]:
        """The texts behind digests."""
        ticker_id = self._engine.ticks.known(sensor).row.id
        return await self._engine.instruments.store.read(partial(ledger_keys, ticker_id=ticker_id, digests=digests))

    def ledger_revision(self, sensor: str) -> int:
        """As of the last commit."""
        return self._engine.ticks.known(sensor).row.ledger_revision

    async def deliveries(
        self, sensor: str, *, tick: int, after: int, limit: int, again: bool
    ) -> tuple[tuple[WaitingDelivery, ...], bool]:
        """From the store."""
        ticker_id = self._engine.ticks.known(sensor).row.id
        return await self._engine.inbox.deliveries(sensor, ticker_id, tick, after, limit, again=again)

    async def happened(
        self, after: int | None, types: tuple[str, ...], names: tuple[str, ...] | None, limit: int
    ) -> Happenings:
        """From the store."""
        return await self._engine.listening.happened(after, types, names, limit)

    def sensor_offended(self, sensor: str, offence: Offence) -> None:
        """To who remembers it."""
        self._engine.offences.told(sensor, offence)

    def host_lost(self, reason: str) -> None:
        """To who owns the hosts."""
        self.lost = reason
        self._engine.hosting.ended(self, reason)
