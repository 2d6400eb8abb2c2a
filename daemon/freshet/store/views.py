"""What the API shows: values that the queries put together for people, not for the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from freshet.definitions.deadlines import lapse_deadline
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.outcome import Json
from freshet.store.records import FreshnessRow

__all__ = ["AssetSummary", "Failures", "PartitionRow", "PartitionState", "TickRow", "Versions"]

PartitionState = Literal["missing", "materialized", "failed", "in_progress"]
"""Of one partition of an asset; what is under way goes before how it ended last."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Of a materialization: of its data, and of the code that made it; None where it is not known."""

    data: str | None = None
    code: str | None = None

    def outdated(self, in_force: str | None) -> bool:
        """Whether it was made by other code than that in force."""
        return None not in (self.code, in_force) and self.code != in_force


@dataclass(frozen=True, slots=True)
class AssetSummary:
    """An asset at a glance. `materialized_at`, `materialized_run`, `metadata` and `versions`: of the last
    materialization of any partition, None before the first. `warned`, `lapsed`: partitions, under a policy for each."""

    asset: str
    set: str | None
    materialized_at: float | None
    materialized_run: int | None
    metadata: Json
    freshness: FreshnessRow | None
    versions: Versions = Versions()
    warned: int = 0
    lapsed: int = 0

    @property
    def deadline(self) -> float | None:
        """When it lapses, or lapsed; None without a policy."""
        row = self.freshness
        return None if row is None else lapse_deadline(FreshnessSpec(**row.policy), row.counts)


@dataclass(frozen=True, slots=True)
class Failures:
    """What has failed for good. `partitions`: how many of each asset that has any; `runs`: how many, of late."""

    partitions: dict[str, int]
    runs: int


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """A partition, deleted if `deleted_at` is set; a window of time that was never used has no `added_at`. `states`: by
    asset, for those asked for; `versions`: by asset, for those of them that have made it."""

    number: int
    key: str
    metadata: dict[str, Json]
    added_at: float | None
    deleted_at: float | None
    states: dict[str, PartitionState] = field(default_factory=dict[str, PartitionState])
    versions: dict[str, Versions] = field(default_factory=dict[str, Versions])


@dataclass(frozen=True, slots=True)
class TickRow:
    """A tick that had effects or failed. The cursors are None where it did not move. `dropped`: requests whose run
    key was taken, as JSON."""

    id: int
    sensor: str
    status: str
    started_at: float
    ended_at: float
    cursor_before: Json
    cursor: Json
    skip: str | None
    error: Json
    runs: int
    partitions_added: int
    ledger_added: int
    dropped: Json
