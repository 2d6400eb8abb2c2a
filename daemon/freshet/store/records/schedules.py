"""Ticks of schedules, on their way into the store and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from freshet.definitions.outcome import Json
from freshet.store.records.events import Event
from freshet.store.records.runs import Admission, DroppedRequest, RunToAdmit

__all__ = ["ScheduleCommit", "ScheduleResult", "ScheduleTickRow", "SkippedInstants"]


@dataclass(frozen=True, slots=True)
class SkippedInstants:
    """Nominal instants that do not fire: from `first` to `last`, `count` of them, and why."""

    first: float
    last: float
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class ScheduleCommit:
    """What one schedule decided: instants that fire (with the runs they ask for) and instants that are skipped.

    Conditional on the ticker's `revision`. `cursor` is what the schedule remembers from now on.
    """

    ticker: int
    tick_id: int
    revision: int
    version: str
    cursor: Json
    fired: tuple[float, ...] = ()
    skipped: tuple[SkippedInstants, ...] = ()
    runs: tuple[RunToAdmit, ...] = ()


@dataclass(frozen=True, slots=True)
class ScheduleResult:
    """`refused`: tickers that were changed meanwhile; nothing of theirs is written. `admitted` and `dropped` count
    over the runs of the commits that were not refused, in order; `runs` are those."""

    refused: tuple[int, ...]
    runs: tuple[RunToAdmit, ...]
    admitted: tuple[Admission, ...]
    dropped: tuple[DroppedRequest, ...]
    events: tuple[Event, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class ScheduleTickRow:
    """A decided instant, or a range of skipped ones."""

    nominal: float
    until: float
    count: int
    status: Literal["fired", "skipped"]
    reason: str | None
    tick_id: int
    decided_at: float
    version: str
