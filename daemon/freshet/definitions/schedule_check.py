"""Whether what schedules target exists, and can be asked for by an instant alone. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from freshet.definitions.flow_check import external_target
from freshet.definitions.names import nearest_hint
from freshet.definitions.partitions import DimensionSet, MultiPartitions, StaticPartitions, TimePartitions
from freshet.errors import PartitionKeyError

if TYPE_CHECKING:
    from freshet.definitions.graph import Definitions
    from freshet.definitions.schedule import ScheduleSpec

__all__ = ["schedule_problems"]

_AT_ONCE_MAX = 1_000
"""Runs that one tick of a schedule may ask for without a body."""


def schedule_problems(definitions: Definitions) -> Iterator[tuple[ScheduleSpec, str, str]]:
    """What is wrong, and the remedy."""
    targets = {*definitions.asset, *definitions.job}
    for schedule in definitions.schedules:
        if schedule.target is None:
            continue
        if schedule.target not in targets:
            said = f"schedule {schedule.name!r} targets {schedule.target!r}, which no plugin declares"
            yield schedule, said, nearest_hint(schedule.target, targets)
        elif found := external_target(definitions, f"schedule {schedule.name!r}", schedule.target):
            yield schedule, *found
        elif not schedule.body and not _closes(definitions, schedule.target):
            said = f"schedule {schedule.name!r}: which partition of {schedule.target!r} is meant?"
            yield schedule, said, "give it a body that returns RunRequest(partition=...)"


def _closes(definitions: Definitions, target: str) -> bool:
    """Whether a tick by itself says which partitions it means: the window that it closed, with each key of the other
    dimensions, where those are short lists."""
    spec = definitions.asset.get(target)
    partitions = None if spec is None else spec.partitions
    if not isinstance(partitions, MultiPartitions):
        return partitions is None or isinstance(partitions, TimePartitions)
    lists = [one.set for one in partitions.dimensions if isinstance(one.set, StaticPartitions)]
    if len(lists) != len(partitions.dimensions) - 1 or math.prod(len(one.keys) for one in lists) > _AT_ONCE_MAX:
        return False
    longest = {one.name: _longest(one.set) for one in partitions.dimensions}
    try:
        partitions.key(longest)
    except PartitionKeyError:
        return False
    return sum(isinstance(one.set, TimePartitions) for one in partitions.dimensions) == 1


def _longest(spec: DimensionSet) -> str:
    keys = spec.keys if isinstance(spec, StaticPartitions) else ("2026-03-29T02:00:00+02:00:00",)
    return max(keys, key=lambda key: len(key) + 2 * sum(map(key.count, "%|=")))
