"""What is said on each channel of the code host: one TypedDict for each message, told apart by `op`.

    daemon  -> host     Open, Run, Cancel, CancelItem, Called, ForkEvaluator, Kill, Close
    host    -> daemon   Loading, Loaded, Idle, Received, Call, CallLeft, Ended, EvaluatorForked, EvaluatorEnded
    host    -> worker   Run, CancelItem and Called, the bytes passed on as they came
    worker  -> host     Ready (spawned ones), WorkerReceived, WorkerCall, WorkerLeft, WorkerEnded

A step is named by (run, position) and its attempt. Times are seconds. The evaluator's channel has its own vocabulary,
and so has the process for inline steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NotRequired, TypedDict

import orjson

__all__ = [
    "Call",
    "CallLeft",
    "Called",
    "Cancel",
    "CancelItem",
    "CheckData",
    "Close",
    "Ended",
    "ErrorData",
    "EvaluatorEnded",
    "EvaluatorForked",
    "ForkEvaluator",
    "FromHost",
    "FromWorker",
    "HostPlan",
    "Idle",
    "InputsFile",
    "Kill",
    "Loaded",
    "Loading",
    "Open",
    "ProblemData",
    "Ready",
    "Received",
    "Run",
    "ToHost",
    "ValueData",
    "WorkerCall",
    "WorkerEnded",
    "WorkerLeft",
    "WorkerReceived",
]


class ErrorData(TypedDict):
    """Why something failed. `traceback` begins in the user's code; empty where there is none to show.

    Of a step alone: `final`, another attempt is of no use; `after`, the seconds before one that it asks for.
    """

    type: str
    message: str
    traceback: str
    final: NotRequired[bool]
    after: NotRequired[float | None]


class ProblemData(TypedDict):
    """What is wrong with a plugin file, or worth a warning."""

    message: str
    hint: str
    file: str | None
    line: int | None
    traceback: str


class ValueData(TypedDict):
    """A kept value: `path` relative to the values folder, I/O manager, bytes, hex digest."""

    path: str
    io: str
    size: int
    digest: str


class CheckData(TypedDict):
    """What a check found; see `store.records.CheckEnd`."""

    passed: bool
    severity: Literal["error", "warn"]
    blocking: bool


# --- daemon -> host ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HostPlan:
    """How the daemon starts a host, on its command line. `parent`: the daemon's process id. `control`, `snapshot` and
    `keep` are descriptors; `snapshot` holds the plugins' texts, `keep` stays open in every child (the children's lock).
    """

    parent: int
    control: int
    snapshot: int
    state_dir: str
    keep: tuple[int, ...]

    def dumps(self) -> str:
        """As an argument."""
        return orjson.dumps(self).decode()

    @classmethod
    def loads(cls, text: str) -> HostPlan:
        """And back."""
        plan = cls(**orjson.loads(text))
        return replace(plan, keep=tuple(plan.keep))


class Open(TypedDict):
    """Keep workers waiting: as many as may run at once (the host adds a few spare ones)."""

    op: Literal["open"]
    workers: int


class InputsFile(TypedDict):
    """Inputs that are too many for a frame. Each line of the file is a JSON array: the key, and of its value the path,
    I/O manager, bytes and digest. `sections`: by upstream, the byte at which its lines begin, and how many there are.
    """

    path: str
    sections: dict[str, tuple[int, int]]


class Run(TypedDict):
    """Launch a step. `inputs`: by upstream, pairs of partition key (None without partitions) and value; what is in
    `inputs_file` instead has none here.

    `missing`: by upstream, the first keys that have no value; `missing_more`, how many others have none. `timezone`:
    of sets in time that name none. `target`, `origin`, `priority`: the run's.
    """

    op: Literal["run"]
    run: int
    position: int
    attempt: int
    step: str
    kind: Literal["asset", "job", "check"]
    key: str | None
    partition_metadata: dict[str, Any]
    params: dict[str, Any]
    tags: dict[str, str]
    target: str
    origin: str
    priority: int
    inputs: dict[str, list[tuple[str | None, ValueData]]]
    inputs_file: InputsFile | None
    missing: dict[str, list[str | None]]
    missing_more: dict[str, int]
    timezone: str


class Cancel(TypedDict):
    """SIGTERM to the step's processes, SIGKILL after `grace`."""

    op: Literal["cancel"]
    run: int
    position: int
    grace: float


class CancelItem(TypedDict):
    """End one item of the `call`-th `ctx.map` of a step. Passed on to the worker as it came."""

    op: Literal["cancel_item"]
    run: int
    position: int
    call: int
    item: int


class Called(TypedDict):
    """The answer to a `Call`: the run as it stands. `error`: why it failed, or (without a `sub_run`) is none. Passed on
    to the worker as it came."""

    op: Literal["called"]
    run: int
    position: int
    attempt: int
    number: int
    sub_run: int | None
    state: str
    error: dict[str, str] | None
    hint: str


class ForkEvaluator(TypedDict):
    """Start an evaluator; answered by `EvaluatorForked` with the same `label`."""

    op: Literal["evaluator"]
    label: str


class Kill(TypedDict):
    """SIGKILL an evaluator and all below it."""

    op: Literal["kill"]
    pid: int


class Close(TypedDict):
    """End all: SIGTERM to busy workers, SIGKILL after `grace`, then the host itself exits."""

    op: Literal["close"]
    grace: float


ToHost = Open | Run | Cancel | CancelItem | Called | ForkEvaluator | Kill | Close


# --- host -> daemon ------------------------------------------------------------------------------------------


class Loading(TypedDict):
    """This file is being executed: whom to blame for what does not end. Empty: all are loaded."""

    op: Literal["loading"]
    file: str


class Described(TypedDict):
    """What the plugins declare, as JSON of `definitions.wire`; whether it is sound is told by `Loaded`, later."""

    op: Literal["described"]
    definitions: Any


class Loaded(TypedDict):
    """The plugins are loaded. `definitions`: as in `Described`; None where that has told them."""

    op: Literal["loaded"]
    definitions: Any
    problems: list[ProblemData]
    warnings: list[ProblemData]
    start_method: Literal["fork", "spawn"]


class Idle(TypedDict):
    """How many workers wait."""

    op: Literal["idle"]
    workers: int


class Received(TypedDict):
    """A worker has the step; user code begins now."""

    op: Literal["received"]
    run: int
    position: int
    attempt: int
    pid: int


class Ended(TypedDict):
    """A launch is over. See `executors.base.StepEnd` for the outcomes."""

    op: Literal["ended"]
    run: int
    position: int
    attempt: int
    outcome: Literal["succeeded", "failed", "canceled", "not_received", "died", "interrupted"]
    value: ValueData | None
    metadata: dict[str, Any]
    error: ErrorData | None
    version: str | None
    code: str | None
    check: NotRequired[CheckData]


class WorkerCall(TypedDict):
    """A step asks for a run of `target`. `number`: counts the calls of this attempt; `call`: which one it is, the same
    in each attempt; `waits`: it goes on when the run has ended; `detached`: that run outlives it. Answered by
    `Called`."""

    op: Literal["call"]
    number: int
    call: str
    target: str
    params: dict[str, Any]
    partition: str | None
    waits: bool
    detached: bool


class Call(WorkerCall):
    """The same, as the host says it."""

    run: int
    position: int
    attempt: int


class WorkerLeft(TypedDict):
    """The step does not wait for the answer any more."""

    op: Literal["left"]
    number: int


class CallLeft(WorkerLeft):
    """The same, as the host says it."""

    run: int
    position: int
    attempt: int


class EvaluatorForked(TypedDict):
    """An evaluator runs. The frame carries two descriptors: its socket's other end, and its page (a memfd).

    With a `problem` there is none, and nothing comes along.
    """

    op: Literal["evaluator"]
    label: str
    pid: int
    problem: str | None


class EvaluatorEnded(TypedDict):
    """An evaluator is gone. `how`: "exit status 3", "killed by SIGSEGV"."""

    op: Literal["evaluator_ended"]
    pid: int
    how: str


FromHost = Loading | Described | Loaded | Idle | Received | Call | CallLeft | Ended | EvaluatorForked | EvaluatorEnded


# --- worker -> host ------------------------------------------------------------------------------------------


class Ready(TypedDict):
    """A spawned worker has loaded the plugins and waits. `problem`: it could not, and ends."""

    op: Literal["ready"]
    problem: str | None


class WorkerReceived(TypedDict):
    """The `Run` has arrived whole; user code begins after this is sent."""

    op: Literal["received"]


class WorkerEnded(TypedDict):
    """The step is done; `error` None means that it succeeded and that its value is kept. `version`: of the data, None
    where nothing is known; `code`: of what ran. `last`: a kept worker takes no other step. `check`: of
    a check, what it found."""

    op: Literal["ended"]
    value: ValueData | None
    metadata: dict[str, Any]
    error: ErrorData | None
    version: str | None
    code: str | None
    last: NotRequired[bool]
    check: NotRequired[CheckData]


FromWorker = Ready | WorkerReceived | WorkerCall | WorkerLeft | WorkerEnded
