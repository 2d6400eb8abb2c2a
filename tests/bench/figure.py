"""What a figure is: rows of measured values, each with the bar that it is held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.lab import Lab

__all__ = ["Bar", "Bench", "Figure", "Row", "Summary", "percentile"]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the ordered values that at least `share` (0 to 1) of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True)
class Summary:
    """Of some measured values."""

    count: int
    median: float
    p99: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Of at least one value."""
        ordered = sorted(values)
        middle = len(ordered) // 2
        median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
        return cls(len(ordered), median, percentile(ordered, 0.99), ordered[0], ordered[-1])


@dataclass(frozen=True)
class Bar:
    """What median and p99 may reach at most, or (`at_least`) must reach. None: no limit."""

    median: float | None = None
    p99: float | None = None
    at_least: bool = False

    def met(self, found: Summary) -> bool:
        """Whether all limits are kept."""
        pairs = ((found.median, self.median), (found.p99, self.p99))
        return all(limit is None or (value >= limit if self.at_least else value <= limit) for value, limit in pairs)

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        limits = ((self.median, ""), (self.p99, "p99 "))
        return ", ".join(f"{name}{sign} {limit:g}" for limit, name in limits if limit is not None)


@dataclass(frozen=True)
class Row:
    """One line of the table. `bar` None: for comparison, not held against anything. `note`: how it was measured."""

    what: str
    unit: str
    summary: Summary
    bar: Bar | None = None
    note: str = ""

    @classmethod
    def of(cls, what: str, unit: str, values: Sequence[float], bar: Bar | None = None, *, note: str = "") -> Row:
        """From the values themselves."""
        return cls(what, unit, Summary.of(values), bar, note)

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without one."""
        return None if self.bar is None else self.bar.met(self.summary)


@dataclass(frozen=True)
class Bench:
    """One call of the benchmarks. `quick`: fewer and shorter measurements; `scratch`: a folder on the disk that is
    measured; `logs`: where the daemons' logs are kept; `calm`: seconds to wait, before each daemon, for other work on
    the machine to end."""

    quick: bool
    scratch: Path
    logs: Path
    calm: float = 0.0

    def pick(self, full: int, quick: int) -> int:
        """How many, or how long."""
        return quick if self.quick else full

    def lab(self, name: str, plugins: dict[str, str], *, workers: int | None = 2) -> Lab:
        """A folder with these plugins (file name to text) for a daemon of its own; use it as a context manager."""
        from tests.bench.lab import Lab
        from tests.bench.machine import wait_for_calm

        wait_for_calm(self.calm)
        return Lab(name, plugins, scratch=self.scratch, logs=self.logs, workers=workers)


@dataclass(frozen=True)
class Figure:
    """Something that can be measured by name. `measure` yields rows as they are known."""

    name: str
    about: str
    measure: Callable[[Bench], Iterator[Row]]
