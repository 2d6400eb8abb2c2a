"""A hand on the inbox: what waits where, and replays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio

from freshet.engine.control import HookView, ReplayReport
from freshet.engine.hand import SensorDesk
from freshet.engine.inbox import Inbox
from freshet.engine.instruments import Instruments
from freshet.errors import Conflict
from freshet.store.inbox import chosen, inbox_counts, keys_to_free, release
from freshet.store.records import InboxCount

__all__ = ["Chosen", "InboxDesk"]

_DRY_MAX = 1_000
_NAMED = 3
"""Hooks that are named as those that fill the inbox."""
_AT_ONCE = 500
"""Deliveries that one transaction lets wait again."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The deliveries meant: those of `ids`, or those received from `since` up to, not including, `until`."""

    ids: Sequence[int] | None = None
    since: float | None = None
    until: float | None = None


class InboxDesk:
    """Answers what people ask of the inbox."""

    def __init__(self, instruments: Instruments, desk: SensorDesk, inbox: Inbox) -> None:
        self._in = instruments
        self._desk = desk
        self._inbox = inbox

    async def views(self) -> tuple[HookView, ...]:
        """All hooks, by path."""
        counts = await self._in.store.read(inbox_counts)
        full = self._full(counts)
        found: list[HookView] = []
        for hook in self._inbox.hooks():
            count = counts.get(hook.ticker, InboxCount(hook.ticker, 0, None, 0))
            problem = self._inbox.problem(hook)
            found.append(HookView(hook.sensor, hook.intake, count.waiting, count.oldest, count.parked, problem, full))
            found[-1] = replace(found[-1], copies=self._inbox.copies.get(hook.ticker, 0))
        return tuple(found)

    def _full(self, counts: Mapping[int, InboxCount]) -> str | None:
        """That too much waits, and whose it is, the most first."""
        if (full := self._inbox.full) is None:
            return None
        waiting = {hook.sensor: counts[hook.ticker].waiting for hook in self._inbox.hooks() if hook.ticker in counts}
        whose = sorted((one for one in waiting.items() if one[1]), key=lambda one: -one[1])[:_NAMED]
        return f"{full}; most are of {', '.join(f'{sensor} ({count:,})' for sensor, count in whose)}" if whose else full

    async def replay(self, sensor: str, which: Chosen, *, dry_run: bool, again: bool) -> ReplayReport:
        """Let deliveries wait again, or say what that would ask for. Raises `UnknownName`, `Conflict`."""
        ticker = self._desk.find(sensor)
        if ticker.spec.intake is None:
            raise Conflict(f"the sensor {sensor!r} has no hook", hint="see freshet inbox")
        ids = await self._in.store.read(
            partial(chosen, ticker_id=ticker.row.id, ids=which.ids, since=which.since, until=which.until)
        )
        if dry_run:
            shown, freed = ids[:_DRY_MAX], frozenset[tuple[str, str | None, str]]()
            if again:
                freed = await self._in.store.read(partial(keys_to_free, ticker_id=ticker.row.id, ids=shown))
            report = await self._desk.tick(sensor, dry_run=True, deliveries=shown, freed=freed)
            return ReplayReport(sensor, len(ids), 0, report)
        returned = 0
        for start in range(0, len(ids), _AT_ONCE):
            piece = partial(release, ticker_id=ticker.row.id, ids=ids[start : start + _AT_ONCE], again=again)
            with anyio.CancelScope(shield=True):
                count = await self._in.store.write(piece)
                self._inbox.returned(count, ticker.row.id)
                returned += count
        return ReplayReport(sensor, len(ids), returned)
