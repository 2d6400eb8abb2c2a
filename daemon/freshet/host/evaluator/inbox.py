"""What an evaluator asks the daemon about deliveries: the next of those that wait."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from freshet.definitions.delivery import Deliveries, Delivery
from freshet.definitions.sensor import Sensor

__all__ = ["Inbox", "check_intake", "delivery_of"]


@dataclass(slots=True)
class _Asked:
    answer: asyncio.Future[Deliveries]
    found: list[Delivery] = field(default_factory=list[Delivery])
    body: bytearray = field(default_factory=bytearray)


class Inbox:
    """Requests under way, on the loop's thread. `send`: to the daemon."""

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[list[Any]], None]) -> None:
        self._loop = loop
        self._send = send
        self._asked: dict[int, _Asked] = {}
        self._numbers = itertools.count(1)

    async def ask(self, tick: int, sensor: str, after: int, limit: int, *, again: bool) -> Deliveries:
        """The next of the sensor's deliveries behind row `after`; `again`: also those that have failed before. Raises
        `OSError` where the store could not be read."""
        number = next(self._numbers)
        asked = self._asked[number] = _Asked(self._loop.create_future())
        self._send(["inbox", number, tick, sensor, after, limit, again])
        try:
            return await asked.answer
        finally:
            del self._asked[number]

    def arrived(self, number: int, rows: list[list[Any]] | None, more: bool | None) -> None:
        """A part of an answer is here. `more`: None until the last; None for the rows: it failed."""
        asked = self._asked.get(number)
        if asked is None or asked.answer.done():
            return
        if rows is None:
            asked.answer.set_exception(OSError("the deliveries could not be read from the store"))
            return
        for *head, body, complete in rows:
            asked.body += base64.b64decode(body)
            if complete:
                asked.found.append(delivery_of(*head, body=bytes(asked.body)))
                asked.body.clear()
        if more is not None:
            asked.answer.set_result(Deliveries.of(asked.found, more=more))


def check_intake(sensor: Sensor) -> None:
    """Raise `RuntimeError` for a sensor that takes nothing in."""
    if sensor.spec.intake is None:
        raise RuntimeError(f"the sensor {sensor.name!r} has no hook: give it intake=Intake(path=...)")


def delivery_of(
    number: int,
    id: str,
    content_type: str | None,
    headers: dict[str, str],
    attempts: int,
    received_at: float,
    *,
    body: bytes,
) -> Delivery:
    """A delivery as a sensor sees it."""
    at = datetime.fromtimestamp(received_at, UTC)
    return Delivery(number, id, body, content_type, headers, attempts, at)
