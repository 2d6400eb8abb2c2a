"""A small world of numbered partitions, for links to be made in."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyroaring import BitMap

from freshet.definitions.partitions import (
    DynamicPartitions,
    MultiPartitions,
    PartitionsSpec,
    StaticPartitions,
    TimePartitions,
)
from freshet.engine.partitions.combinations import Combinations


@dataclass
class World:
    """Static keys are numbered in reverse, so that nothing may stand on their order; dynamic ones as they come."""

    now: float
    dynamic: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    known: dict[str, Combinations] = field(default_factory=dict[str, Combinations])

    def live(self, spec: PartitionsSpec) -> BitMap:
        if isinstance(spec, TimePartitions):
            return BitMap(spec.live(self.now))
        return BitMap(range(1, self._count(spec) + 1))

    def newest(self, spec: PartitionsSpec) -> BitMap:
        live = self.live(spec)
        return BitMap([live.max()] if live else [])

    def number(self, spec: PartitionsSpec, key: str) -> int | None:
        if isinstance(spec, TimePartitions):
            return spec.number(key)
        keys = self._keys(spec)
        return len(keys) - keys.index(key) if key in keys else None

    def combinations(self, spec: MultiPartitions) -> Combinations:
        return self.known.setdefault(spec.name, Combinations(spec.names))

    def _keys(self, spec: PartitionsSpec) -> list[str]:
        if isinstance(spec, StaticPartitions):
            return list(spec.keys)
        assert isinstance(spec, DynamicPartitions)
        return self.dynamic.get(spec.name, [])

    def _count(self, spec: PartitionsSpec) -> int:
        return len(self.combinations(spec)) if isinstance(spec, MultiPartitions) else len(self._keys(spec))
