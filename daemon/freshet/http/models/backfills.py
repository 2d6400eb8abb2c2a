"""Backfills."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from freshet.http.models.base import Answer, Body
from freshet.http.models.runs import Priority

__all__ = ["BackfillAnswer", "BackfillAssetAnswer", "BackfillBody", "BackfillSelect", "BackfillState"]

BackfillSelect = Literal["partitions", "all", "missing", "failed"]
BackfillState = Literal["running", "paused", "succeeded", "failed", "canceled"]


class BackfillBody(Body):
    """`partitions`: a range `A..B` or keys `K1,K2` of the first asset's set, with `select` "partitions" alone; of a set
    of several dimensions `day=A..B|region=K`; dynamic keys go by when they were first added. `upstream`, `downstream`:
    and what lies above and below."""

    assets: tuple[str, ...] = Field(min_length=1)
    select: BackfillSelect = "partitions"
    partitions: str | None = Field(default=None, max_length=100_000)
    upstream: bool = False
    downstream: bool = False
    single_run: bool = False
    priority: Priority = 0
    tags: dict[str, str] = Field(default_factory=dict[str, str])


class BackfillAssetAnswer(Answer):
    """Partitions of one asset. `blocked`: below a failure, not asked for; `left`: still to be done, those in flight
    among them."""

    asset: str
    wanted: int
    done: int
    failed: int
    in_flight: int
    blocked: int
    left: int


class BackfillAnswer(Answer):
    """A backfill as it stands. `runs`: under way; `eta`: seconds to go, by the rate of the last minutes;
    `planned_runs`, `notes` (what of the range is not there): only when it has just begun. `retried_by`: of one
    that has ended and is asked for by its id, the last backfill that was begun to make up for it."""

    id: int
    state: BackfillState
    assets: tuple[str, ...]
    select: BackfillSelect
    partitions: str | None
    upstream: bool
    downstream: bool
    single_run: bool
    retry_of: int | None
    priority: int
    tags: dict[str, str]
    created_at: float
    ended_at: float | None
    error: str | None
    progress: tuple[BackfillAssetAnswer, ...]
    runs: tuple[int, ...]
    eta: float | None
    planned_runs: int | None = None
    notes: tuple[str, ...] = ()
    retried_by: int | None = None

    @property
    def ended(self) -> bool:
        """Nothing more will come of it."""
        return self.state not in ("running", "paused")

    def total(self, what: Literal["wanted", "done", "failed", "in_flight", "blocked", "left"]) -> int:
        """Over all assets."""
        return sum(int(getattr(one, what)) for one in self.progress)
