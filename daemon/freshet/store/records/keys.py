"""Keys that come by the hundred thousand, without an object for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from freshet.definitions.outcome import Json

__all__ = ["BareKeys", "Pair", "names_of"]

Pair = tuple[str, dict[str, Json]]
"""A key and its metadata."""


@dataclass(frozen=True, slots=True, eq=False)
class BareKeys(Sequence[Pair]):
    """Keys without metadata, as a sequence of pairs that are made only for who looks at them: a million pairs that stay
    cost more than all else that is done with their keys, and the garbage collector visits each. Equal to a tuple of the
    same pairs."""

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, at: int) -> Pair: ...
    @overload
    def __getitem__(self, at: slice) -> BareKeys: ...
    def __getitem__(self, at: int | slice) -> Pair | BareKeys:
        return BareKeys(self.names[at]) if isinstance(at, slice) else (self.names[at], {})

    def __iter__(self) -> Iterator[Pair]:
        return ((name, {}) for name in self.names)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BareKeys):
            return self.names == other.names
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented


def names_of(added: Sequence[Pair]) -> tuple[str, ...]:
    """The keys alone."""
    return added.names if isinstance(added, BareKeys) else tuple(key for key, _ in added)
