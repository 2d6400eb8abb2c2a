"""A sensor's life in one evaluator: `open()` before its first look, `wakes()` beside its looks, `close()` last."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

from freshet.definitions.sensor import Sensor, ability
from freshet.host.evaluator.evaluate import form_of
from freshet.host.evaluator.failure import describe
from freshet.host.evaluator.ledger import LedgerCache
from freshet.host.evaluator.page import BACKGROUND
from freshet.host.evaluator.steps import CURRENT

__all__ = ["Holder", "checked_hints"]

_MAX_BACKOFF = 30.0
_STEADY = 30.0
"""Seconds after which a `wakes()` that worked counts as recovered."""


class Holder:
    """A sensor, its ledger cache, and what runs for it in the background. `mark` signs the background's steps."""

    def __init__(
        self,
        sensor: Sensor,
        number: int,
        *,
        woken: Callable[[str, list[str] | None], None],
        log: Callable[[str, str, str, dict[str, Any]], None],
        keep_texts: bool = False,
    ) -> None:
        self.sensor = sensor
        self.name = sensor.name
        self.mark = BACKGROUND | number
        self.threads: set[int] = set()
        self.form = form_of(sensor)
        self.cache = LedgerCache(keep_texts=keep_texts)
        self.uncommitted = 0
        """The look whose ledger change waits for the daemon to say whether it is committed."""
        self.settling: asyncio.Task[None] | None = None
        """Puts what has been committed into the cache, a piece at a time."""
        self.loading: asyncio.Future[None] | None = None
        self.needs: tuple[str, ...] = ()
        """The names of the resources that its looks are given."""
        self.given: dict[str, Any] = {}
        """Those that are open."""
        self.opened = ability(sensor, "open") is None
        self._opening: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._wanted = False
        self._woken = woken
        self._log = log

    # --- open and close ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Call `open()` if that has not succeeded yet; a second caller waits for the first. Raises what it raises."""
        if self.opened:
            return
        if self._opening is None or self._opening.done():
            self._opening = self._spawn(self._open())
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        await _call(ability(self.sensor, "open"))
        self.opened = True
        if self._wanted:
            self.watch()  # before whoever waits for the opening looks: what comes after that look is not missed

    async def prepare(self) -> None:
        """Open ahead of the first look. What `open()` raises is for the looks to report: each tries again."""
        with contextlib.suppress(Exception):
            await self.open()

    async def close(self) -> None:
        """End the background work and call `close()`."""
        self.unwatch()
        if self.opened and (end := ability(self.sensor, "close")) is not None:
            try:
                await self._spawn(_call(end))
            except Exception as error:  # a plugin's close(): there is nobody left to retry
                self._log(self.name, "warning", "close() failed", dict(describe(error)))

    # --- wakes ---------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Run `wakes()`, if the sensor has it and it does not run; if need be once the sensor is open."""
        self._wanted = True
        if ability(self.sensor, "wakes") is not None and self._watching is None and self.opened:
            self._watching = self._spawn(self._watch())

    def unwatch(self) -> None:
        """End `wakes()`."""
        self._wanted = False
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        failures, delay = 0, 0.1
        while True:
            began = loop.time()
            try:
                await self._pass_on()
                return
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # SystemExit too is the plugin's failure
                if loop.time() - began > _STEADY:
                    failures, delay = 0, 0.1
                if failures == 0:
                    self._log(self.name, "warning", "wakes() failed; its interval goes on", dict(describe(error)))
                failures += 1
            await asyncio.sleep(delay)
            delay = min(delay * 2, _MAX_BACKOFF)
            self._woken(self.name, None)  # wakes were missed while it did not run

    async def _pass_on(self) -> None:
        begin = ability(self.sensor, "wakes")
        assert begin is not None, "watch() looks before it begins"
        wakes: AsyncIterator[Any] = begin()
        try:
            async for hints in wakes:
                self._woken(self.name, checked_hints(hints, self.name))
        finally:
            if inspect.isasyncgen(wakes):
                await wakes.aclose()

    def _spawn(self, coro: Any) -> asyncio.Task[None]:
        """A task signed as this sensor's background work."""
        token = CURRENT.set(self)
        try:
            return asyncio.get_running_loop().create_task(coro)
        finally:
            CURRENT.reset(token)


def checked_hints(hints: Any, sensor: str) -> list[str] | None:
    """What `wakes()` yielded, as a list of texts; None asks for a full look. Raises `TypeError`."""
    if hints is None:
        return None
    if isinstance(hints, str):
        raise TypeError(f"wakes() of {sensor!r} yielded the text {hints[:100]!r}; yield an iterable of texts, or None")
    listed = list(hints)
    for hint in listed:
        if not isinstance(hint, str):
            raise TypeError(f"wakes() of {sensor!r} yielded a hint that is no text: {hint!r:.100}")
    return listed


async def _call(function: Callable[[], Any] | None) -> None:
    if function is not None:
        result = function()
        if inspect.isawaitable(result):
            await result
