"""Runs: asked for, admitted, started, ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from freshet.definitions.flow import Overlap
from freshet.definitions.outcome import Json
from freshet.store.records.events import Event
from freshet.store.records.sets import PartitionRef

__all__ = [
    "Admission",
    "Admitted",
    "CalledRun",
    "Caller",
    "Cause",
    "CheckEnd",
    "DroppedRequest",
    "Finished",
    "ImportedCheck",
    "InputNeed",
    "QueuedRun",
    "QueuedStep",
    "Recovery",
    "RunGroup",
    "RunRow",
    "RunState",
    "RunToAdmit",
    "Started",
    "StepResult",
    "StepRow",
    "StepState",
    "StepToAdmit",
    "StepToRun",
    "SubRunRow",
    "ValueRef",
]

RunGroup = tuple[str, str, str | None, str | None]
"""Runs of the same origin, target, set and key of a partition."""

Cause = tuple[int, int | None]
"""Of what is asked for: how many automatic runs led to it, and the last of these."""

RunState = Literal["queued", "started", "succeeded", "failed", "canceling", "canceled", "interrupted"]


StepState = Literal["queued", "started", "retrying", "succeeded", "failed", "canceled", "interrupted", "skipped"]


@dataclass(frozen=True, slots=True)
class ValueRef:
    """A kept value: `path` relative to `state_dir/values`, its I/O manager, bytes and hex BLAKE2b-128."""

    path: str
    io: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class InputNeed:
    """An upstream whose value a step takes, and how its partitions are found. `set`: the upstream's partition set,
    None without partitions. `some`: those that the engine names once the step has started."""

    asset: str
    mapping: Literal["identity", "all", "last", "some"]
    set: str | None = None


@dataclass(frozen=True, slots=True)
class StepToAdmit:
    """A step of a run: an asset (or the job), and the positions in the run that must have succeeded before it.

    `partitioned`: False for an asset without partitions in a run that has one (`materialize --downstream`): the
    step's partition is then 0 and its key None. `at`: a partition of its own, in a run that has none; by its number,
    and a window of time by its key, too. `check_of`: it is a check of this asset. `alone`: it does not begin while
    another run makes the same.
    """

    name: str
    needs: tuple[int, ...] = ()
    partitioned: bool = True
    at: PartitionRef | None = None
    check_of: str | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class RunToAdmit:
    """A run asked for. `steps` in dependency order. One of `partition` (a number) and `key` (a text of `set`)
    names the partition; neither: without partitions. Both: a window of time, whose number follows from its key; it is
    remembered when it is first used, and so is a combination, whose dimensions are `parts`.

    `depth`: how many automatic runs led to it, and `cause`, the last of these. `condition`: which asked for it, see
    `AutomationCommit`.

    `in_order`: the runs of its group go one after the other; `held`: one of them has not ended, so no step begins.
    `begin`: so many of its first steps begin at once, whatever else is begun: what they want is reserved for them.
    `overlap`: of a sensor, what becomes of it while another of its group has not ended. `policy`: of its target,
    whoever asks: `skip`, `latest` or `cancel`; what `queue` asks for is not decided when a run is admitted."""

    kind: Literal["asset", "job"]
    target: str
    steps: tuple[StepToAdmit, ...]
    origin: str
    set: str | None = None
    key: str | None = None
    partition: int | None = None
    parts: tuple[PartitionRef, ...] = ()
    run_key: str | None = None
    params: dict[str, Json] = field(default_factory=dict[str, Json])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    priority: int = 0
    in_order: bool = False
    held: bool = False
    begin: int = 0
    overlap: Overlap = "allow"
    policy: Overlap = "allow"
    depth: int = 0
    cause: int | None = None
    condition: str | None = None

    @property
    def group(self) -> RunGroup:
        """The runs that it can overlap with."""
        return self.origin, self.target, self.set, self.key


@dataclass(frozen=True, slots=True)
class DroppedRequest:
    """A request whose run key is taken, and by which run (below zero: by the request of that number, which waits).

    `overlap`: it gave way to that run, or (0) to another request of its tick; `chain`: too many automatic runs, that
    one the last of them, led to it. It took no run key then."""

    target: str
    key: str | None
    run_key: str
    run_id: int
    reason: Literal["run_key", "overlap", "chain"] = "run_key"


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
    kind: Literal["asset", "job", "check"]
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
    target: str = ""
    origin: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of one admitted run: queued, or its first steps started. `at`: the numbers of its steps' partitions;
    empty where none has any. `canceled`: the runs that gave way to it."""

    run_id: int
    request: int
    priority: int
    started: tuple[StepToRun, ...] = ()
    at: tuple[int, ...] = ()
    canceled: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Admitted:
    """What an admission outside a tick did."""

    runs: tuple[Admission, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step as remembered. `cached`: the run that had made before what it was to make, so that it did not run."""

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
    cached: int | None = None


@dataclass(frozen=True, slots=True)
class SubRunRow:
    """A run that the step at `position` of another asked for."""

    id: int
    position: int
    target: str
    key: str | None
    state: RunState


@dataclass(frozen=True, slots=True)
class Caller:
    """The attempt of a step that asks for a run. `call`: which of its calls; `waits`: it goes on when the run has
    ended, and the run is canceled with it, or once it has failed for good."""

    run_id: int
    position: int
    attempt: int
    call: str
    waits: bool


@dataclass(frozen=True, slots=True)
class CalledRun:
    """What a call came to: the run as it stands, and how it was `admitted`, if it was now. `refused`: the caller is not
    in force any more, or is being canceled. Without a run otherwise: too many automatic runs led to it, or it gave way
    to the one `before` it."""

    run_id: int | None
    state: RunState | None = None
    admitted: tuple[Admission, ...] = ()
    events: tuple[Event, ...] = ()
    refused: bool = False
    before: int | None = None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as remembered, with its steps in order. `depth`, `condition`: as in `RunToAdmit`. `parent`: of which run
    a step asked for it; `calls`: its own steps wait, or
    have waited, for runs; `sub_runs`: those that its steps asked for, where one run alone is read."""

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
    depth: int = 0
    condition: str | None = None
    parent: int | None = None
    calls: bool = False
    sub_runs: tuple[SubRunRow, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckEnd:
    """What a check found. `blocking`: as it is declared."""

    passed: bool
    severity: Literal["error", "warn"] = "error"
    blocking: bool = False

    @property
    def stops(self) -> bool:
        """Whether nothing downstream may go on."""
        return self.blocking and not self.passed and self.severity == "error"


@dataclass(frozen=True, slots=True)
class ImportedCheck:
    """A check's result from elsewhere: `name` begins with its source, as `dbt:unique_orders_id`. `key`: of the
    partition; None of a partitioned asset is all of them together."""

    asset: str
    name: str
    passed: bool
    severity: Literal["error", "warn"] = "error"
    key: str | None = None
    metadata: dict[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class StepResult:
    """How an attempt of a step ended, as the worker (or the loss of it) says.

    `outcome`: succeeded; failed (counts against retries); lost (the launch was not received: the attempt is
    returned and the step queued again); interrupted; canceled. `retry_at`: set by the engine where a failed step
    has retries left. `version`: of the data, None where nothing is known; `code`: of what ran. `cached`: the run that
    made it before, so that nothing ran; `cache_key`: under which it can be taken again. `check`: what a check found;
    one that failed to say has failed. `gates`: the names of the blocking checks of the asset made, or checked.
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
    version: str | None = None
    code: str | None = None
    cached: int | None = None
    cache_key: str | None = None
    check: CheckEnd | None = None
    gates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueuedStep:
    """A step that waits: for a slot, or (`not_before`) for its back-off. `partition`: its number."""

    run_id: int
    position: int
    name: str
    priority: int
    not_before: float | None
    partition: int = 0


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """A run that has not ended. `begun`: a step of it is under way, or has been."""

    id: int
    origin: str
    priority: int
    tags: dict[str, str]
    begun: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """What a step's end did. `queued`: the steps of the run that wait from now on because of it: those that became
    ready, and the step itself where it is tried again (`not_before` set for a retry). `refused`: the attempt was not
    the one in force, nothing was written. `canceled`: runs that it had asked for, and that end with it."""

    run_id: int
    run_state: RunState
    queued: tuple[QueuedStep, ...]
    events: tuple[Event, ...]
    refused: bool = False
    canceled: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """What a start transaction did: steps to launch; those that were canceled meanwhile are left out. `busy`: those
    whose partition another run makes meanwhile; they wait further."""

    steps: tuple[StepToRun, ...]
    events: tuple[Event, ...]
    busy: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Recovery:
    """What start-up found: steps queued again, runs failed because their interruption budget was spent, and steps (run,
    position) that went on meanwhile."""

    requeued: int
    failed: tuple[int, ...]
    events: tuple[Event, ...]
    kept: tuple[tuple[int, int], ...] = ()
