"""Runs, their steps, and events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from freshet.definitions.names import PRIORITY_MAX
from freshet.http.models.base import Answer, Body, Json, RunState, StepState

__all__ = [
    "ArtifactAnswer",
    "BlockedAnswer",
    "CallBody",
    "CancelItemBody",
    "EventAnswer",
    "EventsPage",
    "ItemAnswer",
    "ItemState",
    "MapAnswer",
    "MaterializeBody",
    "Priority",
    "RunAnswer",
    "RunsAdmitted",
    "StepAnswer",
    "SubRunAnswer",
]


class StepAnswer(Answer):
    """A step of a run. `attempt`: how often it was started; `not_before`: the end of its back-off; `cached`: it did not
    run, since that run had made before what it was to make."""

    position: int
    name: str
    state: StepState
    attempt: int
    failures: int
    not_before: float | None
    started_at: float | None
    ended_at: float | None
    error: Json
    metadata: Json
    cached: int | None


class SubRunAnswer(Answer):
    """A run that the step at `position` of another asked for (`ctx.call`)."""

    id: int
    position: int
    target: str
    partition: str | None
    state: RunState


class BlockedAnswer(Answer):
    """What holds a run up. `daemon`: it starts nothing now; `executor`: all its slots are taken; `overlap`: another run
    makes the same; `pause`: of a pool; `pool`, `rate`: of a pool; `retry`: a step's back-off; `run`: runs that go
    before it, or that its steps have asked for; `runs`, `tag`: limits of runs; `step`: steps above it in the same run.
    `name`: of the pool, tag (`key=value`), asset, job or executor, or the number of the run."""

    kind: Literal["daemon", "executor", "overlap", "pause", "pool", "rate", "retry", "run", "runs", "step", "tag"]
    name: str | None
    text: str


class RunAnswer(Answer):
    """A run and its steps in order. `blocked`: why none of its steps goes on, while it waits; `blocked_by`: its text.
    `depth`: how many automatic runs led to it. `condition`: names the condition that asked for it, see `freshet why`.
    `parent`: the run of which a step asked for it. `sub_runs`: of one run alone, the last 1,000 that its steps asked
    for."""

    id: int
    kind: Literal["asset", "job"]
    target: str
    set: str | None
    partition: str | None
    state: RunState
    priority: int
    params: dict[str, Json]
    tags: dict[str, str]
    run_key: str | None
    origin: str
    version: str | None
    interruptions: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    error: Json
    steps: tuple[StepAnswer, ...]
    blocked_by: str | None = None
    blocked: BlockedAnswer | None = None
    depth: int = 0
    condition: str | None = None
    parent: int | None = None
    sub_runs: tuple[SubRunAnswer, ...] = ()

    @property
    def ended(self) -> bool:
        """Nothing more will come of it. An interrupted run starts again."""
        return self.state in ("succeeded", "failed", "canceled")


Priority = Annotated[int, Field(ge=-PRIORITY_MAX, le=PRIORITY_MAX)]


class MaterializeBody(Body):
    """`partition`: its key, for assets with partitions."""

    assets: tuple[str, ...] = Field(min_length=1)
    partition: str | None = None
    upstream: bool = False
    downstream: bool = False
    priority: Priority = 0
    tags: dict[str, str] = Field(default_factory=dict[str, str])


class CallBody(Body):
    """The parameters of a job; they are validated before its code runs. `texts`: further ones as somebody typed them:
    JSON, or else text; a text, too, where the job takes no such JSON."""

    params: dict[str, Json] = Field(default_factory=dict[str, Json])
    texts: dict[str, str] = Field(default_factory=dict[str, str])
    priority: Priority = 0
    tags: dict[str, str] = Field(default_factory=dict[str, str])


class ArtifactAnswer(Answer):
    """What a step kept to be looked at. `file`: its name under `runs/ID/artifacts/`, with its media type and bytes; a
    link has `href` instead."""

    at: float
    step: str
    attempt: int
    name: str
    kind: Literal["markdown", "table", "link", "image"]
    file: str | None
    media: str | None
    size: int | None
    href: str | None


ItemState = Literal["waiting", "running", "retrying", "succeeded", "failed", "canceled"]


class ItemAnswer(Answer):
    """An item of a `ctx.map`, by its number from 0. `attempts`: 0 where it had been made before; `seconds`: of the last
    one that ended; `cached`: the run that had made it, where it was taken from the cache."""

    number: int
    state: ItemState
    attempts: int = 0
    at: float | None = None
    seconds: float | None = None
    error: str | None = None
    cached: int | None = None


class MapAnswer(Answer):
    """A call of `ctx.map`, the `call`-th of the step at `position`, from 0. `name`: of the function; `counts`: items by
    state, those that are none left out."""

    position: int
    step: str
    call: int
    name: str
    total: int
    counts: dict[ItemState, int]
    items: tuple[ItemAnswer, ...]


class CancelItemBody(Body):
    """Which item to end."""

    position: Annotated[int, Field(ge=0)]
    call: Annotated[int, Field(ge=0)]
    item: Annotated[int, Field(ge=0)]


class RunsAdmitted(Answer):
    """Runs that are durable as queued or started."""

    runs: tuple[int, ...]


class EventAnswer(Answer):
    """Something that happened, in the order of commits (`seq`); events of one transaction share `txn`."""

    seq: int
    txn: int
    at: float
    type: str
    asset: str | None
    set: str | None
    partition: int | None
    run_id: int | None
    tick_id: int | None
    data: Json


class EventsPage(Answer):
    """`next`: give it as `after` to go on."""

    events: tuple[EventAnswer, ...]
    next: int
