"""What goes into the store and what comes out: frozen values, no SQL.

Assets, sets and tickers go by name here; numbers of partitions are the store's. `partition` is a number
(0: without partitions) and `key` its text, None without one. Times are seconds since 1970, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from freshet.definitions.outcome import Json

__all__ = [
    "Admission",
    "Admitted",
    "AssetStateRow",
    "AutomationCommit",
    "ConditionChunk",
    "DroppedRequest",
    "Event",
    "EventType",
    "Finished",
    "FreshnessChange",
    "FreshnessRow",
    "InputNeed",
    "LedgerDelta",
    "LedgerEntry",
    "PartitionDelta",
    "QueuedStep",
    "Recovery",
    "ReportedMaterialization",
    "RunRow",
    "RunState",
    "RunToAdmit",
    "Started",
    "StepResult",
    "StepRow",
    "StepState",
    "StepToAdmit",
    "StepToRun",
    "TickCommit",
    "TickError",
    "TickResult",
    "TickerRow",
    "ValueRef",
]

RunState = Literal["queued", "started", "succeeded", "failed", "canceling", "canceled", "interrupted"]
StepState = Literal["queued", "started", "retrying", "succeeded", "failed", "canceled", "interrupted", "skipped"]
EventType = Literal[
    "requested",  # asset+partition is in a queued run
    "started",  # its step began (also directly, without `requested`, where capacity was free)
    "materialized",
    "failed",  # for good: no attempts left
    "released",  # canceled or skipped: no longer in progress, neither made nor failed
    "partition_added",
    "partition_deleted",
    "freshness_warned",
    "freshness_lapsed",
    "freshness_restored",
    "run_succeeded",
    "run_failed",
    "run_canceled",
    "run_interrupted",
    "ticker_failing",
    "ticker_recovered",
    "ticker_quarantined",
    "definitions_loaded",
]


@dataclass(frozen=True, slots=True)
class Event:
    """One row of what happened. `idle`: for materialized, failed and released, whether no other active step holds
    the same asset and partition, so that it is no longer in progress."""

    seq: int
    txn: int
    at: float
    type: str
    asset: str | None = None
    set: str | None = None
    partition: int | None = None
    run_id: int | None = None
    tick_id: int | None = None
    idle: bool = True
    data: Json = None


@dataclass(frozen=True, slots=True)
class ValueRef:
    """A kept value: `path` relative to `state_dir/values`, its I/O manager, bytes and hex BLAKE2b-128."""

    path: str
    io: str
    size: int
    digest: str


# --- ticks ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TickerRow:
    """A ticker as remembered."""

    id: int
    kind: str
    name: str
    cursor: Json
    revision: int
    ledger_revision: int
    last_tick: int
    paused: bool
    quarantined: str | None
    failures: int
    retry_at: float | None
    last_error: Json
    last_tick_at: float | None
    last_ok_at: float | None
    ticks: int
    idle_ticks: int
    refused: int


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """`digest`: 16 bytes of the key; `version`: 8 bytes of what stood there; `key`: its text."""

    digest: bytes
    version: bytes
    key: str


@dataclass(frozen=True, slots=True)
class LedgerDelta:
    """Entries to put (insert or replace) and digests to remove."""

    put: tuple[LedgerEntry, ...] = ()
    remove: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class PartitionDelta:
    """Keys to add (with metadata) to a dynamic set, and keys to delete from it."""

    set: str
    add: tuple[tuple[str, dict[str, Json]], ...] = ()
    delete: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepToAdmit:
    """A step of a run: an asset (or the job), and the positions in the run that must have succeeded before it.

    `partitioned`: False for an asset without partitions in a run that has one (`materialize --downstream`): the
    step's partition is then 0 and its key None.
    """

    name: str
    needs: tuple[int, ...] = ()
    partitioned: bool = True


@dataclass(frozen=True, slots=True)
class RunToAdmit:
    """A run asked for. `steps` in dependency order. One of `partition` (a number) and `key` (a text of `set`)
    names the partition; neither: without partitions."""

    kind: Literal["asset", "job"]
    target: str
    steps: tuple[StepToAdmit, ...]
    origin: str
    set: str | None = None
    key: str | None = None
    partition: int | None = None
    run_key: str | None = None
    params: dict[str, Json] = field(default_factory=dict[str, Json])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    priority: int = 0


@dataclass(frozen=True, slots=True)
class ReportedMaterialization:
    """An asset made outside Freshet."""

    asset: str
    key: str | None = None
    metadata: dict[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class TickError:
    """Why a tick failed."""

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class InputNeed:
    """An upstream whose value a step takes, and how its partitions are found. `set`: the upstream's partition set,
    None without partitions."""

    asset: str
    mapping: Literal["identity", "all", "last"]
    set: str | None = None


@dataclass(frozen=True, slots=True)
class TickCommit:
    """The outcome of one tick, whole: it commits in one transaction or not at all.

    Conditional on the ticker's `revision` and on `tick_id` being later than its last. `start`: how many of
    `runs`, from the front, have a slot reserved and are committed as already started.
    `final`: False for a checkpoint, after which the tick goes on under the next tick id.
    """

    ticker: int
    tick_id: int
    revision: int
    started_at: float
    ended_at: float
    cursor: Json = None
    cursor_changed: bool = False
    ledger: LedgerDelta = LedgerDelta()
    partitions: tuple[PartitionDelta, ...] = ()
    runs: tuple[RunToAdmit, ...] = ()
    reports: tuple[ReportedMaterialization, ...] = ()
    skip: str | None = None
    start: int = 0
    needs: dict[str, tuple[InputNeed, ...]] = field(default_factory=dict[str, tuple[InputNeed, ...]])
    version: str = ""
    final: bool = True


@dataclass(frozen=True, slots=True)
class DroppedRequest:
    """A request whose run key is taken, and by which run."""

    target: str
    key: str | None
    run_key: str
    run_id: int


@dataclass(frozen=True, slots=True)
class StepToRun:
    """All a launch needs of a step that is committed as started.

    `inputs`: by upstream asset, the valid values by partition key (None for the one without partitions); `missing`:
    the keys its mapping names that have no value. Identity and last are read in the transaction that starts the
    step; what `bulk` names (all partitions) is read afterwards on a read connection, so as not to hold the writer:
    it sees that transaction and perhaps more.
    """

    run_id: int
    position: int
    name: str
    kind: Literal["asset", "job"]
    attempt: int
    failures: int
    set: str | None
    partition: int
    key: str | None
    partition_metadata: dict[str, Json]
    params: dict[str, Json]
    tags: dict[str, str]
    inputs: dict[str, dict[str | None, ValueRef]] = field(default_factory=dict[str, dict[str | None, ValueRef]])
    missing: dict[str, tuple[str | None, ...]] = field(default_factory=dict[str, tuple[str | None, ...]])
    bulk: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of one admitted run: queued, or its first steps started."""

    run_id: int
    request: int
    priority: int
    started: tuple[StepToRun, ...] = ()


@dataclass(frozen=True, slots=True)
class TickResult:
    """What a tick's commit did. `events` are the transaction's, in order."""

    admitted: tuple[Admission, ...]
    dropped: tuple[DroppedRequest, ...]
    events: tuple[Event, ...]
    ledger_revision: int
    partitions_added: int = 0


# --- runs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step as remembered."""

    run_id: int
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


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as remembered, with its steps in order."""

    id: int
    kind: Literal["asset", "job"]
    target: str
    set: str | None
    partition: int
    key: str | None
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
    steps: tuple[StepRow, ...] = ()


@dataclass(frozen=True, slots=True)
class StepResult:
    """How an attempt of a step ended, as the worker (or the loss of it) says.

    `outcome`: succeeded; failed (counts against retries); lost (the launch was not received: the attempt is
    returned and the step queued again); interrupted; canceled. `retry_at`: set by the engine where a failed step
    has retries left.
    """

    run_id: int
    position: int
    attempt: int
    outcome: Literal["succeeded", "failed", "lost", "interrupted", "canceled"]
    at: float
    value: ValueRef | None = None
    metadata: dict[str, Json] = field(default_factory=dict[str, Json])
    error: Json = None
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class QueuedStep:
    """A step that waits: for a slot, or (`not_before`) for its back-off."""

    run_id: int
    position: int
    name: str
    priority: int
    not_before: float | None


@dataclass(frozen=True, slots=True)
class Finished:
    """What a step's end did. `queued`: the steps of the run that wait from now on because of it: those that became
    ready, and the step itself where it is tried again (`not_before` set for a retry). `refused`: the attempt was not
    the one in force, nothing was written."""

    run_id: int
    run_state: RunState
    queued: tuple[QueuedStep, ...]
    events: tuple[Event, ...]
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """What a start transaction did: steps to launch; those that were canceled meanwhile are left out."""

    steps: tuple[StepToRun, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Admitted:
    """What an admission outside a tick did."""

    runs: tuple[Admission, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What start-up found: steps queued again, runs failed because their interruption budget was spent."""

    requeued: int
    failed: tuple[int, ...]
    events: tuple[Event, ...]


# --- assets --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AssetStateRow:
    """The remembered state of one partition of an asset."""

    asset: str
    partition: int
    materialized_seq: int | None
    materialized_at: float | None
    failed_seq: int | None
    in_progress: bool


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


@dataclass(frozen=True, slots=True)
class ConditionChunk:
    """One chunk of a condition node's memory: `bits` is a serialized Roaring bitmap; empty deletes the row."""

    asset: str
    node: str
    chunk: int
    bits: bytes
