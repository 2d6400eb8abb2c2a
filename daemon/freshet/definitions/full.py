"""Which sets of several dimensions are numbered in full, so that what was never used counts as missing."""

from __future__ import annotations

import math

from freshet.definitions.asset import AssetSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import DimensionSet, MultiPartitions, StaticPartitions, TimePartitions

__all__ = ["MAX_IN_FULL", "known_size", "numbered_in_full"]

MAX_IN_FULL = 100_000
"""Beyond so many combinations, only those that were used are numbered."""


def numbered_in_full(definitions: Definitions) -> tuple[MultiPartitions, ...]:
    """The sets over which an asset has a condition, or a dependency on or from another set."""
    found: dict[str, MultiPartitions] = {}
    for spec in definitions.assets:
        if isinstance(spec.partitions, MultiPartitions) and _needs(definitions, spec):
            found[spec.partitions.name] = spec.partitions
    return tuple(found.values())


def known_size(spec: MultiPartitions, now: float) -> int:
    """How many combinations there are at least: as many as the definitions tell (a set whose keys are data counts as
    one)."""
    return math.prod(_size(one.set, now) for one in spec.dimensions)


def _size(spec: DimensionSet, now: float) -> int:
    if isinstance(spec, StaticPartitions):
        return len(spec.keys)
    return len(spec.live(now)) if isinstance(spec, TimePartitions) else 1


def _needs(definitions: Definitions, spec: AssetSpec) -> bool:
    if spec.automation is not None:
        return True
    around = [definitions.asset[dep.asset] for dep in spec.deps if dep.asset in definitions.asset]
    around += [below for below in definitions.assets if any(dep.asset == spec.name for dep in below.deps)]
    assert spec.partitions is not None, "asked of sets of several dimensions"
    return any(one.partitions is None or one.partitions.name != spec.partitions.name for one in around)
