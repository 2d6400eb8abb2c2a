"""Resources of sensors: opened once in an evaluator, by whichever look needs them first, closed at its end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from freshet.definitions.resource import Resource
from freshet.definitions.sensor import Sensor
from freshet.host.evaluator.failure import describe
from freshet.host.evaluator.steps import CURRENT, Owner
from freshet.host.inline.resources import InlineResources
from freshet.host.resources import needed

__all__ = ["SensorResources"]


class SensorResources(InlineResources):
    """Opened and closed in threads, where they may block; what is async in them runs on the loop. What an opening
    raises is the failure of the look that asked: the next one tries again."""

    def __init__(self, known: Mapping[str, Resource], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(known, loop)
        self._loop = loop

    def of(self, sensor: Sensor) -> tuple[str, ...]:
        """The names of those that a sensor's looks are given."""
        return needed(sensor, self._known)

    async def given(self, names: Iterable[str], owner: Owner | None = None) -> dict[str, Any]:
        """By name, opened if they are not. What an opening starts on the loop is the `owner`'s background work."""
        wanted = list(names)
        if not wanted or all(name in self._open for name in wanted):
            return {name: self._open[name] for name in wanted}
        context = contextvars.copy_context()
        context.run(CURRENT.set, owner)
        return await self._loop.run_in_executor(None, lambda: context.run(self.get, wanted))

    async def close(self, log: Callable[[str, str, str, dict[str, Any]], None]) -> None:
        """Close them, in the reverse order of opening."""
        if not self._open:
            return
        try:
            await self._loop.run_in_executor(None, self.__exit__, None, None, None)
        except BaseException as error:  # a plugin's own: there is nobody left to retry
            log("", "warning", "closing a resource failed", dict(describe(error)))

    def in_loop(self, awaitable: Awaitable[Any]) -> Any:
        """Of an opening or closing: awaited on the loop."""
        return asyncio.run_coroutine_threadsafe(_whole(awaitable), self._loop).result()


async def _whole(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
