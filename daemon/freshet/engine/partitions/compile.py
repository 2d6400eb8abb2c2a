"""From a mapping between two declared sets to the link between their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, assert_never

from pyroaring import BitMap

from freshet.definitions.mapping import All, ByDimension, Identity, Last, Mapping, Static, TimeWindow, paired_dimensions
from freshet.definitions.mapping_check import misfit
from freshet.definitions.partitions import UNPARTITIONED, MultiPartitions, PartitionsSpec, TimePartitions
from freshet.engine.partitions.by_dimension import ByDimensions, Pair, Side
from freshet.engine.partitions.combinations import Combinations
from freshet.engine.partitions.links import Every, Link, Newest, Pairs, Same, Windowed
from freshet.errors import DefinitionError

__all__ = ["Numbers", "link_between"]


class Numbers(Protocol):
    """What is known of a set's numbers; asked by the set's declaration, so that dimensions are found too."""

    def live(self, spec: PartitionsSpec) -> BitMap:
        """The live numbers."""
        ...

    def newest(self, spec: PartitionsSpec) -> BitMap:
        """The newest live number, or nothing."""
        ...

    def number(self, spec: PartitionsSpec, key: str) -> int | None:
        """The number of a key, if it has one."""
        ...

    def combinations(self, spec: MultiPartitions) -> Combinations:
        """The combinations that have a number."""
        ...


def link_between(
    mapping: Mapping, upstream: PartitionsSpec | None, downstream: PartitionsSpec | None, numbers: Numbers
) -> Link:
    """The link for a mapping between two sets (None: without partitions, whose one number is 0).

    It asks `numbers` anew at each use, except for the pairs of `Static`: link again when a static or dynamic set that
    one stands on gets a key. Raises `DefinitionError` where the mapping does not fit the sets.
    """
    said, hint = misfit(mapping, upstream, downstream)
    if said:
        raise DefinitionError(f"{type(mapping).__name__}() {said}", hint=hint)
    above, below = _Known(upstream, numbers), _Known(downstream, numbers)
    match mapping:
        case Identity():
            return Same() if upstream is not None or downstream is None else Every(above.live, below.live)
        case All():
            return Every(above.live, below.live)
        case Last():
            return Newest(above.newest, below.live)
        case TimeWindow():
            assert isinstance(upstream, TimePartitions) and isinstance(downstream, TimePartitions), "it fits"
            return Windowed(upstream.windows, downstream.windows, mapping)
        case Static():
            assert upstream is not None and downstream is not None, "it fits"
            return _static(mapping, upstream, downstream, numbers)
        case ByDimension():
            assert upstream is not None and downstream is not None, "it fits"
            return _by_dimension(mapping, upstream, downstream, numbers)
    assert_never(mapping)


@dataclass(frozen=True)
class _Known:
    spec: PartitionsSpec | None
    numbers: Numbers

    def live(self) -> BitMap:
        return BitMap([UNPARTITIONED]) if self.spec is None else self.numbers.live(self.spec)

    def newest(self) -> BitMap:
        return BitMap([UNPARTITIONED]) if self.spec is None else self.numbers.newest(self.spec)


def _static(mapping: Static, upstream: PartitionsSpec, downstream: PartitionsSpec, numbers: Numbers) -> Pairs:
    found: list[tuple[int, int]] = []
    for key, keys in mapping.below:
        above = numbers.number(upstream, key)
        below = [numbers.number(downstream, one) for one in keys]
        found += [(above, one) for one in below if one is not None] if above is not None else []
    return Pairs(found)


def _by_dimension(
    mapping: ByDimension, upstream: PartitionsSpec, downstream: PartitionsSpec, numbers: Numbers
) -> ByDimensions:
    pairs = [
        Pair(above, below, link_between(inner, _part(upstream, above), _part(downstream, below), numbers))
        for above, below, inner in paired_dimensions(mapping, upstream, downstream)
    ]
    return ByDimensions(_side(upstream, numbers), _side(downstream, numbers), pairs)


def _side(spec: PartitionsSpec, numbers: Numbers) -> Side:
    combinations = numbers.combinations(spec) if isinstance(spec, MultiPartitions) else None
    return Side(combinations, lambda name: numbers.live(_part(spec, name)), lambda: numbers.live(spec))


def _part(spec: PartitionsSpec, dimension: str | None) -> PartitionsSpec:
    return spec.dimension(dimension) if dimension is not None and isinstance(spec, MultiPartitions) else spec
