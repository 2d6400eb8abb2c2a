"""The numbered combinations of a set with several dimensions, found by their dimensions' numbers.

Nothing is enumerated: a `Box` says which numbers of each dimension are meant, and its size is a product.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
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
    """Which combinations have a number: for each dimension a column by number, and the bitmap of each of its numbers.

    Numbers count up from 1 without wide gaps: a column has a place for each up to the highest.
    """

    def __init__(self, dimensions: Iterable[str], places: Iterable[tuple[int, Sequence[int]]] = ()) -> None:
        """`places`: numbers, each with those of its dimensions in order."""
        self._names = tuple(dimensions)
        self._known = BitMap()
        self._columns = [array("I") for _ in self._names]
        self._by: list[dict[int, BitMap]] = [{} for _ in self._names]
        numbers, flat = array("I"), array("I")
        for number, place in places:
            numbers.append(number)
            flat.extend(place)
        if numbers:
            self._load(numbers, [flat[index :: len(self._names)] for index in range(len(self._names))])

    def _load(self, numbers: array[int], sides: list[array[int]]) -> None:
        self._known.update(numbers)
        room = self._known.max() + 1
        for index, side in enumerate(sides):
            column = self._columns[index] = array("I", bytes(4 * room))
            gathered: dict[int, array[int]] = {}
            for number, one in zip(numbers, side, strict=True):
                column[number] = one
                having = gathered.get(one)
                if having is None:
                    having = gathered[one] = array("I")
                having.append(number)
            self._by[index] = {one: BitMap(having) for one, having in gathered.items()}

    def add(self, number: int, coordinates: Mapping[str, int]) -> None:
        """Learn a combination's number."""
        place = [coordinates[name] for name in self._names]
        self._write(number, place)
        self._known.add(number)
        for by, one in zip(self._by, place, strict=True):
            by.setdefault(one, BitMap()).add(number)

    def _write(self, number: int, place: Sequence[int]) -> None:
        for column, one in zip(self._columns, place, strict=True):
            if len(column) <= number:
                column.frombytes(bytes(column.itemsize * (number + 1 - len(column))))
            column[number] = one

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions, in order."""
        return self._names

    def __len__(self) -> int:
        return len(self._known)

    def has(self, number: int) -> bool:
        """Whether this is the number of a combination."""
        return number in self._known

    def number(self, coordinates: Mapping[str, int]) -> int | None:
        """The number of a combination, if it has one."""
        sides = (by.get(coordinates[name], _NONE) for name, by in zip(self._names, self._by, strict=True))
        first, *others = sorted(sides, key=len)
        found = BitMap.intersection(first, *others)
        return found.min() if found else None

    def coordinates(self, number: int) -> dict[str, int]:
        """The dimensions' numbers of a combination. Raises `KeyError`."""
        if number not in self._known:
            raise KeyError(number)
        return {name: column[number] for name, column in zip(self._names, self._columns, strict=True)}

    def within(self, dimension: str, side: BitMap) -> BitMap:
        """The combinations whose number in a dimension is one of `side`; to be read only."""
        by = self._by[self._names.index(dimension)]
        if len(side) == 1:
            return by.get(side.min(), _NONE)
        if len(side) > len(by):
            return BitMap.union(_NONE, *(numbers for one, numbers in by.items() if one in side))
        return BitMap.union(_NONE, *(by.get(one, _NONE) for one in side))

    def inside(self, box: Box) -> BitMap:
        """The combinations in a box that have a number."""
        sides = [self.within(name, side) for name, side in box.sides.items()]
        return BitMap.intersection(sides[0], *sides[1:])

    def project(self, dimension: str, numbers: BitMap) -> BitMap:
        """The numbers that combinations have in a dimension."""
        index = self._names.index(dimension)
        by, column = self._by[index], self._columns[index]
        if len(numbers) < len(by):
            return BitMap([column[one] for one in numbers & self._known])
        return BitMap([one for one, having in by.items() if not having.isdisjoint(numbers)])
