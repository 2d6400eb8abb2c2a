"""Sensors that listen to events: woken when one is published, and told what was committed."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from freshet.definitions.graph import Definitions
from freshet.definitions.listen import Happened, Happenings, ListenType
from freshet.engine.instruments import Instruments
from freshet.engine.requests import window_key
from freshet.engine.ticks import TickLoop
from freshet.store.happened import HappenedRow, happened
from freshet.store.records import Event

__all__ = ["HAPPENED", "Listening"]

HAPPENED = "event"
"""The hint of a look that an event woke."""
_LIMIT = 1_000


class Listening:
    """Of one engine. Events that nobody listens to cost one look into a dict."""

    def __init__(self, instruments: Instruments, ticks: TickLoop) -> None:
        self._in = instruments
        self._ticks = ticks
        self._index: dict[str, dict[str | None, list[str]]] = {}

    def adopt(self, definitions: Definitions) -> None:
        """Take the sensors that listen."""
        self._index = {}
        for spec in definitions.sensors:
            for kind in spec.listens.types if spec.listens is not None else ():
                by_name = self._index.setdefault(kind, {})
                names = spec.listens.assets if spec.listens is not None else None
                for name in (None,) if names is None else names:
                    by_name.setdefault(name, []).append(spec.name)

    def published(self, events: tuple[Event, ...]) -> None:
        """Wake those who listen to one of a transaction's events."""
        woken: dict[str, None] = {}
        for event in events:
            by_name = self._index.get(event.type)
            if by_name is None:
                continue
            data: dict[str, Any] = event.data or {}
            name: str | None = data.get("target") if event.asset is None else event.asset
            woken |= dict.fromkeys((*by_name.get(None, ()), *by_name.get(name, ())))
        for sensor in woken:
            self._ticks.woken(sensor, (HAPPENED,))

    async def happened(
        self, after: int | None, types: tuple[str, ...], names: tuple[str, ...] | None, limit: int
    ) -> Happenings:
        """See `executors.base.Answers.happened`."""
        query = partial(happened, after=after, types=types, names=names, limit=max(1, min(limit, _LIMIT)))
        page = await self._in.store.read(query)
        return Happenings.of((self._made(row) for row in page.rows), seq=page.seq, last=page.last)

    def _made(self, row: HappenedRow) -> Happened:
        key = row.key
        if key is None and row.number is not None:
            key = window_key(self._in.in_force.definitions, row.set, row.number)
        at, kind = datetime.fromtimestamp(row.at, UTC), cast("ListenType", row.type)
        return Happened(row.seq, at, kind, row.asset, key, row.run, row.data, row.live, row.depth)
