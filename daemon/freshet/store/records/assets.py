"""What the engine remembers of assets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from freshet.definitions.outcome import Json
from freshet.store.records.runs import InputNeed, RunToAdmit

__all__ = [
    "AutomationCommit",
    "ConditionChunk",
    "FreshnessChange",
    "FreshnessRow",
]


@dataclass(frozen=True, slots=True)
class FreshnessRow:
    """Where an asset stands under its policy. The deadline is derived: baseline_at + within. `state_seq`: the baseline
    for which `state` was committed, None where that is `baseline_seq`."""

    asset: str
    partition: int
    policy: Json
    since: float
    baseline_seq: int
    baseline_at: float
    state: Literal["fresh", "warn", "lapsed"]
    state_seq: int | None = None


@dataclass(frozen=True, slots=True)
class FreshnessChange:
    """A transition of an asset's freshness. `event`: freshness_warned, freshness_lapsed or freshness_restored, None
    where only the baseline moved. A lapse is inserted under (asset, partition, baseline_seq): a second one is
    dropped with its event."""

    row: FreshnessRow
    event: str | None = None
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class ConditionChunk:
    """One chunk of a condition node's memory: `bits` is a serialized Roaring bitmap; empty deletes the row."""

    asset: str
    node: str
    chunk: int
    bits: bytes


@dataclass(frozen=True, slots=True)
class AutomationCommit:
    """One evaluation: conditions have looked up to and including transaction `seq`; the runs they ask for and the
    memory of their nodes commit together. `start`: as in TickCommit."""

    seq: int
    at: float
    runs: tuple[RunToAdmit, ...]
    chunks: tuple[ConditionChunk, ...]
    start: int = 0
    needs: dict[str, tuple[InputNeed, ...]] = field(default_factory=dict[str, tuple[InputNeed, ...]])
    version: str = ""
