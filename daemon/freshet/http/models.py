"""What goes over the API, as typed models: shared by the server and the client.

Times are seconds since 1970 in UTC, durations are seconds. Answers are built when first used, so that importing all of
them costs the CLI little.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from freshet.definitions.names import PRIORITY_MAX

__all__ = [
    "AddPartitionsBody",
    "AssetAnswer",
    "AssetCounts",
    "CallBody",
    "CursorAnswer",
    "CursorBody",
    "DeletePartitionsBody",
    "ErrorAnswer",
    "ErrorBody",
    "EventAnswer",
    "EventsPage",
    "FreshnessAnswer",
    "HostAnswer",
    "MaterializeBody",
    "PartitionAnswer",
    "PartitionSetAnswer",
    "PartitionsChanged",
    "PartitionsPage",
    "ProblemAnswer",
    "RunAnswer",
    "RunsAdmitted",
    "SensorAnswer",
    "StatusAnswer",
    "StepAnswer",
    "TickAnswer",
    "TickBody",
    "TickRowAnswer",
]

Json = Any
RunState = Literal["queued", "started", "succeeded", "failed", "canceling", "canceled", "interrupted"]
StepState = Literal["queued", "started", "retrying", "succeeded", "failed", "canceled", "interrupted", "skipped"]
FreshnessState = Literal["fresh", "warn", "lapsed"]


class _Answer(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True)


class _Body(BaseModel):
    """What a client sends: an unknown key is a mistake. Built at once: fastapi asks for it when it meets them."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ErrorBody(_Answer):
    """`type`: the name in Freshet's tree of errors. `hint`: what to do. `file`, `line`: where the mistake stands."""

    type: str
    message: str
    hint: str = ""
    file: str | None = None
    line: int | None = None


class ErrorAnswer(_Answer):
    """Every answer of status 400 and above."""

    error: ErrorBody


class ProblemAnswer(_Answer):
    """What is wrong with a plugin file."""

    message: str
    hint: str = ""
    file: str | None = None
    line: int | None = None
    traceback: str = ""


class HostAnswer(_Answer):
    """The code host and its children, by process id."""

    pid: int
    start_method: str
    evaluators: dict[str, int]
    workers_idle: int
    workers_busy: int


class StatusAnswer(_Answer):
    """The daemon at a glance. `lapsed`: assets past their freshness; `troubled`: sensors that fail or are quarantined;
    `load_problems`: why the last load of plugins was not put in force."""

    state: Literal["starting", "ready", "stopping"]
    version: str
    definitions_version: str
    started_at: float
    now: float
    queued: int
    running: int
    workers: int
    refused_ticks: int
    problem: str | None
    host: HostAnswer | None
    loops: dict[str, float | None]
    assets: int
    jobs: int
    sensors: int
    paused: tuple[str, ...]
    troubled: tuple[str, ...]
    lapsed: tuple[str, ...]
    load_problems: tuple[ProblemAnswer, ...]
    load_warnings: tuple[ProblemAnswer, ...]


class FreshnessAnswer(_Answer):
    """The policy of an asset and where it stands. `deadline`: when it lapses, or lapsed."""

    within: float
    warn: float | None
    state: FreshnessState | None
    baseline_at: float | None
    deadline: float | None


class AssetCounts(_Answer):
    """Over the partitions of an asset; without partitions `partitions` is 1."""

    partitions: int
    materialized: int
    failed: int
    in_progress: int


class AssetAnswer(_Answer):
    """An asset as declared, and its state. `run_id` and `metadata` are those of the latest materialization."""

    name: str
    doc: str
    group: str | None
    partitions: str | None
    upstream: tuple[str, ...]
    downstream: tuple[str, ...]
    automation: str | None
    tags: dict[str, str]
    file: str | None
    line: int | None
    counts: AssetCounts
    materialized_at: float | None
    run_id: int | None
    metadata: Json
    freshness: FreshnessAnswer | None


class SensorAnswer(_Answer):
    """A sensor as declared, and as the engine sees it. `isolated`: it has an evaluator of its own."""

    name: str
    type: str
    doc: str
    status: Literal["ok", "failing", "paused", "quarantined"]
    in_flight: bool
    interval: float
    timeout: float
    target: str | None
    partitions: str | None
    options: dict[str, Json]
    due_at: float | None
    ticks: int
    idle_ticks: int
    failures: int
    last_tick_at: float | None
    last_error: Json
    quarantined: str | None
    isolated: bool
    revision: int
    file: str | None
    line: int | None


class CursorAnswer(_Answer):
    """What a sensor remembers; `revision` counts the changes by hand."""

    sensor: str
    cursor: Json
    revision: int


class CursorBody(_Body):
    """A new cursor."""

    cursor: Json


class TickBody(_Body):
    """A tick by hand. `cursor` replaces the remembered one, in a dry run only; left out, it stays."""

    dry_run: bool = False
    full: bool = True
    cursor: Json = None


class TickAnswer(_Answer):
    """What a tick by hand did, or would do."""

    sensor: str
    status: str
    dry_run: bool
    cursor_before: Json
    cursor: Json
    runs: tuple[Json, ...]
    dropped: tuple[Json, ...]
    partitions: tuple[Json, ...]
    reports: tuple[Json, ...]
    ledger_added: int
    ledger_removed: int
    skip: str | None
    error: Json


class TickRowAnswer(_Answer):
    """A tick that had an effect or failed, as remembered. `dropped`: requests whose run key was taken."""

    id: int
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


class StepAnswer(_Answer):
    """A step of a run. `attempt`: how often it was started; `not_before`: the end of its back-off."""

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


class RunAnswer(_Answer):
    """A run and its steps in order. `blocked_by`: why it has not started, while it is queued."""

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

    @property
    def ended(self) -> bool:
        """Nothing more will come of it. An interrupted run starts again."""
        return self.state in ("succeeded", "failed", "canceled")


Priority = Annotated[int, Field(ge=-PRIORITY_MAX, le=PRIORITY_MAX)]


class MaterializeBody(_Body):
    """`partition`: its key, for assets with partitions."""

    assets: tuple[str, ...] = Field(min_length=1)
    partition: str | None = None
    upstream: bool = False
    downstream: bool = False
    priority: Priority = 0
    tags: dict[str, str] = Field(default_factory=dict[str, str])


class CallBody(_Body):
    """The parameters of a job; they are validated before its code runs."""

    params: dict[str, Json] = Field(default_factory=dict[str, Json])
    priority: Priority = 0
    tags: dict[str, str] = Field(default_factory=dict[str, str])


class RunsAdmitted(_Answer):
    """Runs that are durable as queued or started."""

    runs: tuple[int, ...]


class PartitionSetAnswer(_Answer):
    """A partition set; `count`: its live keys."""

    name: str
    kind: Literal["dynamic", "static", "time", "multi"]
    count: int
    assets: tuple[str, ...]


class PartitionAnswer(_Answer):
    """A partition. `number`: what stands for the key in the store. `states`: by asset of the set."""

    key: str
    number: int
    added_at: float | None
    metadata: dict[str, Json]
    states: dict[str, Literal["missing", "materialized", "failed", "in_progress"]]


class PartitionsPage(_Answer):
    """Partitions in order of their numbers; `next`: give it as `after` for the page that follows, None at the end."""

    set: str
    partitions: tuple[PartitionAnswer, ...]
    next: int | None


class AddPartitionsBody(_Body):
    """Keys with their metadata."""

    keys: dict[str, dict[str, Json]] = Field(min_length=1)


class DeletePartitionsBody(_Body):
    """Keys to take out."""

    keys: tuple[str, ...] = Field(min_length=1)


class PartitionsChanged(_Answer):
    """How many keys were new, or were there to delete."""

    set: str
    changed: int


class EventAnswer(_Answer):
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


class EventsPage(_Answer):
    """`next`: give it as `after` to go on."""

    events: tuple[EventAnswer, ...]
    next: int
