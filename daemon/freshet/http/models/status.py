"""The daemon as a whole, and errors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from freshet.http.models.base import Answer

__all__ = [
    "ErrorAnswer",
    "ErrorBody",
    "HostAnswer",
    "LoopAnswer",
    "ProblemAnswer",
    "StatusAnswer",
]


class ErrorBody(Answer):
    """`type`: the name in Freshet's tree of errors. `hint`: what to do. `file`, `line`: where the mistake stands."""

    type: str
    message: str
    hint: str = ""
    file: str | None = None
    line: int | None = None


class ErrorAnswer(Answer):
    """Every answer of status 400 and above."""

    error: ErrorBody


class ProblemAnswer(Answer):
    """What is wrong with a plugin file."""

    message: str
    hint: str = ""
    file: str | None = None
    line: int | None = None
    traceback: str = ""


class HostAnswer(Answer):
    """The code host and its children, by process id."""

    pid: int
    start_method: str
    evaluators: dict[str, int]
    workers_idle: int
    workers_busy: int


class LoopAnswer(Answer):
    """How often the daemon's own event loop was held for more than 100 ms since the start, for how many seconds in all
    and at the most; of the last time, when it ended, how long it was, and where the loop stood, the innermost call
    last."""

    held: int = 0
    seconds: float = 0.0
    worst: float = 0.0
    last_at: float | None = None
    last: float | None = None
    stack: tuple[str, ...] = ()


class StatusAnswer(Answer):
    """The daemon at a glance. `pid`: its own process; `lapsed`: assets past their freshness; `troubled`: sensors
    that fail or are quarantined; `failed`: partitions whose last run failed for good, by asset; `failed_runs`: runs
    that failed in the last hour; `stopped`: how often chains of automatic runs were stopped in the last day, by
    target; `needs_restart`: nothing starts any more, and `problem` will not go by itself; `load_problems`: why the
    last load of plugins was not put in force."""

    state: Literal["starting", "ready", "stopping"]
    pid: int
    version: str
    definitions_version: str
    started_at: float
    now: float
    queued: int
    running: int
    workers: int
    refused_ticks: int
    problem: str | None
    needs_restart: bool = False
    host: HostAnswer | None
    loops: dict[str, float | None]
    loop: LoopAnswer = Field(default_factory=LoopAnswer)
    assets: int
    jobs: int
    sensors: int
    schedules: int = 0
    paused: tuple[str, ...]
    troubled: tuple[str, ...]
    paused_schedules: tuple[str, ...] = ()
    troubled_schedules: tuple[str, ...] = ()
    lapsed: tuple[str, ...]
    failed: dict[str, int] = Field(default_factory=dict[str, int])
    stopped: dict[str, int] = Field(default_factory=dict[str, int])
    failed_runs: int = 0
    load_problems: tuple[ProblemAnswer, ...]
    load_warnings: tuple[ProblemAnswer, ...]
