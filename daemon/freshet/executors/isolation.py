"""Which sensors have an evaluator of their own, and for how long.

A sensor that was caught blocking or killing an evaluator keeps its own for as long as these definitions are in force.
One that was only suspected goes back among the others after `PROBATION` looks that did no harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

__all__ = ["OFTEN", "PROBATION", "Isolation"]

OFTEN = 3
"""So often a sensor may hold the loop that it shares before it is set apart."""
PROBATION = 20


class Isolation:
    """The sensors set apart."""

    def __init__(self) -> None:
        self._left: dict[str, int | None] = {}
        self._held = Counter[str]()

    def __contains__(self, sensor: str) -> bool:
        return sensor in self._left

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._left))

    def caught(self, sensor: str) -> None:
        """It did it."""
        self._left[sensor] = None

    def held(self, sensor: str) -> bool:
        """It held the loop too long, and let go of it; returns whether it has done so too often."""
        self._held[sensor] += 1
        return self._held[sensor] % OFTEN == 0

    def suspected(self, sensor: str) -> None:
        """It may have done it."""
        self._left.setdefault(sensor, PROBATION)

    def behaved(self, sensor: str) -> bool:
        """A look of it ended by itself; returns whether that was the last of its probation."""
        left = self._left.get(sensor)
        if left is None:
            return False
        if left > 1:
            self._left[sensor] = left - 1
            return False
        del self._left[sensor]
        return True
