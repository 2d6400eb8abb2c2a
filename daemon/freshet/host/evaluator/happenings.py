"""What an evaluator asks the daemon about events: those that were committed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from freshet.definitions.listen import Happened, Happenings, Listen

__all__ = ["EventDesk"]


@dataclass(slots=True)
class _Asked:
    answer: asyncio.Future[Happenings]
    found: list[Happened] = field(default_factory=list[Happened])


class EventDesk:
    """Requests under way, on the loop's thread. `send`: to the daemon."""

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[list[Any]], None]) -> None:
        self._loop = loop
        self._send = send
        self._asked: dict[int, _Asked] = {}
        self._numbers = itertools.count(1)

    async def ask(self, sensor: str, what: Listen, after: int | None, limit: int) -> Happenings:
        """The next events after `after`. Raises `OSError` where the store could not be read."""
        number = next(self._numbers)
        asked = self._asked[number] = _Asked(self._loop.create_future())
        self._send(["events", number, sensor, after, what.types, what.assets, limit])
        try:
            return await asked.answer
        finally:
            del self._asked[number]

    def arrived(self, number: int, rows: list[list[Any]] | None, seq: int | None, last: int | None) -> None:
        """A part of an answer is here. `seq`, `last`: None until the last part; None for the rows: it failed."""
        asked = self._asked.get(number)
        if asked is None or asked.answer.done():
            return
        if rows is None:
            asked.answer.set_exception(OSError("the events could not be read from the store"))
            return
        for event, at, *rest in rows:
            asked.found.append(Happened(event, datetime.fromtimestamp(at, UTC), *rest))
        if seq is not None and last is not None:
            asked.answer.set_result(Happenings.of(asked.found, seq=seq, last=last))
