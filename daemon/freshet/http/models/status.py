"""The daemon as a whole, and errors."""

from __future__ import annotations

from typing import Literal

from freshet.http.models.base import Answer

__all__ = [
    "ErrorAnswer",
    "ErrorBody",
    "HostAnswer",
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


class StatusAnswer(Answer):
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
