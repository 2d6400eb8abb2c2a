"""Assets and their partitions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from freshet.http.models.base import Answer, Body, FreshnessState, Json

__all__ = [
    "AddPartitionsBody",
    "AssetAnswer",
    "AssetCounts",
    "DeletePartitionsBody",
    "FreshnessAnswer",
    "PartitionAnswer",
    "PartitionSetAnswer",
    "PartitionsChanged",
    "PartitionsPage",
    "ReportAnswer",
    "ReportBody",
    "VersionsAnswer",
]


class FreshnessAnswer(Answer):
    """The policy of an asset and where it stands. `deadline`: when it lapses, or lapsed. Where the policy is for each
    partition, `state` is the worst of them, `warned` and `lapsed` count them, and there is no one deadline."""

    within: float | None = None
    warn: float | None = None
    cron: str | None = None
    timezone: str | None = None
    window: float | None = None
    per_partition: bool = False
    warned: int = 0
    lapsed: int = 0
    state: FreshnessState | None
    baseline_at: float | None
    deadline: float | None


class ReportBody(Body):
    """A materialization that happened elsewhere. `at`: when, in seconds since 1970; without it, now."""

    partition: str | None = None
    metadata: dict[str, Json] = Field(default_factory=dict[str, Json])
    at: float | None = Field(default=None, gt=-253402300800, lt=253402300800)
    data_version: str | None = Field(default=None, min_length=1, max_length=64)


class ReportAnswer(Answer):
    """`counted`: False where it is not later than what was known of that partition: then nothing moved."""

    asset: str
    partition: str | None
    counted: bool


class CacheCleared(Answer):
    """`forgotten`: how many makings were known."""

    asset: str
    partition: str | None
    forgotten: int


class AssetCounts(Answer):
    """Over the partitions of an asset; without partitions `partitions` is 1. `exhausted`: those that lapsed and are not
    refreshed any more, since all attempts of `on_lapse` failed."""

    partitions: int
    materialized: int
    failed: int
    in_progress: int
    exhausted: int = 0


class AssetAnswer(Answer):
    """An asset as declared, and its state. `external`: known by reports alone.
    `run_id`, `metadata`, `data_version` and `made_by` (the version of the code
    that ran) are those of the latest materialization. `code_version`: of the code in force; `outdated`: that is another
    than `made_by`."""

    name: str
    doc: str
    group: str | None
    partitions: str | None
    upstream: tuple[str, ...]
    downstream: tuple[str, ...]
    automation: str | None
    external: bool = False
    tags: dict[str, str]
    file: str | None
    line: int | None
    counts: AssetCounts
    materialized_at: float | None
    run_id: int | None
    metadata: Json
    code_version: str | None
    made_by: str | None
    outdated: bool
    data_version: str | None
    freshness: FreshnessAnswer | None


class PartitionSetAnswer(Answer):
    """A partition set; `count`: its live keys."""

    name: str
    kind: Literal["dynamic", "static", "time", "multi"]
    count: int
    assets: tuple[str, ...]


class VersionsAnswer(Answer):
    """Of the last materialization of a partition: of its data, and of the code that made it. `outdated`: the code in
    force is another."""

    data: str | None
    code: str | None
    outdated: bool


class PartitionAnswer(Answer):
    """A partition. `number`: what stands for the key in the store. `states`: by asset of the set; `versions`: by those
    that have made it."""

    key: str
    number: int
    added_at: float | None
    metadata: dict[str, Json]
    states: dict[str, Literal["missing", "materialized", "failed", "in_progress"]]
    versions: dict[str, VersionsAnswer]


class PartitionsPage(Answer):
    """Partitions in order of their numbers; `next`: give it as `after` for the page that follows, None at the end."""

    set: str
    partitions: tuple[PartitionAnswer, ...]
    next: int | None


class AddPartitionsBody(Body):
    """Keys with their metadata."""

    keys: dict[str, dict[str, Json]] = Field(min_length=1)


class DeletePartitionsBody(Body):
    """Keys to take out."""

    keys: tuple[str, ...] = Field(min_length=1)


class PartitionsChanged(Answer):
    """How many keys were new, or were there to delete."""

    set: str
    changed: int
