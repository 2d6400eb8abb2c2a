"""The gates that keep limits: what is taken of each, and who waits before it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from freshet.definitions.pool import Rate

if TYPE_CHECKING:
    from freshet.engine.queue.rows import Party, Row

__all__ = ["Demand", "Gate", "Kind", "RateGate"]

Kind = Literal["executor", "pool", "rate", "runs", "tag"]


class Gate:
    """A limit: what is taken of it, and who waits before it: parties, or (of a limit by a tag) rows."""

    __slots__ = ("capacity", "kind", "name", "parties", "paused", "rows", "used")

    def __init__(self, kind: Kind, name: str, capacity: int) -> None:
        self.kind: Kind = kind
        self.name = name
        self.capacity = capacity
        self.used = 0
        self.paused = False
        self.parties: set[Party] = set()
        self.rows: set[Row] = set()

    @property
    def awaited(self) -> bool:
        """Whether something waits before it."""
        return bool(self.parties or self.rows)

    def room(self, amount: int, now: float) -> bool:
        """Whether so much may be taken now."""
        return not self.paused and self.used + amount <= self.capacity

    def take(self, amount: int, now: float) -> None:
        """It is taken."""
        self.used += amount

    def give(self, amount: int) -> None:
        """It is free again."""
        self.used -= amount
        assert self.used >= 0, f"more of {self.name} was freed than taken"

    def undo(self, amount: int) -> None:
        """What took it did not begin."""
        self.give(amount)


Demand = tuple[tuple[Gate, int], ...]
"""What a step takes when it starts, and how much of each."""


class RateGate(Gate):
    """So many in any span: remembers the instants of the last ones, on the clock that no one sets."""

    __slots__ = ("_at", "rate")

    def __init__(self, name: str, rate: Rate) -> None:
        super().__init__("rate", name, rate.count)
        self.rate = rate
        self._at: deque[float] = deque()

    def room(self, amount: int, now: float) -> bool:
        """Whether one more keeps to the rate."""
        while self._at and self._at[0] + self.rate.seconds <= now:
            self._at.popleft()
        return len(self._at) + amount <= self.capacity

    def take(self, amount: int, now: float) -> None:
        """It starts now, or (what was before this queue) at another instant."""
        self._at.append(now)

    def give(self, amount: int) -> None:
        """The end of a step frees nothing of a rate."""

    def undo(self, amount: int) -> None:
        """It did not start: the newest instant is forgotten."""
        if self._at:
            self._at.pop()

    @property
    def opens_at(self) -> float:
        """When the next one may start, if none may now."""
        return self._at[0] + self.rate.seconds if self._at else 0.0
