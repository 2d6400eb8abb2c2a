"""What a step is told of the run and the partition that it is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from freshet.definitions.partitions import MultiPartitions, PartitionsSpec, TimePartitions, resolved_set

__all__ = ["MissingKeys", "Partition", "PartitionWindow", "RunInfo"]


@dataclass(frozen=True, slots=True)
class PartitionWindow:
    """From `start` up to, not including, `end`: aware datetimes on the clock of the set's zone."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Partition:
    """The partition a step runs for: its key, and what the sensor attached to it. `set`: of which it is one; without,
    there is neither a window nor parts."""

    key: str
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    set: PartitionsSpec | None = field(default=None, repr=False)

    @cached_property
    def window(self) -> PartitionWindow | None:
        """The stretch of time it stands for; None where the set is not in time. Of a combination: see `parts`."""
        spec = None if self.set is None else resolved_set(self.set, "UTC")
        if not isinstance(spec, TimePartitions):
            return None
        zone, window = ZoneInfo(spec.zone), spec.window(self.key)
        return PartitionWindow(datetime.fromtimestamp(window.start, zone), datetime.fromtimestamp(window.end, zone))

    @cached_property
    def parts(self) -> Mapping[str, Partition]:
        """Of a combination, the partition in each dimension by the dimension's name, in the order declared; empty for a
        set of one dimension. `ctx.partition.parts["day"].window.start`."""
        if not isinstance(self.set, MultiPartitions):
            return MappingProxyType({})
        keys = self.set.parse(self.key)
        return MappingProxyType({name: Partition(key, set=self.set.dimension(name)) for name, key in keys.items()})


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The run that a step belongs to. `target`: the asset or job that was asked for; `origin`: by what
    (`sensor:landing`, `schedule:nightly`, `retry:7`, ...); `partition`: the step's key, None without; `attempt`: of
    this step, 1 for the first."""

    id: int
    target: str
    origin: str
    priority: int
    partition: str | None
    attempt: int
    params: Mapping[str, Any]
    tags: Mapping[str, str]


class MissingKeys(tuple[str, ...]):
    """Keys of partitions that have no value. `more`: how many others have none, beyond the first thousands that are
    named."""

    more: int = 0

    @classmethod
    def of(cls, keys: Iterable[str], more: int = 0) -> MissingKeys:
        """The keys, and how many others."""
        made = cls(keys)
        made.more = more
        return made
