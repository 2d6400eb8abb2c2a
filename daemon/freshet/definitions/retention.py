"""How much history is kept, and what is older than that: pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

__all__ = ["Cuts", "Older", "Retention", "cuts"]

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Retention:
    """Ages in seconds, numbers of rows, bytes (0: any number). `ticks`, `max_ticks`: what each sensor and schedule
    decided. `events`, `runs`, `inbox`, with their numbers: rows in all. `journals`: the files of runs that have ended,
    and the bytes of all runs' files. `values`: how old files of values are that nothing names any more."""

    ticks: float = 30 * _DAY
    events: float = 30 * _DAY
    runs: float = 90 * _DAY
    journals: float = 30 * _DAY
    values: float = 7 * _DAY
    inbox: float = 30 * _DAY
    max_ticks: int = 10_000
    max_events: int = 5_000_000
    max_runs: int = 1_000_000
    max_journals: int = 0
    max_inbox: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Older:
    """What is not kept: what happened `before` this, or has a number up to `upto`. What happened at `needed` or later
    stays all the same. Times are epoch seconds."""

    before: float
    upto: int = 0
    needed: float = math.inf

    def holds(self, number: int, at: float) -> bool:
        """Whether a row of this number, that was over then, is not kept."""
        return at < self.needed and (at < self.before or number <= self.upto)

    def ends(self, number: int, begun: float) -> bool:
        """Whether this row and all after it, which began no earlier, are kept."""
        return number > self.upto and (begun >= self.before or begun >= self.needed)

    def numbered(self, upto: int) -> Older:
        """The same with other numbers."""
        return replace(self, upto=upto)


@dataclass(frozen=True, slots=True)
class Cuts:
    """What is not kept of each kind. `ticks`: of each ticker alike. `journals`: files of runs that ended before then;
    `values`: unnamed files that were written before then."""

    ticks: Older
    events: Older
    runs: Older
    inbox: Older
    journals: float
    values: float


def cuts(keep: Retention, now: float, numbers: tuple[int, int, int], *, unread: float | None, span: float) -> Cuts:
    """What is not kept at `now`.

    `numbers`: the last of events, runs and deliveries. `unread`: when the first event happened that someone still has
    to read; its run and its tick stay with it. `span`: seconds of events and runs from which it is counted how often
    something started.
    """
    needed = math.inf if unread is None else unread
    counted = now - span
    events, runs, inbox = (
        max(0, number - most) if most else 0
        for number, most in zip(numbers, (keep.max_events, keep.max_runs, keep.max_inbox), strict=True)
    )
    return Cuts(
        ticks=Older(now - keep.ticks, needed=needed),
        events=Older(now - keep.events, events, counted),
        runs=Older(now - keep.runs, runs, min(needed, counted)),
        inbox=Older(now - keep.inbox, inbox),
        journals=now - keep.journals,
        values=now - keep.values,
    )
