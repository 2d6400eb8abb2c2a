"""Requests that wait before they become runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from freshet.definitions.outcome import Json
from freshet.store.records.events import Event
from freshet.store.records.runs import Admission, RunToAdmit

__all__ = ["KeptRequest", "Released", "RequestGroup", "RequestToKeep", "ToRelease", "WaitingRequest"]

RequestGroup = tuple[str, str | None]
"""Requests for the same target and partition."""


class WaitingRequest(NamedTuple):
    """A request that waits, and since when. `key`: of its partition."""

    id: int
    target: str
    key: str | None
    at: float


@dataclass(frozen=True, slots=True)
class RequestToKeep:
    """A request that is to wait: as a run it would be `run`; `params`, `tags` and `priority` are the request's own."""

    run: RunToAdmit
    params: dict[str, Json] = field(default_factory=dict[str, Json])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    priority: int = 0


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request as it was kept, and the tick that asked for it. `depth`: as in `RunToAdmit`."""

    id: int
    tick_id: int
    target: str
    key: str | None
    run_key: str | None
    params: dict[str, Json]
    tags: dict[str, str]
    priority: int
    at: float
    depth: int = 0


@dataclass(frozen=True, slots=True)
class ToRelease:
    """Requests, in order, that become one run: asked for by the tick `tick_id`. Without a `run` they come to nothing,
    for a `reason`. `folded`: the last of them stands for all."""

    ids: tuple[int, ...]
    tick_id: int
    run: RunToAdmit | None
    reason: str | None = None
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """What became of releases. `runs`: those that began to be; `admitted` counts over them. `refused`: by the last of
    its requests, why a release came to nothing. `canceled`: the runs that gave way. `events`: of each."""

    runs: tuple[RunToAdmit, ...]
    admitted: tuple[Admission, ...]
    refused: dict[int, str]
    canceled: tuple[int, ...]
    events: tuple[tuple[Event, ...], ...]
