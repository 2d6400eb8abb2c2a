"""What a step takes from upstreams of which it may take many partitions: read once it has started, off the writer."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from pyroaring import BitMap

from freshet.definitions.partitions import (
    DimensionSet,
    MultiPartitions,
    PartitionsSpec,
    StaticPartitions,
    TimePartitions,
)
from freshet.engine.instruments import Instruments, recall
from freshet.engine.partitions.by_dimension import ByDimensions
from freshet.engine.partitions.combinations import Box
from freshet.engine.partitions.graph import PartitionGraph
from freshet.errors import PartitionKeyError
from freshet.store.inputs import partition_keys, read_inputs
from freshet.store.records import StepToRun, ValueRef

__all__ = ["NAMES_MAX", "read_bulk"]

NAMES_MAX = 1_000
"""So many partitions without a value are named; of the rest the count is told, in place of one more name."""

_LOOKED_AT_MAX = 10_000
_Taken = tuple[dict[str | None, ValueRef], tuple[str | None, ...]]


async def read_bulk(instruments: Instruments, step: StepToRun) -> StepToRun:
    """The step with the inputs that were left to be read: values by key, in the order of the partitions, and the keys
    that its mapping names and that have no value, also where they never were used."""
    graph = instruments.in_force.partitions
    spec = graph.definitions.stepped(step.name)
    known = () if spec is None else tuple(dep.asset for dep in spec.deps)
    inputs, missing = dict(step.inputs), dict(step.missing)
    for asset in step.bulk:
        if asset in known:  # else the definitions have changed: the step says so itself
            inputs[asset], missing[asset] = await _Reading(instruments, graph, step, asset).read()
    return replace(step, inputs=inputs, missing=missing)


class _Reading:
    def __init__(self, instruments: Instruments, graph: PartitionGraph, step: StepToRun, asset: str) -> None:
        upstream = graph.definitions.asset[asset].partitions
        assert upstream is not None, "only a partitioned upstream is read in bulk"
        self._in = instruments
        self._graph = graph
        self._step = step
        self._asset = asset
        self._upstream: PartitionsSpec = upstream

    async def read(self) -> _Taken:
        """The values, and the keys of what has none."""
        own = BitMap([self._step.partition])
        wanted = self._graph.above(self._step.name, self._asset, own)
        held = self._step.kind == "check" and self._step.name.partition(".")[0] == self._asset
        query = partial(read_inputs, asset=self._asset, set=self._upstream.name, numbers=wanted, held=held)
        values, without = await recall(self._in, query, what=f"the inputs of run {self._step.run_id}")
        keys = await self._keys(self._upstream, itertools.islice(without, NAMES_MAX))
        names, count = list(keys.values()), len(without)
        if isinstance(self._upstream, MultiPartitions):
            more, unnumbered = await self._unnumbered(self._upstream, NAMES_MAX - len(names))
            names, count = names + more, count + unnumbered
        elif isinstance(self._upstream, StaticPartitions):
            place = {key: index for index, key in enumerate(self._upstream.keys)}
            values = dict(sorted(values.items(), key=lambda item: place.get(item[0] or "", 0)))
            names.sort(key=place.__getitem__)
        if not values and not names and self._graph.single(self._step.name, self._asset):
            names = await self._the_one(own)
            count = len(names)
        rest = (f"... and {count - len(names):,} more",) if count > len(names) else ()
        return values, (*names, *rest)

    async def _the_one(self, own: BitMap) -> list[str]:
        """The key of the one partition meant, which is not live: a window before the start, say."""
        link = self._graph.link(self._step.name, self._asset)
        if isinstance(self._upstream, TimePartitions):
            return [self._upstream.key(number) for number in itertools.islice(link.above(own), 1)]
        if isinstance(self._upstream, MultiPartitions) and isinstance(link, ByDimensions):
            box = link.box(self._step.partition)
            return await self._named(self._upstream, itertools.islice(itertools.product(*box.sides.values()), 1))
        return []

    async def _unnumbered(self, upstream: MultiPartitions, most: int) -> tuple[list[str], int]:
        """Combinations that were never used: the keys of some, and how many they are."""
        sets = self._graph.sets
        link = self._graph.link(self._step.name, self._asset)
        live = {name: sets.live(upstream.dimension(name)) for name in upstream.names}
        if isinstance(link, ByDimensions):
            meant = link.box(self._step.partition).sides
            live = {name: side & meant[name] for name, side in live.items()}
        known, box = sets.combinations(upstream), Box(live)
        count = box.count - len(known.inside(box))
        if count <= 0 or most <= 0:
            return [], max(0, count)

        def free() -> Iterator[tuple[int, ...]]:
            for place in itertools.islice(itertools.product(*live.values()), _LOOKED_AT_MAX):
                if known.number(dict(zip(upstream.names, place, strict=True))) is None:
                    yield place

        return await self._named(upstream, itertools.islice(free(), min(most, count))), count

    async def _named(self, upstream: MultiPartitions, places: Iterable[tuple[int, ...]]) -> list[str]:
        found = list(places)
        keys: dict[str, Mapping[int, str]] = {}
        for index, name in enumerate(upstream.names):
            keys[name] = await self._keys(upstream.dimension(name), sorted({place[index] for place in found}))
        names: list[str] = []
        for place in found:
            with contextlib.suppress(KeyError, PartitionKeyError):  # a part that went meanwhile; a key that is too long
                names.append(upstream.key({name: keys[name][one] for name, one in zip(keys, place, strict=True)}))
        return names

    async def _keys(self, spec: DimensionSet | MultiPartitions, numbers: Iterable[int]) -> dict[int, str]:
        wanted = list(numbers)
        if isinstance(spec, TimePartitions):
            return {number: spec.key(number) for number in wanted}
        query = partial(partition_keys, set=spec.name, numbers=wanted)
        return await recall(self._in, query, what="partition keys") if wanted else {}
