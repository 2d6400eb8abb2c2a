"""The numbered combinations of a set with several dimensions, found by their dimensions' numbers.

Nothing is enumerated: a `Box` says which numbers of each dimension are meant, and its size is a product.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyroaring import BitMap

__all__ = ["Box", "Combinations"]

_NONE = BitMap()


@dataclass(frozen=True)
class Box:
    """All combinations of these numbers, by dimension."""

    sides: Mapping[str, BitMap]

    @property
    def count(self) -> int:
        """How many combinations, numbered or not."""
        return math.prod(len(side) for side in self.sides.values())

    def holds(self, coordinates: Mapping[str, int]) -> bool:
        """Whether a combination lies in it."""
        return all(coordinates[name] in side for name, side in self.sides.items())


class Combinations:
    """Which combinations have a number: for each dimension's number the bitmap of the combinations with it."""

    def __init__(self, dimensions: Iterable[str]) -> None:
        self._coordinates: dict[int, tuple[int, ...]] = {}
        self._numbers: dict[tuple[int, ...], int] = {}
        self._by: dict[str, dict[int, BitMap]] = {name: {} for name in dimensions}

    def add(self, number: int, coordinates: Mapping[str, int]) -> None:
        """Learn a combination's number."""
        place = tuple(coordinates[name] for name in self._by)
        self._coordinates[number] = place
        self._numbers[place] = number
        for by, one in zip(self._by.values(), place, strict=True):
            by.setdefault(one, BitMap()).add(number)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions, in order."""
        return tuple(self._by)

    def __len__(self) -> int:
        return len(self._coordinates)

    def has(self, number: int) -> bool:
        """Whether this is the number of a combination."""
        return number in self._coordinates

    def number(self, coordinates: Mapping[str, int]) -> int | None:
        """The number of a combination, if it has one."""
        return self._numbers.get(tuple(coordinates[name] for name in self._by))

    def coordinates(self, number: int) -> dict[str, int]:
        """The dimensions' numbers of a combination. Raises `KeyError`."""
        return dict(zip(self._by, self._coordinates[number], strict=True))

    def within(self, dimension: str, side: BitMap) -> BitMap:
        """The combinations whose number in a dimension is one of `side`."""
        by = self._by[dimension]
        if len(side) > len(by):
            return BitMap.union(_NONE, *(numbers for one, numbers in by.items() if one in side))
        return BitMap.union(_NONE, *(by.get(one, _NONE) for one in side))

    def inside(self, box: Box) -> BitMap:
        """The combinations in a box that have a number."""
        sides = [self.within(name, side) for name, side in box.sides.items()]
        return BitMap.intersection(sides[0], *sides[1:])

    def project(self, dimension: str, numbers: BitMap) -> BitMap:
        """The numbers that combinations have in a dimension."""
        by = self._by[dimension]
        if len(numbers) < len(by):
            index = list(self._by).index(dimension)
            return BitMap(self._coordinates[one][index] for one in numbers if one in self._coordinates)
        return BitMap(one for one, having in by.items() if not having.isdisjoint(numbers))
