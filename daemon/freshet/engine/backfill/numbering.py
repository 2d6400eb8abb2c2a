"""Combinations get their numbers before a backfill can want them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pyroaring import BitMap

from freshet.definitions.partitions import MultiPartitions
from freshet.engine.instruments import Instruments, persist
from freshet.store.interning import number_places

__all__ = ["PIECE", "numbered"]

PIECE = 250
"""Combinations a transaction, so that others get their turn at the writer."""


async def numbered(instruments: Instruments, name: str, places: Sequence[tuple[int, ...]]) -> BitMap:
    """The numbers of combinations of a set, given now where they had none; left out are those that are not live."""
    spec = instruments.in_force.definitions.partition_set[name]
    assert isinstance(spec, MultiPartitions), "others have numbers"
    sets = instruments.in_force.partitions.sets
    known = sets.combinations(spec)

    def number(place: tuple[int, ...]) -> int | None:
        return known.number(dict(zip(spec.names, place, strict=True)))

    unknown = [place for place in places if number(place) is None]
    if unknown:
        write = partial(number_places, spec=spec, places=unknown, now=instruments.clock.now())
        instruments.bus.publish(await persist(instruments, write, what="the numbers of combinations"))
    found = (number(place) for place in places)
    return BitMap([one for one in found if one is not None]) & sets.live(spec)
