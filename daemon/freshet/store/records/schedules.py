"""Ticks of schedules, on their way into the store and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from freshet.definitions.outcome import Json
from freshet.definitions.schedule import Overlap
from freshet.store.records.events import Event
from freshet.store.records.runs import Admission, DroppedRequest, RunGroup, RunToAdmit

__all__ = ["ActiveRun", "LastTicks", "ScheduleCommit", "ScheduleResult", "ScheduleTickRow", "SkippedInstants"]


@dataclass(frozen=True, slots=True)
class SkippedInstants:
    """Nominal instants that do not fire: from `first` to `last`, `count` of them, and why."""

    first: float
    last: float
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class ScheduleCommit:
    """What one schedule decided: instants that fire, the runs that each asks for, and instants that are skipped.

    Conditional on the ticker's `revision`. `cursor` is what the schedule remembers from now on. `overlap` is decided by
    the commit: which of the runs are admitted, and which runs of before are canceled.
    """

    ticker: int
    tick_id: int
    revision: int
    version: str
    cursor: Json
    fired: tuple[float, ...] = ()
    skipped: tuple[SkippedInstants, ...] = ()
    runs: tuple[tuple[RunToAdmit, ...], ...] = ()
    overlap: Overlap = "allow"


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that is queued or under way, and what its group is told by."""

    run_id: int
    state: str
    origin: str
    target: str
    set: str | None
    key: str | None

    @property
    def group(self) -> RunGroup:
        """As `RunToAdmit.group`."""
        return self.origin, self.target, self.set, self.key


@dataclass(frozen=True, slots=True)
class LastTicks:
    """The last instant of a schedule that fired, and what was skipped last."""

    fired: float | None
    skipped: SkippedInstants | None


@dataclass(frozen=True, slots=True)
class ScheduleResult:
    """`refused`: tickers that were changed meanwhile; nothing of theirs is written. `admitted` and `dropped` count
    over `runs`: those of the commits that were not refused and that `overlap` left in, in order. `overlapped`: by
    ticker, the instants that it skipped; `canceled`: the runs that it canceled."""

    refused: tuple[int, ...]
    runs: tuple[RunToAdmit, ...]
    admitted: tuple[Admission, ...]
    dropped: tuple[DroppedRequest, ...]
    events: tuple[Event, ...] = field(default=())
    overlapped: dict[int, tuple[float, ...]] = field(default_factory=dict[int, tuple[float, ...]])
    canceled: tuple[int, ...] = ()


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
