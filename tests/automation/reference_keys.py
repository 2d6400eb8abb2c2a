"""Which upstream partitions a partition depends on: key by key, from the words of the mappings' documentation.

Windows are compared pair by pair by their edges, combinations by the keys of their dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from freshet.definitions.mapping import All, ByDimension, Identity, Last, Mapping, Static, TimeWindow, paired_dimensions
from freshet.definitions.partitions import MultiPartitions, PartitionsSpec, TimePartitions

__all__ = ["Newest", "depends", "unnamed"]

Newest = Callable[[PartitionsSpec], str | None]
"""The key of a set's newest partition."""


def depends(
    mapping: Mapping, upstream: PartitionsSpec, downstream: PartitionsSpec, above: str, below: str, newest: Newest
) -> bool:
    """Whether the partition `below` depends on `above`."""
    match mapping:
        case Identity():
            return above == below
        case All():
            return True
        case Last():
            return above == newest(upstream)
        case TimeWindow():
            assert isinstance(upstream, TimePartitions) and isinstance(downstream, TimePartitions)
            return above in reached(upstream, downstream, mapping, below)
        case Static():
            return any(up == above and below in keys for up, keys in mapping.below)
        case ByDimension():
            return all(
                depends(
                    inner,
                    part(upstream, one),
                    part(downstream, other),
                    key_in(upstream, one, above),
                    key_in(downstream, other, below),
                    newest,
                )
                for one, other, inner in paired_dimensions(mapping, upstream, downstream)
            )


def unnamed(mapping: Mapping, upstream: PartitionsSpec | None, downstream: PartitionsSpec | None, below: str) -> bool:
    """Whether a `Static` names nothing for this key, which then does not depend on that upstream at all."""
    if isinstance(mapping, Static):
        return all(below not in keys for _, keys in mapping.below)
    if isinstance(mapping, ByDimension):
        assert upstream is not None and downstream is not None
        return any(
            unnamed(inner, part(upstream, one), part(downstream, other), key_in(downstream, other, below))
            for one, other, inner in paired_dimensions(mapping, upstream, downstream)
        )
    return False


@lru_cache(maxsize=4096)
def reached(upstream: TimePartitions, downstream: TimePartitions, reach: TimeWindow, below: str) -> frozenset[str]:
    """The keys of a `TimeWindow`, live or not: each window near by is tried."""
    mine = downstream.window(below)
    near = range(upstream.windows.at(mine.start) - 20, upstream.windows.at(mine.end) + 20)
    windows = [(number, upstream.windows.window(number)) for number in near]
    shared = [number for number, window in windows if window.start < mine.end and mine.start < window.end]
    return frozenset(upstream.key(number) for number in range(shared[0] + reach.start, shared[-1] + reach.end + 1))


def part(spec: PartitionsSpec, dimension: str | None) -> PartitionsSpec:
    """The set of a dimension."""
    return spec.dimension(dimension) if dimension is not None and isinstance(spec, MultiPartitions) else spec


def key_in(spec: PartitionsSpec, dimension: str | None, key: str) -> str:
    """A combination's key in a dimension."""
    return spec.parse(key)[dimension] if dimension is not None and isinstance(spec, MultiPartitions) else key
