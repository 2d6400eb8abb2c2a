"""Links between sets of which at least one has several dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyroaring import BitMap

from freshet.engine.partitions.combinations import Box, Combinations
from freshet.engine.partitions.links import Link

__all__ = ["ByDimensions", "Pair", "Side"]


@dataclass(frozen=True)
class Pair:
    """A dimension above, one below (None: the set has but one), and the link between the two."""

    above: str | None
    below: str | None
    link: Link


@dataclass(frozen=True)
class Side:
    """One side of the link: its numbered combinations (None for a set of a single dimension), and what is live: of each
    dimension, for the boxes of dimensions that are not paired, and altogether."""

    combinations: Combinations | None
    live_of: Callable[[str], BitMap]
    live: Callable[[], BitMap]

    def values(self, dimension: str | None, numbers: BitMap) -> BitMap:
        """The numbers in a dimension."""
        if self.combinations is None or dimension is None:
            return numbers
        return self.combinations.project(dimension, numbers)

    def having(self, dimension: str | None, values: BitMap) -> BitMap:
        """The partitions with one of these numbers in a dimension."""
        if self.combinations is None or dimension is None:
            return values
        return self.combinations.within(dimension, values)


class ByDimensions:
    """Each pair of dimensions by its own link; dimensions without a counterpart are free.

    Works on the combinations that have a number. `box` tells all that a partition depends on, numbered or not.
    """

    def __init__(self, upstream: Side, downstream: Side, pairs: Sequence[Pair]) -> None:
        """At least one pair."""
        self._upstream = upstream
        self._downstream = downstream
        self._pairs = tuple(pairs)

    def above(self, below: BitMap) -> BitMap:
        """The upstream partitions that any of these depends on."""
        flipped = tuple((pair.below, pair.above, pair.link.above) for pair in self._pairs)
        return _across(self._downstream, self._upstream, flipped, below)

    def below(self, above: BitMap) -> BitMap:
        """The downstream partitions that depend on any of these."""
        straight = tuple((pair.above, pair.below, pair.link.below) for pair in self._pairs)
        return _across(self._upstream, self._downstream, straight, above)

    def named(self, below: BitMap) -> BitMap:
        """Those for which each pair names anything."""
        found = below
        for pair in self._pairs:
            values = self._downstream.values(pair.below, found)
            named = pair.link.named(values)
            if named != values:
                found = found & self._downstream.having(pair.below, named)
        return found

    def box(self, below: int) -> Box:
        """What one downstream partition depends on, by the upstream's dimensions; only for such an upstream."""
        linked = {
            pair.above: pair.link.above(self._downstream.values(pair.below, BitMap([below]))) for pair in self._pairs
        }
        assert self._upstream.combinations is not None, "a set of one dimension has no box"
        names = self._upstream.combinations.dimensions
        return Box({name: linked[name] if name in linked else self._upstream.live_of(name) for name in names})


_Way = tuple[str | None, str | None, Callable[[BitMap], BitMap]]


def _across(here: Side, there: Side, ways: Sequence[_Way], numbers: BitMap) -> BitMap:
    """Dimension by dimension. Of several, all but one value by value, because the union of boxes is not the box of
    unions; the one with the most values goes by sets."""
    if not numbers:
        return BitMap()
    if len(ways) == 1:
        from_, to, link = ways[0]
        return there.having(to, link(here.values(from_, numbers))).copy()
    (from_, to, link), *rest = sorted(ways, key=lambda way: len(here.values(way[0], numbers)))
    found = BitMap()
    for value in here.values(from_, numbers):
        one = BitMap([value])
        found |= there.having(to, link(one)) & _across(here, there, rest, numbers & here.having(from_, one))
    return found
