"""Partition sets as the engine remembers them: bitmaps of numbers, and the few keys that decisions need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pyroaring import BitMap

__all__ = ["AddedAgain", "AssetBits", "CheckedBits", "PartitionRef", "SetState"]


@dataclass(frozen=True, slots=True)
class AddedAgain:
    """A key that was deleted and came back, under its old number: in which transaction, and `behind` which number, the
    highest that there was. The clock is not asked."""

    number: int
    txn: int
    behind: int


@dataclass(frozen=True, slots=True)
class SetState:
    """A partition set. `live`: the numbers that are there; of a set in time, from its first window to the last that
    was opened. `keys`: of a static set, number by key, hidden ones too. `places`: of a set of several dimensions,
    each numbered combination (deleted ones too) with the numbers of its dimensions, in their order. `top`: the highest
    number ever given; `again`: of a dynamic set, the keys that came back, those too that went once more."""

    name: str
    kind: Literal["dynamic", "static", "time", "multi"]
    live: BitMap
    keys: dict[str, int] = field(default_factory=dict[str, int])
    places: tuple[tuple[int, tuple[int, ...]], ...] = ()
    top: int = 0
    again: tuple[AddedAgain, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckedBits:
    """What checks say of an asset's partitions. `held`: its blocking checks have not let them through. `results`: by
    the check's name, those that passed and those that failed; 0 of a partitioned asset: all of them together."""

    held: BitMap = field(default_factory=BitMap)
    results: Mapping[str, tuple[BitMap, BitMap]] = field(default_factory=dict[str, tuple[BitMap, BitMap]])


NOTHING_CHECKED = CheckedBits()
"""Shared: nobody changes it."""


@dataclass(frozen=True, slots=True)
class AssetBits:
    """An asset's partitions by state, deleted ones left out (of sets in time, whoever reads cuts with what is live).
    `failed`: the last try failed for good, after whatever was made before. `latest_seq`: of the last materialization,
    0 before the first. `checked`: what its checks say."""

    materialized: BitMap
    failed: BitMap
    in_progress: BitMap
    latest_seq: int = 0
    checked: CheckedBits = field(default_factory=lambda: NOTHING_CHECKED)


@dataclass(frozen=True, slots=True)
class PartitionRef:
    """A partition named from outside. `number`: of a window of time, which follows from its key; otherwise the store
    looks the key up. `parts`: of a combination, its dimensions in order; it is numbered when it is first used."""

    set: str
    key: str
    number: int | None = None
    parts: tuple[PartitionRef, ...] = ()
