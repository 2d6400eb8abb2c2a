"""The `ctx.map` calls of one step, and what the host says of their items."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from freshet.definitions.cache import CacheKey
from freshet.definitions.durations import Duration
from freshet.definitions.retries import Retries
from freshet.host.fanout.call import MapCall, checked
from freshet.host.fanout.fan import Fan, Place
from freshet.host.line import Line
from freshet.host.messages import Run

__all__ = ["Fans"]


class _Context(Protocol):
    def progress(self, done: float, total: float | None = None) -> None: ...


class Fans:
    """Of one step. `line`: where the host says which items are canceled."""

    def __init__(self, order: Run, folder: str, line: Line | None) -> None:
        self._order = order
        self._folder = Path(folder)
        self._line = line
        self._calls = 0

    def map(
        self,
        context: _Context,
        function: Callable[..., Any],
        items: Iterable[Any],
        *,
        retries: int | Retries = 0,
        limit: int | None = None,
        timeout: Duration | None = None,
        raising: bool = True,
        cache: Duration | CacheKey | None = None,
    ) -> Any:
        """See `contexts.JobContext.map`."""
        call = checked(function, items, retries=retries, limit=limit, timeout=timeout, raising=raising, cache=cache)
        number, self._calls = self._calls, self._calls + 1
        work = self._run(context, call, number)
        return work if _in_loop() else asyncio.run(work)

    async def _run(self, context: _Context, call: MapCall, number: int) -> list[Any]:
        order, line = self._order, self._line
        close = (line.fd,) if line is not None and line.fd >= 0 and line.mine else ()
        by, _, run = order["origin"].partition(":")
        place = Place(
            runs=self._folder.parent,
            run_id=order["run"],
            position=order["position"],
            step=order["step"],
            attempt=order["attempt"],
            retries=int(run) if by == "retry" and run.isdecimal() else None,
            call=number,
            close=close,
        )
        fan = Fan(call, place, context, context.progress)
        if line is None:
            return await fan.run()
        with line.hears("cancel_item", number, lambda said: fan.cancel(said["item"])):
            return await fan.run()


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
