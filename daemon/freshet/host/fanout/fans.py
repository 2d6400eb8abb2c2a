"""The `ctx.map` calls of one step, and what the host says of their items."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from freshet.definitions.durations import Duration
from freshet.definitions.retries import Retries
from freshet.host.fanout.call import MapCall, checked
from freshet.host.fanout.fan import Fan, Place
from freshet.host.frames import FrameDecoder, decode
from freshet.host.messages import CancelItem, Run

__all__ = ["Fans"]

_CHUNK = 1 << 16


class _Context(Protocol):
    def progress(self, done: float, total: float | None = None) -> None: ...


class Fans:
    """Of one step. `line`: the worker's socket, -1 without."""

    def __init__(self, order: Run, folder: str, line: int) -> None:
        self._order = order
        self._folder = Path(folder)
        self._line = line
        self._calls = 0
        self._fans: dict[int, Fan] = {}
        self._decoder = FrameDecoder()

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
    ) -> Any:
        """See `contexts.JobContext.map`."""
        call = checked(function, items, retries=retries, limit=limit, timeout=timeout, raising=raising)
        number, self._calls = self._calls, self._calls + 1
        work = self._run(context, call, number)
        return work if _in_loop() else asyncio.run(work)

    async def _run(self, context: _Context, call: MapCall, number: int) -> list[Any]:
        order, loop = self._order, asyncio.get_running_loop()
        close = (self._line,) if self._line >= 0 else ()
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
        if not self._fans and self._line >= 0:
            loop.add_reader(self._line, self._listen)
        self._fans[number] = fan
        try:
            return await fan.run()
        finally:
            del self._fans[number]
            if not self._fans and self._line >= 0:
                loop.remove_reader(self._line)

    def _listen(self) -> None:
        data = os.read(self._line, _CHUNK)
        if not data:
            os._exit(1)  # the host is gone
        for payload in self._decoder.feed(data):
            said: CancelItem = decode(payload)
            fan = self._fans.get(said["call"])
            if fan is not None and said["op"] == "cancel_item":
                fan.cancel(said["item"])


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
