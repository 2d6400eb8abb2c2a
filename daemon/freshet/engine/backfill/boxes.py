"""Combinations of several dimensions of which some have no number yet: numbered in pieces, as they are needed.

A box is gone through in order, the last dimension fastest; its product is never made.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pyroaring import BitMap

from freshet.engine.backfill.plan import rides
from freshet.engine.partitions.graph import PartitionGraph
from freshet.engine.partitions.runs import runs_of

__all__ = ["OpenBox", "held_by"]


@dataclass(frozen=True, slots=True)
class OpenBox:
    """What is left of a box over the set called `set`: from combination `next` on. `after`: a smaller number is no
    news of it, having been looked at when the backfill began. `totals`: by asset, what it will want in the end."""

    set: str
    sides: tuple[BitMap, ...]
    next: int
    after: int
    totals: dict[str, int]

    @property
    def count(self) -> int:
        """How many combinations there are in all."""
        return math.prod(len(side) for side in self.sides)

    def piece(self, size: int) -> list[tuple[int, ...]]:
        """The next combinations, each by the numbers of its dimensions."""
        return [self._place(index) for index in range(self.next, min(self.next + size, self.count))]

    def moved(self, size: int) -> OpenBox | None:
        """What is left after a piece; None if nothing is."""
        return None if self.next + size >= self.count else replace(self, next=self.next + size)

    def renamed(self, names: Mapping[str, str]) -> OpenBox:
        """With assets by their new names."""
        return replace(self, totals={names.get(name, name): total for name, total in self.totals.items()})

    def dump(self) -> dict[str, Any]:
        """As JSON."""
        sides = [[list(run) for run in runs_of(side)] for side in self.sides]
        return {"set": self.set, "sides": sides, "next": self.next, "after": self.after, "totals": self.totals}

    @classmethod
    def load(cls, found: dict[str, Any]) -> OpenBox:
        """What `dump` gave."""
        sides = tuple(_numbers(side) for side in found["sides"])
        return cls(found["set"], sides, found["next"], found["after"], found["totals"])

    def _place(self, index: int) -> tuple[int, ...]:
        place: list[int] = []
        for side in reversed(self.sides):
            index, position = divmod(index, len(side))
            place.append(side[position])
        return tuple(reversed(place))


def held_by(graph: PartitionGraph, sets: Collection[str], wanted: Iterable[str]) -> frozenset[str]:
    """Of assets in dependency order, those that wait until the boxes over `sets` have been gone through: what depends
    on several of their combinations, and all below. What goes in one run with them does not."""
    grows, held = set[str](), set[str]()
    for name in wanted:
        spec = graph.definitions.asset[name]
        above = [dep.asset for dep in spec.deps]
        if any(one in held or (one in grows and not rides(graph, name, one)) for one in above):
            held.add(name)
        elif (spec.partitions is not None and spec.partitions.name in sets) or any(one in grows for one in above):
            grows.add(name)
    return frozenset(held)


def _numbers(runs: Iterable[tuple[int, int]]) -> BitMap:
    found = BitMap()
    for first, last in runs:
        found.add_range(first, last + 1)
    return found
