"""What the engine asks of the other side, and what it hears back: one small interface, two implementations.

The real one is `executors.codehost` (processes); `testing.inline` runs the same plugins in this process and in
virtual time. Calls never block and never raise for what user code does; answers come through `Answers`, on the
event loop's thread, in no promised order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from freshet.definitions.graph import Definitions
from freshet.definitions.listen import Happenings
from freshet.definitions.outcome import Json
from freshet.host.sources import Sources
from freshet.store.records import (
    Cause,
    CheckEnd,
    HandledDelivery,
    LedgerDelta,
    LedgerEntry,
    PartitionDelta,
    ReportedMaterialization,
    StepToRun,
    TickError,
    ValueRef,
    WaitingDelivery,
)
from freshet.store.records.offences import Offence

__all__ = [
    "Answers",
    "CallEnd",
    "CodeHost",
    "DeliveryEnd",
    "HostStatus",
    "ItemRef",
    "LoadProblem",
    "LoadReport",
    "RequestedRun",
    "Sources",
    "StepCall",
    "StepEnd",
    "TickEnd",
    "TickOrder",
]


@dataclass(frozen=True, slots=True)
class LoadProblem:
    """What is wrong with a plugin file: `message`, `hint`, place and traceback, as far as known."""

    message: str
    hint: str = ""
    file: str | None = None
    line: int | None = None
    traceback: str = ""

    def __str__(self) -> str:
        """`FILE:LINE: message (hint)`."""
        place = "" if self.file is None else f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return f"{place}{self.message} ({self.hint})" if self.hint else place + self.message


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a host loaded. With problems, its definitions must not be put in force.

    `warnings`: for example the plugin that started a thread, which makes workers spawned instead of forked. `again`:
    how to make another host of the very same files, whatever has become of them since; `sources`: these files.
    """

    definitions: Definitions
    problems: tuple[LoadProblem, ...] = ()
    warnings: tuple[LoadProblem, ...] = ()
    start_method: Literal["fork", "spawn"] = "fork"
    again: Callable[[Answers], CodeHost] | None = None
    sources: Sources | None = None


@dataclass(frozen=True, slots=True)
class TickOrder:
    """Evaluate a sensor. `hints`: None for a full look. `ledger_revision`: what the store has; an evaluator whose
    cache stands elsewhere loads it again through `Answers.load_ledger`. `dry_run`: nothing will be committed, so the
    ledger delta is dropped and a checkpoint only collects."""

    tick_id: int
    sensor: str
    cursor: Json
    ledger_revision: int
    hints: tuple[str, ...] | None
    now: float
    timeout: float
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class RequestedRun:
    """A `RunRequest` as the sensor yielded it; the engine resolves and checks it. `cause`: None for what the whole look
    rests on."""

    target: str | None
    partition: str | None
    run_key: str | None
    params: dict[str, Json] = field(default_factory=dict[str, Json])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    priority: int = 0
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class DeliveryEnd:
    """What a look made of a delivery, and what it asks for because of it; see `definitions.delivery.Handled`."""

    id: int
    outcome: Literal["admitted", "filtered", "rejected", "failed", "later"]
    reason: str | None = None
    runs: tuple[RequestedRun, ...] = ()
    partitions: tuple[PartitionDelta, ...] = ()
    reports: tuple[ReportedMaterialization, ...] = ()
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class TickEnd:
    """How an evaluation ended.

    `checkpoint`: not ended: this part is to be committed and answered with `CodeHost.tick_committed`, and the look
    goes on under the `next_tick_id` given there. `abandoned`: the evaluator was killed for another's fault; start
    the tick again, it is no failure.

    `waiting`: nothing can come while the reason for the skip holds. `lag`: how many items it says it has not admitted,
    since when the oldest waits; `notice`: how it says that it stands. `deliveries`: each with what it asks for,
    which is not in `runs`, `partitions` and `reports` until the engine has made out which of it can be (`handled`).
    `cause`: of the events that the look was given, the deepest. `in_hand`: of a failure, the deliveries that the look
    had taken and not handled; None where nobody knows. `struck`: the look blocked its evaluator for good, or ended it.
    """

    tick_id: int
    sensor: str
    status: Literal["ok", "checkpoint", "failed", "timed_out", "later", "given_up", "abandoned"]
    cursor: Json = None
    cursor_changed: bool = False
    ledger: LedgerDelta = field(default_factory=LedgerDelta)
    partitions: tuple[PartitionDelta, ...] = ()
    runs: tuple[RequestedRun, ...] = ()
    reports: tuple[ReportedMaterialization, ...] = ()
    skip: str | None = None
    waiting: bool = False
    error: TickError | None = None
    after: float | None = None
    lag: tuple[int, float | None] | None = None
    notice: str | None = None
    deliveries: tuple[DeliveryEnd, ...] = ()
    handled: tuple[HandledDelivery, ...] = ()
    cause: Cause = (0, None)
    in_hand: tuple[int, ...] | None = None
    struck: bool = False


@dataclass(frozen=True, slots=True)
class ItemRef:
    """An item of the `call`-th `ctx.map` of the step at `position`, all counted from 0."""

    position: int
    call: int
    item: int


@dataclass(frozen=True, slots=True)
class StepCall:
    """A step under way asks for a run of `target`: see `host.messages.Call`."""

    run_id: int
    position: int
    attempt: int
    number: int
    call: str
    target: str
    params: dict[str, Json]
    partition: str | None
    waits: bool
    detached: bool = False

    @property
    def step(self) -> tuple[int, int]:
        """Run and position of the caller."""
        return self.run_id, self.position


@dataclass(frozen=True, slots=True)
class CallEnd:
    """What a call came to: the run as it stands. `error`: of one that failed, or why there is none."""

    sub_run: int | None
    state: str
    error: dict[str, str] | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class StepEnd:
    """How a launch ended. `not_received`: user code certainly did not begin. `died`: the worker ended without an
    answer; `error` says how (exit status, signal). `interrupted`: the host itself ended.

    Of a failure: `final`, no attempt is to follow (`GiveUp`); `after`, the seconds before the next (`RetryLater`).
    Of a success: `version`, of the data that was made, None where nothing is known; `code`, of what made it;
    `cached`, the run that made it before, so that nothing ran now; `check`, what a check
    found.
    """

    run_id: int
    position: int
    attempt: int
    outcome: Literal["succeeded", "failed", "canceled", "not_received", "died", "interrupted"]
    value: ValueRef | None = None
    metadata: dict[str, Json] = field(default_factory=dict[str, Json])
    error: TickError | None = None
    final: bool = False
    after: float | None = None
    version: str | None = None
    code: str | None = None
    cached: int | None = None
    check: CheckEnd | None = None


@dataclass(frozen=True, slots=True)
class HostStatus:
    """For status and health: process ids, and ticks and steps in flight."""

    pid: int
    start_method: str
    evaluators: dict[str, int]
    workers_idle: int
    workers_busy: int


class Answers(Protocol):
    """What the engine offers to a code host. All are called on the event loop's thread."""

    def tick_ended(self, end: TickEnd) -> None:
        """An evaluation, or a part of one, is here."""
        ...

    def woken(self, sensor: str, hints: tuple[str, ...] | None) -> None:
        """A sensor's `wakes()` yielded: hints, or None for a full look."""
        ...

    def step_received(self, run_id: int, position: int, attempt: int, pid: int) -> None:
        """A worker confirms receipt; user code begins now."""
        ...

    def step_ended(self, end: StepEnd) -> None:
        """A launch is over; its slot is free."""
        ...

    def step_calls(self, call: StepCall) -> None:
        """A step asks for a run; answered through `CodeHost.call_ended` unless the step ends before."""
        ...

    def call_left(self, run_id: int, position: int, attempt: int, number: int) -> None:
        """A step does not wait for the answer to this call any more."""
        ...

    def load_ledger(self, sensor: str) -> AbstractAsyncContextManager[AsyncIterator[tuple[LedgerEntry, ...]]]:
        """The sensor's ledger as the store has it, in pieces of at most 1 MiB when framed."""
        ...

    def ledger_revision(self, sensor: str) -> int:
        """The revision at which `load_ledger` would stand now."""
        ...

    async def ledger_keys(self, sensor: str, digests: tuple[bytes, ...]) -> dict[bytes, str]:
        """The key texts of entries of the sensor's ledger; those that are not there are left out."""
        ...

    async def deliveries(
        self, sensor: str, *, tick: int, after: int, limit: int, again: bool
    ) -> tuple[tuple[WaitingDelivery, ...], bool]:
        """The next deliveries for a tick of the sensor, behind row `after`, and whether there are more. `again`: also
        those that have failed before."""
        ...

    async def happened(
        self, after: int | None, types: tuple[str, ...], names: tuple[str, ...] | None, limit: int
    ) -> Happenings:
        """Committed events behind event `after` (None: none, only where they end), in whole transactions, of these
        types, and of these assets or targets of runs."""
        ...

    def sensor_offended(self, sensor: str, offence: Offence) -> None:
        """A sensor held its evaluator's loop too long, or cost the evaluator. The end of its look, where that is one
        because of it, has been told before."""
        ...

    def host_lost(self, reason: str) -> None:
        """The host process ended on its own; every tick and step in flight has been reported before this."""
        ...


class CodeHost(Protocol):
    """The plugins of one definitions version, behind a process boundary."""

    async def start(self) -> LoadReport:
        """Start the host process, load the plugins, and report. Raises `HostError`."""
        ...

    async def open(self, *, workers: int, without: Collection[str] = ()) -> None:
        """Put in force: start the evaluator (with `open()` and `wakes()` of the sensors) and `workers` workers.

        `without`: sensors that another host still holds. Their ticks wait until each is `take`n."""
        ...

    def take(self, sensor: str) -> None:
        """Nobody else holds this sensor any more: `open()` it, and begin the ticks that wait for that."""
        ...

    async def leave(self, released: Callable[[str], None]) -> None:
        """Give way to another host: ticks and steps in flight go on to their end, the ticks that were not begun are
        abandoned, and each sensor is `released` once none of its looks is in flight and its `close()` has ended.

        Returns when nothing is in flight; then `close` it."""
        ...

    def tick(self, order: TickOrder) -> None:
        """Begin an evaluation; it ends in exactly one final `Answers.tick_ended`."""
        ...

    def tick_committed(self, tick_id: int, *, committed: bool, ledger_revision: int, next_tick_id: int | None) -> None:
        """The commit of an `ok` or `checkpoint` end is known: apply or forget its ledger delta. After a
        checkpoint: `committed` with `next_tick_id` lets the look go on, else it is ended."""
        ...

    def cancel_tick(self, tick_id: int) -> None:
        """Nobody waits for this evaluation any more; it still ends in `tick_ended`."""
        ...

    def run(self, step: StepToRun) -> None:
        """Launch a step that is durable as started; it ends in exactly one `Answers.step_ended`."""
        ...

    def cancel(self, run_id: int, position: int, *, grace: float) -> None:
        """SIGTERM to the step's process tree, SIGKILL after `grace` seconds."""
        ...

    def cancel_item(self, run_id: int, item: ItemRef) -> None:
        """End one item of a `ctx.map`; nothing happens if it is over, or never was."""
        ...

    def call_ended(self, call: StepCall, end: CallEnd) -> None:
        """Answer a call; nothing happens if the attempt that made it is over."""
        ...

    async def watch(self, *, active: bool) -> None:
        """Let the sensors' `wakes()` run, or end them (shutdown begins by creating no new work)."""
        ...

    async def close(self, *, grace: float) -> None:
        """End everything: sensors' `close()`, workers (SIGTERM, then SIGKILL after `grace`), evaluators, host."""
        ...

    def status(self) -> HostStatus:
        """A cheap snapshot."""
        ...
