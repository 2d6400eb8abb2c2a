"""Backfills: what was asked for, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from freshet.definitions.outcome import Json
from freshet.store.records.runs import InputNeed, RunToAdmit, StepState

__all__ = [
    "BackfillChunk",
    "BackfillCommit",
    "BackfillMark",
    "BackfillRow",
    "BackfillState",
    "EndedStep",
    "NewBackfill",
]

BackfillState = Literal["running", "paused", "succeeded", "failed", "canceled"]

BackfillMark = Literal["wanted", "asked", "done", "failed"]


@dataclass(frozen=True, slots=True)
class BackfillChunk:
    """A piece of a bitmap over an asset's partitions: those from `chunk` times 65,536 on. Empty `bits`: none is set."""

    asset: str
    what: BackfillMark
    chunk: int
    bits: bytes


@dataclass(frozen=True, slots=True)
class NewBackfill:
    """A backfill asked for. `request`: what to show of it, as JSON; `chunks`: what it wants; `boxes`: and what it will,
    once that has numbers, as JSON."""

    request: dict[str, Json]
    priority: int
    tags: dict[str, str]
    at: float
    chunks: tuple[BackfillChunk, ...]
    boxes: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class BackfillRow:
    """A backfill as remembered. `low_run`: runs of it with a smaller id are accounted for in its bits."""

    id: int
    state: BackfillState
    request: dict[str, Any]
    priority: int
    tags: dict[str, str]
    low_run: int
    created_at: float
    ended_at: float | None
    error: str | None
    boxes: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class EndedStep:
    """How a step of a backfill's run ended; `state` may be one of a step that has not, where its run goes on."""

    run_id: int
    asset: str
    partition: int
    state: StepState


@dataclass(frozen=True, slots=True)
class BackfillCommit:
    """One turn of a backfill: the bits that changed and the runs that are next commit together. `low_run`: the oldest
    run that is under way, None where there is none. `state`, `boxes`: where they change. `start`: as in TickCommit."""

    id: int
    at: float
    chunks: tuple[BackfillChunk, ...] = ()
    low_run: int | None = None
    state: BackfillState | None = None
    error: str | None = None
    runs: tuple[RunToAdmit, ...] = ()
    start: int = 0
    needs: dict[str, tuple[InputNeed, ...]] = field(default_factory=dict[str, tuple[InputNeed, ...]])
    version: str = ""
    boxes: tuple[Json, ...] | None = None
