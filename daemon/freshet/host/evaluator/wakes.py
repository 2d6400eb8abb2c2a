"""Wakes on their way to the daemon: one message a sensor and turn of the loop, however many there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["MAX_HINTS", "Wakes"]

MAX_HINTS = 10_000
"""Past this many, the next look is full."""


class Wakes:
    """Gathers what `wakes()` yields within a turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[list[Any]], None]) -> None:
        self._loop = loop
        self._send = send
        self._pending: dict[str, dict[str, None] | None] = {}

    def add(self, sensor: str, hints: list[str] | None) -> None:
        """A sensor's source moved."""
        if not self._pending:
            self._loop.call_soon(self._pass_on)
        gathered = self._pending.setdefault(sensor, {})
        if hints is None or gathered is None or len(gathered) + len(hints) > MAX_HINTS:
            self._pending[sensor] = None
        else:
            gathered.update(dict.fromkeys(hints))

    def _pass_on(self) -> None:
        for sensor, hints in self._pending.items():
            self._send(["wake", sensor, None if hints is None else list(hints)])
        self._pending.clear()
