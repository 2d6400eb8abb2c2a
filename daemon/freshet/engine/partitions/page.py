"""A page of partition numbers out of a bitmap. Costs what the page holds, however many there are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Literal

from pyroaring import BitMap

__all__ = ["PartitionFilter", "PartitionsQuery", "page_of"]


PartitionFilter = Literal["missing", "materialized", "failed", "in_progress", "warn", "lapsed", "held"]
"""A state of being made; or of a freshness policy for each; or what blocking checks hold back."""


@dataclass(frozen=True, slots=True)
class PartitionsQuery:
    """Which partitions of a set: those in a `state` of an `asset` over it, or all; the `last` so many, or `limit` of
    them from beyond `after`."""

    asset: str | None = None
    state: PartitionFilter | None = None
    after: int = 0
    limit: int = 100
    last: int | None = None


def page_of(numbers: BitMap, query: PartitionsQuery) -> tuple[int, ...]:
    """The numbers that are asked for, ascending."""
    if not numbers or query.after >= numbers.max():
        return ()
    if query.last is not None:
        return tuple(numbers.iter_equal_or_larger(numbers[max(0, len(numbers) - query.last)]))
    return tuple(islice(numbers.iter_equal_or_larger(query.after + 1), query.limit))
