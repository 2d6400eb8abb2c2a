"""Sets of partitions: what a user may declare, under one roof. A set is data; each kind has its file."""

from __future__ import annotations

from freshet.definitions.key_partitions import DynamicPartitions, Keep, StaticPartitions
from freshet.definitions.multi_partitions import Dimension, DimensionSet, MultiPartitions
from freshet.definitions.time_partitions import TimePartitions

__all__ = [
    "UNPARTITIONED",
    "Dimension",
    "DimensionSet",
    "DynamicPartitions",
    "Keep",
    "MultiPartitions",
    "PartitionsSpec",
    "StaticPartitions",
    "TimePartitions",
    "resolved_set",
    "said_set",
]

UNPARTITIONED = 0
"""The partition number of an asset without partitions; keys of a set are numbered from 1."""

PartitionsSpec = DynamicPartitions | StaticPartitions | TimePartitions | MultiPartitions


def said_set(spec: PartitionsSpec, of: str) -> str:
    """What a message calls a set: `the partition set 'regions'`; one that nobody named by whose it is: `the partition
    set of OF`, for example of `'takings'`; `it` where `of` is empty, since the message has said so."""
    if not spec.made_up:
        return f"the partition set {spec.name!r}"
    return f"the partition set of {of}" if of else "it"


def resolved_set(spec: PartitionsSpec, timezone: str) -> PartitionsSpec:
    """The set with the configuration's zone where it names none itself."""
    return spec.resolved(timezone) if isinstance(spec, TimePartitions | MultiPartitions) else spec
