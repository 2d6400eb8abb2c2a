"""The inbox: hooks by their path, deliveries kept in groups, handed to looks, and settled with their ticks.

The way in takes no lock of the loop: what arrives while one group is being written forms the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from freshet.definitions.graph import Definitions
from freshet.engine.control import Hook
from freshet.engine.fresh import Fresh
from freshet.engine.instruments import Instruments, persist
from freshet.engine.ticks import TickLoop
from freshet.errors import Conflict, StoreError
from freshet.executors.base import TickEnd
from freshet.secrets import MissingSecret, Secrets
from freshet.store.inbox import deliveries_of, keep_deliveries, settle, waiting_deliveries
from freshet.store.records import HandledDelivery, InboxCount, Kept, NewDelivery, WaitingDelivery

__all__ = ["ARRIVED", "Inbox", "InboxFull"]

ARRIVED = "inbox"
"""The hint of a look that a delivery woke."""
_GROUP = 500
_GROUP_BYTES = 4 << 20
"""How much one transaction keeps, so that it does not hold the writer for long."""
_HANDED_BYTES = 8 << 20
"""Bodies that a look gets at once at the most, unless one alone is larger."""

_log = structlog.get_logger("freshet.hooks")


class InboxFull(Conflict):
    """More deliveries wait than `[http] inbox_max` allows."""


@dataclass(slots=True)
class _Handed:
    """What a look has been given since its last commit."""

    tick: int
    ids: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class _Single:
    """A sensor whose looks get deliveries one by one. `retried`: this look has been given one that failed before."""

    retried: bool = False


class Inbox:
    """Of one engine. `limit`: how many deliveries may wait before more are refused."""

    def __init__(self, instruments: Instruments, ticks: TickLoop, secrets: Secrets, *, limit: int) -> None:
        self._in = instruments
        self._ticks = ticks
        self._secrets = secrets
        self._limit = limit
        self._hooks: dict[str, Hook] = {}
        self._pending: list[tuple[NewDelivery, asyncio.Future[Kept]]] = []
        self._writing = False
        self._without: set[str] = set()
        self._dry: dict[int, tuple[int, ...] | None] = {}
        self._handed: dict[str, _Handed] = {}
        self._single: dict[str, _Single] = {}
        self._fresh: dict[int, Fresh] = {}
        ticks.settled, ticks.look_failed = self.settled, self.look_failed
        self.copies: dict[int, int] = {}
        """By ticker, how many came again under another id since the start."""
        self.waiting = 0
        """How many are on their way into the store, or wait there."""

    # --- the hooks ------------------------------------------------------------------------------------------

    def adopt(self, definitions: Definitions, counts: Mapping[int, InboxCount]) -> None:
        """Once, at start: take the hooks of these definitions, of sensors that the loop holds, and say which of them
        cannot work. `counts`: what waits in the store; what a sensor that is gone left there takes nobody's place."""
        assert not self._hooks, "at start alone: deliveries on their way are in no count of the store"
        self._hooks = {
            spec.intake.path: Hook(spec.name, self._ticks.sensors[spec.name].row.id, spec.intake)
            for spec in definitions.sensors
            if spec.intake is not None
        }
        known = {hook.ticker for hook in self._hooks.values()}
        self._fresh = {ticker: Fresh() for ticker in known}
        self.waiting = sum(one.waiting for one in counts.values() if one.ticker in known)
        for hook in self._hooks.values():
            self.secrets(hook)

    def redefine(self, definitions: Definitions, counts: Mapping[int, InboxCount]) -> None:
        """Take the hooks of other definitions, of sensors that the loop holds. `counts`: what waits in the store, of
        hooks that come or go; deliveries on their way are kept all the same."""
        before, waiting, fresh = {hook.ticker for hook in self._hooks.values()}, self.waiting, self._fresh
        self._hooks = {}
        self.adopt(definitions, {})
        self._fresh = {ticker: fresh.get(ticker) or one for ticker, one in self._fresh.items()}
        moved = [one for one in counts.values() if (one.ticker in before) != (one.ticker in self._fresh)]
        came = sum(one.waiting if one.ticker in self._fresh else -one.waiting for one in moved)
        self.waiting = max(0, waiting + came)

    def hook(self, path: str) -> Hook | None:
        """The hook at a path."""
        return self._hooks.get(path)

    def hooks(self) -> tuple[Hook, ...]:
        """All, by path."""
        return tuple(hook for _, hook in sorted(self._hooks.items()))

    def secrets(self, hook: Hook) -> tuple[bytes, ...]:
        """Those of its secrets that are there now; that one is missing, or is there again, is said once."""
        found, missing = self._secrets.read_all(hook.intake.secret)
        gone = {f"{hook.sensor} {error.message}": error for error in missing}
        for name in [one for one in self._without if one.startswith(f"{hook.sensor} ") and one not in gone]:
            self._without.discard(name)
            _log.info("a secret is there again", sensor=hook.sensor, hook=hook.intake.path)
        for name, error in gone.items():
            if name not in self._without:
                self._without.add(name)
                said = "deliveries are refused" if not found else "the other secrets of the hook still work"
                _log.warning(f"a secret is missing: {said}", sensor=hook.sensor, hook=hook.intake.path, why=str(error))
        return found

    def problem(self, hook: Hook) -> str | None:
        """Why a hook takes nothing, or not everything, now."""
        missing: Sequence[MissingSecret] = self._secrets.read_all(hook.intake.secret)[1]
        return str(missing[0]) if missing else None

    @property
    def full(self) -> str | None:
        """That no more is taken, while this is so."""
        if self.waiting < self._limit:
            return None
        return f"the inbox is full: {self.waiting:,} deliveries wait, as many as [http] inbox_max allows"

    # --- the way in -----------------------------------------------------------------------------------------

    async def keep(self, new: NewDelivery) -> Kept:
        """Keep a delivery; returns when it, or the one that it repeats, is durable.

        Raises `InboxFull`, and `StoreError` where the store cannot be written: nothing is acknowledged then.
        """
        if (full := self.full) is not None:
            raise InboxFull(full, hint="see freshet inbox")
        answer: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        self._pending.append((new, answer))
        self.waiting += 1
        if not self._writing:
            self._writing = True
            self._in.work.spawn(self._write())
        return await answer

    async def _write(self) -> None:
        try:
            while self._pending:
                await self._write_group(self._next_group())
        finally:
            self._writing = False

    def _next_group(self) -> list[tuple[NewDelivery, asyncio.Future[Kept]]]:
        count, room = 0, _GROUP_BYTES
        for new, _ in self._pending[:_GROUP]:
            room -= len(new.body)
            if room < 0 and count:
                break
            count += 1
        group, self._pending = self._pending[:count], self._pending[count:]
        return group

    async def _write_group(self, group: list[tuple[NewDelivery, asyncio.Future[Kept]]]) -> None:
        try:
            kept = await self._in.store.write(partial(keep_deliveries, deliveries=[new for new, _ in group]))
        except StoreError as error:
            self.waiting -= len(group)
            _log.error("deliveries could not be kept", count=len(group), error=str(error))
            for new, answer in group:
                self._lose(new.ticker)  # some may be there all the same
                if not answer.done():
                    answer.set_exception(error)
            return
        arrived: set[int] = set()
        for (new, _), one in zip(group, kept, strict=True):
            if one.how == "new":
                arrived.add(new.ticker)
                if (fresh := self._fresh.get(new.ticker)) is not None:
                    fresh.came(one.id, new)
            else:
                self.waiting -= 1
                if one.how == "copy":
                    self._note_copy(new, one.id)
        self._wake(arrived)  # first: the look is on its way while the answers are written
        for (_, answer), one in zip(group, kept, strict=True):
            if not answer.done():
                answer.set_result(one)

    def _note_copy(self, new: NewDelivery, before: int) -> None:
        """Say it once of each hook, and count."""
        seen = self.copies[new.ticker] = self.copies.get(new.ticker, 0) + 1
        hook = next((one for one in self._hooks.values() if one.ticker == new.ticker), None)
        if seen == 1 and hook is not None:
            said = "a delivery with the body of an earlier one is taken for its replay: what is signed says no more"
            _log.info(said, sensor=hook.sensor, hook=hook.intake.path, delivery=new.delivery, earlier=before)

    def _wake(self, tickers: set[int]) -> None:
        for hook in self._hooks.values():
            if hook.ticker in tickers:
                self._ticks.woken(hook.sensor, (ARRIVED,))

    # --- the way on -----------------------------------------------------------------------------------------

    async def deliveries(
        self, sensor: str, ticker: int, tick: int, after: int, limit: int, *, again: bool
    ) -> tuple[tuple[WaitingDelivery, ...], bool]:
        """See `executors.base.Answers.deliveries`. A dry run changes nothing of what looks get; that of a replay sees
        the deliveries that it is about."""
        limit = max(1, min(limit, 1000))
        ids = self._dry.get(tick)
        if ids is None and tick in self._dry:
            return await self._waiting(ticker, after, limit, again=again)
        if ids is not None:
            query = partial(deliveries_of, ticker_id=ticker, ids=ids, after=after, limit=limit, size=_HANDED_BYTES)
            return await self._in.store.read(query)
        handed = self._handed.get(sensor)
        if handed is not None and handed.tick != tick and handed.ids:
            self._lose(ticker)  # what that look was given waits again, if it did not commit
        if sensor in self._single:
            self._lose(ticker)
            found, more = await self._next_one(sensor, ticker, after, again=again)
        else:
            found, more = await self._next(ticker, after, limit, again=again)
        handed = self._handed.get(sensor)
        if handed is None or handed.tick != tick:
            handed = self._handed[sensor] = _Handed(tick)
        handed.ids += [one.id for one in found]
        return found, more

    async def _next(
        self, ticker: int, after: int, limit: int, *, again: bool
    ) -> tuple[tuple[WaitingDelivery, ...], bool]:
        fresh = self._fresh.get(ticker)
        if fresh is None:
            return await self._waiting(ticker, after, limit, again=again)
        if not again and (taken := fresh.take(limit)) is not None:
            return taken
        turn = fresh.asking()
        found, more = await self._waiting(ticker, after, limit, again=again)
        fresh.read(turn, found, more=more)
        return found, more

    def _lose(self, ticker: int) -> None:
        if (fresh := self._fresh.get(ticker)) is not None:
            fresh.lose()

    def _lose_of(self, sensor: str) -> None:
        if (found := self._ticks.sensors.get(sensor)) is not None:
            self._lose(found.row.id)

    async def _waiting(
        self, ticker: int, after: int, limit: int, *, again: bool
    ) -> tuple[tuple[WaitingDelivery, ...], bool]:
        now = self._in.clock.now()
        query = partial(waiting_deliveries, ticker_id=ticker, after=after, limit=limit, size=_HANDED_BYTES)
        return await self._in.store.read(partial(query, again=again, now=now))

    async def _next_one(
        self, sensor: str, ticker: int, after: int, *, again: bool
    ) -> tuple[tuple[WaitingDelivery, ...], bool]:
        """The next by itself: first all that never failed, then one that did; and always more, so that each commits
        before the next is given."""
        single = self._single[sensor]
        if after == 0:
            single.retried = False
        if single.retried:
            return (), False
        found, _ = await self._waiting(ticker, after, 1, again=False)
        if not found and again:
            single.retried = True
            found, _ = await self._waiting(ticker, 0, 1, again=True)
            if not found:
                del self._single[sensor]
        return found, bool(found)

    def look_failed(self, sensor: str, end: TickEnd) -> bool:
        """A look ended badly, as a whole. Where that may be a delivery's doing (it ends the process, or takes for
        ever), the next looks get them one by one; and where it had been given one alone, that one has failed. Where it
        is known that the look had none in hand, it is the doing of none. Whether it may be a delivery's doing."""
        handed = self._handed.pop(sensor, None)
        self._lose_of(sensor)
        if handed is None or handed.tick != end.tick_id or not handed.ids:
            return False
        if end.in_hand is not None and set(end.in_hand).isdisjoint(handed.ids):
            return False
        self._single.setdefault(sensor, _Single())
        if len(handed.ids) == 1:
            said = end.error.message if end.error is not None else end.status
            self._in.work.spawn(self._blame(sensor, end.tick_id, handed.ids[0], f"the look failed: {said}"))
        return True

    async def _blame(self, sensor: str, tick: int, number: int, reason: str) -> None:
        if (held := self._ticks.sensors.get(sensor)) is None:
            return
        ticker = held.row.id
        failed = HandledDelivery(number, "failed", reason)
        now = self._in.clock.now()
        transaction = partial(settle, ticker_id=ticker, tick_id=tick, handled=[failed], now=now)
        self.settled(sensor, *await persist(self._in, transaction, what="a delivery that failed"))

    def settled(self, sensor: str, count: int, parked: Sequence[int]) -> None:
        """A tick's commit took `count` out of the waiting; those `parked` failed too often."""
        handed = self._handed.pop(sensor, None)
        if handed is not None and count < len(handed.ids):
            self._lose_of(sensor)  # the others wait on
        self.waiting -= count
        if parked:
            _log.warning("deliveries parked", sensor=sensor, deliveries=list(parked))

    def show(self, tick: int, ids: tuple[int, ...] | None) -> None:
        """A dry run begins, which sees these deliveries alone; None: those that wait."""
        self._dry[tick] = ids

    def shown(self, tick: int) -> None:
        """A dry run is over."""
        self._dry.pop(tick, None)

    def returned(self, count: int, ticker: int) -> None:
        """Some wait again that did not."""
        self.waiting += count
        self._lose(ticker)
        self._wake({ticker})
