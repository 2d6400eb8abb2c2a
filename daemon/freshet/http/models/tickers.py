"""Sensors and schedules."""

from __future__ import annotations

from typing import Literal

from freshet.http.models.base import Answer, Body, Json

__all__ = [
    "CursorAnswer",
    "CursorBody",
    "OffenceAnswer",
    "RollbackAnswer",
    "RollbackBody",
    "ScheduleAnswer",
    "ScheduleTickAnswer",
    "SensorAnswer",
    "SkipAnswer",
    "TickAnswer",
    "TickBody",
    "TickRowAnswer",
]


class OffenceAnswer(Answer):
    """What a sensor did to its evaluator. `held`: it held the loop for so many seconds, and let go of it by itself. The
    others cost the evaluator: `blocked`: the loop did not turn; `overdue`: a thread stayed past the look's timeout;
    `ended`: it ended the process; `suspected`: it was one of those that may have blocked it. `stack`: where it stood,
    innermost first. `moved`: it got an evaluator of its own for it."""

    at: float
    kind: Literal["held", "blocked", "overdue", "ended", "suspected"]
    seconds: float
    stack: str
    moved: bool


class SensorAnswer(Answer):
    """A sensor as declared, and as the engine sees it. `isolated`: it has an evaluator of its own.
    `looking_since`: when the look began that is under way. `pending`: requests that wait before they become runs.
    `lag`: these, and what the sensor itself says that it has seen and not admitted; `lag_since`: since when the oldest
    waits. `waits_for`: why nothing can come, of one that is `waiting`. `notice`: how it says that it stands.
    `parked`: deliveries that failed too often. `strikes`: how often in a row it cost its evaluator; `offences`: what it
    did to evaluators, newest first, where one sensor is asked for."""

    kind: Literal["sensor"] = "sensor"
    name: str
    type: str
    doc: str
    status: Literal["ok", "waiting", "failing", "paused", "quarantined"]
    in_flight: bool
    looking_since: float | None = None
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
    waits_for: str | None = None
    notice: str | None = None
    isolated: bool
    revision: int
    pending: int = 0
    lag: int = 0
    lag_since: float | None = None
    parked: int = 0
    strikes: int = 0
    offences: tuple[OffenceAnswer, ...] = ()
    file: str | None
    line: int | None


class SkipAnswer(Answer):
    """Instants in a row that did not fire, and why: `misfire`, `max_late`, `max_catch_up` or `overlap`."""

    first: float
    last: float
    count: int
    reason: str


class ScheduleAnswer(Answer):
    """A schedule as declared, and as the engine sees it. Exactly one of `cron` and `every` (seconds) is set; `next`
    (None while it is paused) and `last_fired` are nominal instants; `last_skip`: what was skipped last. While its body
    fails, `held_at` is the instant that it is asked about again, and `retry_at` when."""

    kind: Literal["schedule"] = "schedule"
    name: str
    doc: str
    cron: str | None
    every: float | None
    timezone: str | None
    target: str | None
    misfire: Literal["latest", "all", "skip"]
    overlap: Literal["allow", "skip", "queue", "latest", "cancel"] = "allow"
    status: Literal["ok", "failing", "paused"]
    next: float | None
    last_fired: float | None
    last_skip: SkipAnswer | None = None
    held_at: float | None = None
    retry_at: float | None = None
    failures: int
    last_error: Json
    file: str | None
    line: int | None


class ScheduleTickAnswer(Answer):
    """What became of an instant, or of `count` of them in a row, from `nominal` to `until`."""

    nominal: float
    until: float
    count: int
    status: Literal["fired", "skipped"]
    reason: str | None
    decided_at: float


class CursorAnswer(Answer):
    """What a sensor remembers; `revision` counts the changes by hand. `has_ledger`: it knows items besides, which no
    change of the cursor alters."""

    sensor: str
    cursor: Json
    revision: int
    has_ledger: bool = False


class CursorBody(Body):
    """A new cursor."""

    cursor: Json


class RollbackBody(Body):
    """Back to the end of the tick `to`. `again`: what ran since may run once more."""

    to: int
    again: bool = False
    dry_run: bool = False


class RollbackAnswer(Answer):
    """What a rollback did, or (`dry_run`) would do. `ledger_removed`: entries of the ledger that were added since;
    `ledger_restored`: those that were replaced or removed since, and are again as they were. `run_keys`: the first
    thousand of `run_key_count` that were taken since; with `again` they are free. `waiting`: requests of since that
    still wait; they stay. `takes_deliveries`: of a hook, whose deliveries a replay brings back."""

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
    takes_deliveries: bool


class TickBody(Body):
    """A tick by hand. `cursor` replaces the remembered one, in a dry run only; left out, it stays."""

    dry_run: bool = False
    full: bool = True
    cursor: Json = None


class TickAnswer(Answer):
    """What a tick by hand did, or would do. `pending`: requests that wait before they become runs."""

    sensor: str
    status: str
    dry_run: bool
    cursor_before: Json
    cursor: Json
    runs: tuple[Json, ...]
    dropped: tuple[Json, ...]
    partitions: tuple[Json, ...]
    reports: tuple[Json, ...]
    pending: tuple[Json, ...] = ()
    ledger_added: int
    ledger_removed: int
    skip: str | None
    error: Json
    deliveries: tuple[Json, ...] = ()


class TickRowAnswer(Answer):
    """A tick that had an effect or failed, as remembered. `dropped`: requests whose run key was taken, or
    that gave way (`reason`: overlap); a `run_id` below zero is the number of a request that waits."""

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
