"""What the engine shows of itself: the answers of `control.Control`, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from freshet.definitions.intake import Intake
from freshet.definitions.outcome import Json
from freshet.engine.looplag import LoopHolds
from freshet.executors.base import HostStatus

__all__ = [
    "EngineStatus",
    "Hook",
    "HookView",
    "ReplayReport",
    "RollbackReport",
    "ScheduleView",
    "SensorState",
    "SensorStatus",
    "TickReport",
]


STUCK_AFTER = 30.0
"""Seconds without a turn after which a loop that has work counts as stuck."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The engine at a glance. `loops`: by name, seconds since each loop's last turn, None while it rests.
    `needs_restart`: nothing starts any more, and the problem will not go by itself. `held_back`: why
    edited plugins are not in force. `loop_holds`: how often the daemon's own loop was held."""

    state: Literal["starting", "ready", "stopping"]
    version: str
    definitions_version: str
    started_at: float
    now: float
    queued: int
    running: int
    workers: int
    refused_ticks: int
    host: HostStatus | None
    loops: dict[str, float | None] = field(default_factory=dict[str, float | None])
    problem: str | None = None
    needs_restart: bool = False
    held_back: str | None = None
    loop_holds: LoopHolds = field(default_factory=LoopHolds)

    @property
    def stuck(self) -> list[str]:
        """The loops that have work and took no turn for too long."""
        return sorted(name for name, idle in self.loops.items() if idle is not None and idle > STUCK_AFTER)


SensorStatus = Literal["ok", "waiting", "failing", "paused", "quarantined"]
"""`waiting`: nothing can come before something is there that is not."""


@dataclass(frozen=True, slots=True)
class SensorState:
    """A sensor as the engine sees it now. Times are seconds since 1970; `due_at` None while paused or quarantined,
    `looking_since` None unless it looks now. `pending`: requests that wait before they become runs. `lag`: these, and
    what the sensor itself says that it has seen and not admitted; `lag_since`: since when the oldest waits.
    `waits_for`: why nothing can come, while it is `waiting`. `notice`: how the sensor says that it stands. `parked`:
    deliveries that failed too often. `strikes`: how often in a row it cost its evaluator."""

    name: str
    status: SensorStatus
    in_flight: bool
    due_at: float | None
    ticks: int
    idle_ticks: int
    failures: int
    last_tick_at: float | None
    last_error: Json
    isolated: bool
    cursor: Json
    revision: int
    quarantined: str | None = None
    waits_for: str | None = None
    notice: str | None = None
    looking_since: float | None = None
    pending: int = 0
    lag: int = 0
    lag_since: float | None = None
    parked: int = 0
    strikes: int = 0


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule as the engine sees it now. `next`: the nominal instant to come, None while it is paused. While its
    body fails, `held_at` is the instant that it is asked about again, and `retry_at` when."""

    name: str
    status: Literal["ok", "failing", "paused"]
    next: float | None
    failures: int
    last_error: Json
    held_at: float | None = None
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class TickReport:
    """What a tick by hand did, or (dry run) would do. `runs`, `partitions`, `reports`: as JSON for display.
    `pending`: requests that wait before they become runs."""

    sensor: str
    status: str
    dry_run: bool
    cursor_before: Json
    cursor: Json
    runs: tuple[Json, ...] = ()
    dropped: tuple[Json, ...] = ()
    partitions: tuple[Json, ...] = ()
    reports: tuple[Json, ...] = ()
    ledger_added: int = 0
    ledger_removed: int = 0
    skip: str | None = None
    error: Json = None
    deliveries: tuple[Json, ...] = ()
    pending: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class RollbackReport:
    """What a rollback did, or (dry run) would do. `ledger_removed`: entries of the ledger that were added since;
    `ledger_restored`: those that were replaced or removed since, and are again as they were. `run_keys`: the first
    thousand of `run_key_count` that were taken since, with their runs; with `again` they are free. `waiting`: requests
    of since that still wait; they stay. `takes_deliveries`: of a hook, whose deliveries a replay brings back."""

    sensor: str
    to: int
    again: bool
    dry_run: bool
    cursor_before: Json
    cursor: Json
    ledger_removed: int
    ledger_restored: int
    run_keys: tuple[Json, ...]
    run_key_count: int
    waiting: int
    takes_deliveries: bool = False


@dataclass(frozen=True, slots=True)
class Hook:
    """Where deliveries for one sensor come in. `ticker`: the sensor's id in the store."""

    sensor: str
    ticker: int
    intake: Intake


@dataclass(frozen=True, slots=True)
class HookView:
    """A hook as the engine sees it now. `problem`: why it takes nothing, or not everything; `full`: why no hook does:
    too much waits, and whose it is; `copies`: how many since the start had the body of an earlier one under another id,
    which is not signed, and were taken for its replay."""

    sensor: str
    intake: Intake
    waiting: int
    oldest: float | None
    parked: int
    problem: str | None
    full: str | None = None
    copies: int = 0


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay let wait again, or (dry run) what it would ask for. `count`: how many deliveries it is about;
    `returned`: those that did not wait already. A dry run looks at the first thousand."""

    sensor: str
    count: int
    returned: int
    dry_run: TickReport | None = None
