"""The windows of a cadence in a zone: numbered, named by keys, and their edges as instants.

Window n goes from the n-th edge up to the next, without gap or overlap. Edges are when the cadence's cron text comes,
so that a schedule of the same text ticks exactly as a window closes. A day that a zone left out has no window; a day
whose midnight was removed begins at the shift; an hour that is repeated is two windows. Where a clock moves by half an
hour, the hour in which it does has no edge on the hour and joins the one before it: a window of one and a half hours.

Numbers count from the first edge of 1900 (days, weeks, months) or 1970 (hours and cron texts) on the zone's clock.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache

from freshet.definitions.instants import CronTimes
from freshet.definitions.zones import DAY, EPOCH, MAX_YEAR, ZoneClock, forget_zones, local_datetime, year_of, year_start
from freshet.errors import PartitionKeyError

__all__ = ["CADENCES", "MAX_NUMBER", "Window", "Windows", "forget_rules", "start_of", "windows_of"]

MAX_NUMBER = 2**32 - 1
CADENCES = {"daily": "0 0 * * *", "hourly": "0 * * * *", "weekly": "0 0 * * MON", "monthly": "0 0 1 * *"}
_BY_DATE = ("daily", "weekly", "monthly")
_FORMS = {
    "daily": "2026-03-29",
    "weekly": "2026-03-23, its Monday",
    "monthly": "2026-03-01, its first day",
}


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` up to, not including, `end`: instants, in seconds since 1970 in UTC."""

    start: float
    end: float


@dataclass(frozen=True)
class Windows:
    """`cadence`: one of `CADENCES`, or a cron text in its normal form."""

    cadence: str
    zone: str

    @cached_property
    def times(self) -> CronTimes:
        """When an edge comes."""
        return CronTimes(CADENCES.get(self.cadence, self.cadence), self.zone)

    # --- numbers and instants

    def edges_until(self, instant: float) -> int:
        """How many edges there are up to and including `instant`: the number of the window that holds it, or 0."""
        return _edges_before(self, int(instant // 1) + 1)

    def _count(self, end: int) -> int:
        if end <= self._epoch:
            return 0
        year = year_of(end)
        start = max(self._epoch, year_start(year))
        return self._before(year) + self.times.number_in(start, end)

    def edge(self, number: int) -> float:
        """The start of window `number`. Raises `OverflowError` beyond `MAX_NUMBER` or the year 2500."""
        if not 1 <= number <= MAX_NUMBER:
            raise OverflowError(f"{number} is no partition number")
        return _edge(self, number)

    def window(self, number: int) -> Window:
        """The window of a number."""
        return Window(self.edge(number), self.edge(number + 1))

    def at(self, instant: float) -> int:
        """The number of the window that holds `instant`; 0 before the first."""
        return self.edges_until(instant)

    def over(self, start: float, end: float) -> tuple[int, int]:
        """The first and last window that share a moment with [start, end), the first at least 1."""
        last = self.edges_until(end)
        if last and self.edge(last) == end:
            last -= 1
        return max(1, self.edges_until(start)), last

    def _select(self, number: int) -> float:
        year = self._epoch_year + len(self._totals) - 1
        while self._before(year) < number:
            year += 1
            if year > MAX_YEAR:
                raise OverflowError(f"partition {number} lies beyond the year {MAX_YEAR}")
        year = max(self._epoch_year, bisect_right(self._totals, number - 1) - 1 + self._epoch_year)
        start = max(self._epoch, year_start(year))
        found = self.times.select(start, number - 1 - self._before(year))
        assert found is not None, "the year's total says that it is there"
        return float(found)

    @cached_property
    def _epoch(self) -> int:
        year = 1900 if self.cadence in _BY_DATE else 1970
        # 1900-01-01 is a Monday, as the first week's key must be.
        return ZoneClock(self.zone).instant(round((datetime(year, 1, 1) - EPOCH).total_seconds()))

    @cached_property
    def _epoch_year(self) -> int:
        return year_of(self._epoch)

    @cached_property
    def _totals(self) -> list[int]:
        return [0]

    def _before(self, year: int) -> int:
        """How many edges lie before the start of a year of stretches; counted once."""
        index, totals = year - self._epoch_year, self._totals
        while len(totals) <= index:
            at = self._epoch_year + len(totals) - 1
            start = max(self._epoch, year_start(at))
            totals.append(totals[-1] + self.times.number_in(start, year_start(at + 1)))
        return totals[index]

    # --- keys

    def key(self, number: int) -> str:
        """The key of a window: its day, its Monday, its first of the month, or its start with the offset to UTC."""
        return _key(self, number)

    def keys(self, first: int, last: int) -> Iterator[tuple[int, str]]:
        """Numbers and keys from `first` to `last`, in order: faster than one by one."""
        if first > last:
            return
        edge = self.edge(first)
        yield first, self._key(edge)
        for number, start in zip(range(first + 1, last + 1), self.times.instants(edge), strict=False):
            yield number, self._key(start)

    def number(self, key: str) -> int:
        """The number of a key. Raises `PartitionKeyError` for a text that is no key of these windows, with the form
        expected or the key meant."""
        start = self._start_of_date(key) if self.cadence in _BY_DATE else self._start_of_time(key)
        number = self.edges_until(start)
        if number == 0:
            raise PartitionKeyError(
                f"{key!r} lies before the first {self._name} partition", hint=f"the first is {self.key(1)!r}"
            )
        meant = self.key(number)
        if meant != key:
            raise PartitionKeyError(f"there is no {self._name} partition {key!r}", hint=f"the nearest is {meant!r}")
        return number

    @property
    def _name(self) -> str:
        return f"{self.cadence} ({self.zone})"

    def _key(self, start: float) -> str:
        clock = ZoneClock(self.zone)
        offset = clock.offset(int(start))
        local = local_datetime(int(start) + offset)
        if self.cadence in _BY_DATE:
            return self._first_day(local.date()).isoformat()
        sign, offset = ("-", -offset) if offset < 0 else ("+", offset)
        hours, seconds = divmod(offset, 3600)
        ahead = f"{sign}{hours:02}:{seconds // 60:02}" + (f":{seconds % 60:02}" if seconds % 60 else "")
        return local.isoformat(timespec="seconds" if local.second else "minutes") + ahead

    def _first_day(self, day: date) -> date:
        if self.cadence == "weekly":
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.cadence == "monthly" else day

    def _start_of_date(self, key: str) -> int:
        try:
            day = date.fromisoformat(key)
        except ValueError:
            raise PartitionKeyError(
                f"{key[:60]!r} is no {self._name} partition key", hint=f"write it as {_FORMS[self.cadence]}"
            ) from None
        if not 1800 < day.year < MAX_YEAR:
            raise PartitionKeyError(
                f"there is no {self._name} partition {key!r}", hint=f"years from 1900 to {MAX_YEAR - 1} have some"
            )
        return ZoneClock(self.zone).instant((self._first_day(day) - EPOCH.date()).days * DAY)

    def _start_of_time(self, key: str) -> int:
        try:
            start = datetime.fromisoformat(key)
        except ValueError:
            start = None
        if start is None or start.tzinfo is None or not 1800 < start.year < MAX_YEAR:
            raise PartitionKeyError(
                f"{key[:60]!r} is no {self._name} partition key",
                hint="write it as 2026-03-29T02:00+02:00, with the offset to UTC",
            )
        return int(start.timestamp() // 1)


@lru_cache(maxsize=512)
def windows_of(cadence: str, zone: str) -> Windows:
    """The windows of a cadence in a zone; kept, because they learn their totals by year."""
    return Windows(cadence, zone)


@lru_cache(maxsize=1024)
def start_of(start: str, zone: str) -> float:
    """A date, or a date and time, as an instant: on the zone's clock where it names no offset."""
    found = datetime.fromisoformat(start)
    if found.tzinfo is not None:
        return found.timestamp()
    return float(ZoneClock(zone).instant(math.ceil((found - EPOCH).total_seconds())))


@lru_cache(maxsize=1024)
def first_from(windows: Windows, start: str) -> int:
    """The number of the first window that begins at or after `start`, as `start_of` reads it."""
    return windows.edges_until(math.ceil(start_of(start, windows.zone)) - 1) + 1


def forget_rules() -> None:
    """Read all zones' rules again when they are next needed: after an update of the time zone data."""
    forget_zones()
    windows_of.cache_clear()
    _edge.cache_clear()
    start_of.cache_clear()
    first_from.cache_clear()
    _edges_before.cache_clear()
    _key.cache_clear()


@lru_cache(maxsize=16384)
def _edge(windows: Windows, number: int) -> float:
    return windows._select(number)  # pyright: ignore[reportPrivateUsage]  # its cache


@lru_cache(maxsize=1024)
def _key(windows: Windows, number: int) -> str:
    return windows._key(windows.edge(number))  # pyright: ignore[reportPrivateUsage]  # its cache


@lru_cache(maxsize=1024)
def _edges_before(windows: Windows, end: int) -> int:
    # Whatever happens at an instant (a schedule, the window that closes with it, its run) asks for the same one.
    return windows._count(end)  # pyright: ignore[reportPrivateUsage]  # its cache
