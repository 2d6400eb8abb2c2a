"""What a ticker has been told to look at and has not looked at yet. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["FULL", "HINTS_MAX", "NOTHING", "Attention"]

HINTS_MAX = 10_000
"""Beyond so many hints a full look is cheaper and surer."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Nothing, some hints, or everything. `full` swallows the hints: a full look sees what they name."""

    full: bool = False
    hints: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.full or bool(self.hints)

    def add(self, hints: Iterable[str] | None) -> Attention:
        """With a wake's hints; None asks for a full look."""
        if self.full or hints is None:
            return FULL
        union = self.hints.union(hints)
        return FULL if len(union) > HINTS_MAX else Attention(hints=union)

    def merge(self, other: Attention) -> Attention:
        """With what another asked for."""
        return FULL if other.full else self.add(other.hints)

    def order(self) -> tuple[str, ...] | None:
        """For a tick order: None for a full look, else the hints in a stable order."""
        return None if self.full else tuple(sorted(self.hints))


NOTHING = Attention()
FULL = Attention(full=True)
