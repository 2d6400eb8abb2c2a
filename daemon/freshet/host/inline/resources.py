"""Resources of inline steps: opened once, by whichever step needs them first, in the loop that all of them share."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from freshet.definitions.resource import Resource
from freshet.host.inline.flight import Flight
from freshet.host.resources import Resources

__all__ = ["FLIGHT", "InlineResources"]

FLIGHT: ContextVar[Flight] = ContextVar("freshet_inline_flight")
"""The step that this thread performs."""


class InlineResources(Resources):
    """Used from the threads of all steps at once. What the opening of one starts belongs to no step."""

    def __init__(self, known: Mapping[str, Resource], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(known)
        self._shared = loop
        self._opening = threading.RLock()

    def get(self, names: Iterable[str]) -> dict[str, Any]:
        """By name, opened if they are not."""
        wanted = list(names)
        if not wanted:
            return {}
        with self._opening:
            return super().get(wanted)

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """What a step's function returned, awaited in the loop as this step's."""
        return FLIGHT.get().run(awaitable)

    def in_loop(self, awaitable: Awaitable[Any]) -> Any:
        """Of an opening or closing: awaited in the loop, as nobody's."""
        return contextvars.Context().run(asyncio.run_coroutine_threadsafe, _whole(awaitable), self._shared).result()


async def _whole(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
