"""The end of an evaluator pool whose sensors another takes over, each as soon as its last look here has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from freshet.executors.base import TickOrder

__all__ = ["Awaited", "Departure"]


class Awaited:
    """Sensors that another host still holds, and what they are to look at here then. `abandon` gives an order back."""

    def __init__(self, abandon: Callable[[TickOrder], None]) -> None:
        self._abandon = abandon
        self._orders: dict[str, list[TickOrder]] = {}

    def __contains__(self, sensor: str) -> bool:
        return sensor in self._orders

    def begin(self, sensors: Iterable[str]) -> None:
        """These are held elsewhere."""
        self._orders = {sensor: [] for sensor in sensors}

    def add(self, order: TickOrder) -> None:
        """For a sensor that is."""
        self._orders[order.sensor].append(order)

    def take(self, sensor: str) -> list[TickOrder] | None:
        """It is held nowhere else: what it is to look at; None for one that was not awaited."""
        return self._orders.pop(sensor, None)

    def cancel(self, tick_id: int) -> None:
        """Nobody waits for this one."""
        for orders in self._orders.values():
            for order in [one for one in orders if one.tick_id == tick_id]:
                orders.remove(order)
                self._abandon(order)

    def end(self) -> tuple[str, ...]:
        """Give all back; returns which were awaited."""
        awaited, self._orders = self._orders, {}
        for orders in awaited.values():
            for order in orders:
                self._abandon(order)
        return tuple(awaited)


class Departure:
    """Which sensors are still held here. `released` is told each of them once, when that is over."""

    def __init__(self, held: Iterable[str], released: Callable[[str], None]) -> None:
        self._held = set(held)
        self._asked: set[str] = set()
        self._released = released
        self.ended = asyncio.Event()
        self._check()

    def ask(self, sensor: str) -> bool:
        """Whether it is to be told now to end: it is held, and was not told yet."""
        if sensor not in self._held or sensor in self._asked:
            return False
        self._asked.add(sensor)
        return True

    def gone(self, sensors: Iterable[str]) -> None:
        """These are held no more: `close()` of each has ended, or its process has."""
        for sensor in self._held.intersection(sensors):
            self._held.discard(sensor)
            self._released(sensor)
        self._check()

    def _check(self) -> None:
        if not self._held:
            self.ended.set()
