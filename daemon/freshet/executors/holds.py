"""Who held an evaluator's loop too long and let go of it again: found by the evaluator's own watch, with the stack that
was taken while it lasted. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from freshet.host.evaluator.page import BACKGROUND, HeldStep

__all__ = ["Holds"]

_REMEMBERED = 256


class Holds:
    """Of one evaluator."""

    def __init__(self) -> None:
        self._ticks: dict[int, str] = {}
        self._noticed = 0
        self._count = 0

    def began(self, tick_id: int, sensor: str) -> None:
        """A look. What it did may be known only after its end."""
        if len(self._ticks) >= _REMEMBERED:
            del self._ticks[next(iter(self._ticks))]
        self._ticks[tick_id] = sensor

    def noticed(self, owner: int) -> None:
        """The loop stands still in a step of this owner, and its stack is taken."""
        self._noticed = owner

    def over(self, held: HeldStep, numbers: Mapping[int, str]) -> str | None:
        """Whose step held the loop, the first time that it is seen; None where there is none, or where it was not seen
        standing, so that nobody can say where. `numbers`: of the evaluator's sensors."""
        if held.count == self._count:
            return None
        self._count, noticed, self._noticed = held.count, self._noticed, 0
        if held.owner != noticed:
            return None
        return numbers.get(held.owner & ~BACKGROUND) if held.owner & BACKGROUND else self._ticks.get(held.owner)
