"""What the engine remembers of assets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from freshet.definitions.outcome import Json
from freshet.store.records.runs import InputNeed, RunToAdmit

__all__ = [
    "AutomationCommit",
    "ConditionChunk",
    "FreshnessChange",
    "FreshnessRow",
    "ToldEvent",
]


@dataclass(frozen=True, slots=True)
class FreshnessRow:
    """Where an asset (partition 0), or a partition of one, stands under its policy. `baseline_seq`: the event of its
    last materialization, 0 before the first; `baseline_at`: when that was, or else `since`; `counts_from`: see
    `deadlines.counts_from`, None where it is `baseline_at`. `state_seq`: the baseline for which `state` was committed,
    None where that is `baseline_seq`."""

    asset: str
    partition: int
    policy: Json
    since: float
    baseline_seq: int
    baseline_at: float
    state: Literal["fresh", "warn", "lapsed"]
    state_seq: int | None = None
    counts_from: float | None = None

    @property
    def counts(self) -> float:
        """From which moment on the next deadline counts."""
        return self.baseline_at if self.counts_from is None else self.counts_from


@dataclass(frozen=True, slots=True)
class FreshnessChange:
    """A transition of an asset's freshness to the worse. `event`: freshness_warned or freshness_lapsed, None where a
    row is only begun. A lapse is inserted under (asset, partition, baseline_seq): a second one is dropped with its
    event."""

    row: FreshnessRow
    event: str | None = None
    deadline: float | None = None


class ConditionChunk(NamedTuple):
    """One chunk of a condition node's memory: `bits` is a serialized Roaring bitmap; empty deletes the row."""

    asset: str
    node: str
    chunk: int
    bits: bytes


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """An event that conditions ask for, one for each partition."""

    type: Literal["refresh_exhausted", "refresh_recovered"]
    asset: str
    partitions: Sequence[int]
    set: str | None = None


@dataclass(frozen=True, slots=True)
class AutomationCommit:
    """One evaluation: conditions have looked up to and including transaction `seq`; the runs they ask for, the memory
    of their nodes and what they tell commit together. `start`: as in TickCommit. `conditions`: as expressions, by
    digest, those that the runs name in `RunToAdmit.condition`: one digest, or that of each step with a space between.
    `by`, `later`: see `chains.caused`.
    """

    seq: int
    at: float
    runs: tuple[RunToAdmit, ...]
    chunks: tuple[ConditionChunk, ...]
    start: int = 0
    needs: dict[str, tuple[InputNeed, ...]] = field(default_factory=dict[str, tuple[InputNeed, ...]])
    version: str = ""
    told: tuple[ToldEvent, ...] = ()
    conditions: dict[str, str] = field(default_factory=dict[str, str])
    by: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
    later: dict[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
