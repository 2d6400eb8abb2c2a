"""What a simulation tells: entries, in order, and at the end what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Entry", "EntryKind", "Peak", "RunTally", "Tally"]

EntryKind = Literal[
    "tick",  # a schedule fired, or a sensor saw what arrived
    "skipped",  # instants of a schedule that did not fire
    "queued",  # a run waits for a slot
    "started",  # a step began
    "succeeded",
    "canceled",  # a run, by the overlap of its schedule
    "warned",
    "lapsed",
    "restored",
    "opened",  # windows of time became partitions
    "added",
    "deleted",
    "failing",  # a sensor's outcome was refused
]


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that would happen. `at`: seconds since 1970. `name`: of the schedule, sensor, asset, job or set.

    `seconds`: how long a step took. `count`: partitions, or ticks skipped. `detail`: the rest, for people. `asker`: the
    schedule or sensor that asked for the run.
    """

    at: float
    kind: EntryKind
    name: str
    partition: str | None = None
    run: int | None = None
    seconds: float | None = None
    count: int = 1
    detail: str = ""
    asker: str = ""

    def is_about(self, names: Collection[str]) -> bool:
        """Whether it is of one of these, or of a run that one of these asked for."""
        return self.name in names or self.asker in names


@dataclass(slots=True)
class RunTally:
    """Of one asset or job: how often it ran, and for how many seconds in all."""

    runs: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Peak:
    """The most there was, and when first."""

    count: int = 0
    at: float | None = None


@dataclass(slots=True)
class Tally:
    """The sum of the entries: by name, and the peaks. `ended`: how far the simulation came."""

    ticks: Counter[str] = field(default_factory=Counter[str])
    skipped: Counter[str] = field(default_factory=Counter[str])
    runs: dict[str, RunTally] = field(default_factory=dict[str, RunTally])
    lapses: Counter[str] = field(default_factory=Counter[str])
    busiest: Peak = Peak()
    queue: Peak = Peak()
    running: int = 0
    ended: float = 0.0
    _minute: int = -1
    _in_minute: int = 0

    def add(self, entry: Entry) -> None:
        """One more."""
        match entry.kind:
            case "tick":
                self.ticks[entry.name] += 1
            case "skipped":
                self.skipped[entry.name] += entry.count
            case "started":
                self._started(entry)
            case "succeeded":
                self.running -= 1
                known = self.runs.setdefault(entry.name, RunTally())
                known.runs += 1
                known.seconds += entry.seconds or 0.0
            case "lapsed":
                self.lapses[entry.name] += 1
            case _:
                pass

    def _started(self, entry: Entry) -> None:
        self.running += 1
        minute = int(entry.at // 60)
        self._in_minute = self._in_minute + 1 if minute == self._minute else 1
        self._minute = minute
        if self._in_minute > self.busiest.count:
            self.busiest = Peak(self._in_minute, minute * 60.0)

    def waiting(self, count: int, at: float) -> None:
        """So many steps wait for a slot."""
        if count > self.queue.count:
            self.queue = Peak(count, at)
