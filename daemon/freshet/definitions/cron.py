"""Cron texts, as local times: which times of which days they name, without any zone.

cronsim parses them and says which days match. Its own search for the next instant is not used: with a zone it loses
ticks where the clock moves by half an hour, and what it finds in a repeated hour depends on where it starts.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

from cronsim import CronSim, CronSimError

from freshet.definitions.zones import DAY, MAX_YEAR
from freshet.errors import DefinitionError

__all__ = ["CRON_NAMES", "CronPattern", "check_cron", "cron_pattern", "names_moments"]

CRON_NAMES = {
    "@YEARLY": "0 0 1 1 *",
    "@ANNUALLY": "0 0 1 1 *",
    "@MONTHLY": "0 0 1 * *",
    "@WEEKLY": "0 0 * * 0",
    "@DAILY": "0 0 * * *",
    "@MIDNIGHT": "0 0 * * *",
    "@HOURLY": "0 * * * *",
}
_HORIZON_YEARS = 50
_UNIX_DAY = date(1970, 1, 1).toordinal()
_SOME_TIME = datetime(2000, 1, 1)  # local times are naive by meaning


def check_cron(text: str, *, what: str) -> str:
    """The normal form of a cron text: five fields, or six with seconds first.

    Raises `DefinitionError` naming `what`, the text, the field that is wrong and the remedy; also for a text that
    names no instant within fifty years.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # plugins are not type-checked
        raise DefinitionError(f"{what}: cron {text!r} is not a text", hint='write it as "0 6 * * *"')
    normal = " ".join(text.upper().split())
    normal = CRON_NAMES.get(normal, normal)
    if normal.startswith("@"):
        named = ", ".join(name.lower() for name in CRON_NAMES)
        raise DefinitionError(f"{what}: cron {text[:60]!r} is no known name", hint=f"use five fields or one of {named}")
    fields = len(normal.split())
    if fields not in (5, 6):
        raise DefinitionError(
            f"{what}: cron {text[:60]!r} has {fields} fields",
            hint='write five, as "minute hour day month weekday", or six with seconds first',
        )
    try:
        pattern = cron_pattern(normal)
        never = pattern.first(date(2000, 1, 1).toordinal() * DAY - _UNIX_DAY * DAY) is None
    except CronSimError as error:
        if _is_month(normal):
            said = f"{what}: cron {text[:60]!r} never comes"
            raise DefinitionError(said, hint="no month that it names has such a day") from None
        raise DefinitionError(
            f"{what}: cron {text[:60]!r}: {_said(str(error).lower())}",
            hint='for example "0 6 * * *", "*/15 * * * *", "0 0 * * MON", or "*/10 * * * * *" with seconds first',
        ) from None
    except (AssertionError, ValueError, TypeError):  # cronsim's parser, on texts such as "L/L"
        raise DefinitionError(f"{what}: cron {text[:60]!r} cannot be read", hint='for example "0 6 * * *"') from None
    if never:
        raise DefinitionError(f"{what}: cron {text[:60]!r} never comes", hint="no such day in the next fifty years")
    return normal


_BOUNDS = {
    "second": "0 to 59",
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, or L",
    "month": "1 to 12, or JAN to DEC",
    "day-of-week": "0 to 7, or SUN to SAT",
}


def _is_month(normal: str) -> bool:
    """Whether the fields are right, and only no day of that number is in the months named: `0 0 31 2 *`."""
    *before, day, month, weekday = normal.split()
    try:
        cron_pattern(" ".join((*before, day, "*", weekday)))
        cron_pattern(" ".join((*before, "1", month, weekday)))
    except (CronSimError, AssertionError, ValueError, TypeError):
        return False
    return True


def _said(error: str) -> str:
    """cronsim names the field; here with what it may hold."""
    bounds = _BOUNDS.get(error.removeprefix("bad "))
    return error if bounds is None else f"{error}: it is {bounds}"


@dataclass(frozen=True, slots=True)
class CronPattern:
    """The local times a cron text names, in whole seconds since 1970-01-01T00:00.

    `real_time`: its minutes or hours begin with `*`, as in `*/15 * * * *`: it goes on evenly where the clock is moved,
    while others (`30 2 * * *`) name one moment a day.
    """

    days: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    real_time: bool

    @property
    def per_day(self) -> int:
        """How many times a matching day has."""
        return len(self.seconds) * len(self.minutes) * len(self.hours)

    def count(self, start: int, end: int) -> int:
        """How many times lie in [start, end)."""
        if end <= start:
            return 0
        first, last = start // DAY, end // DAY
        whole = self._days_between(first, last) * self.per_day
        return whole - self._rank_on(first, start % DAY) + self._rank_on(last, end % DAY)

    def first(self, start: int) -> int | None:
        """The first time at or after `start`; None if there is none for fifty years."""
        day = start // DAY
        rank = self._rank(start % DAY)
        if rank < self.per_day and self._matches(day):
            return day * DAY + self._at(rank)
        found = self._matching_day(day + 1, 0)
        return None if found is None else found * DAY + self._at(0)

    def last(self, end: int) -> int | None:
        """The last time before `end`; None if there was none for fifty years."""
        day = end // DAY
        rank = self._rank(end % DAY)
        if rank > 0 and self._matches(day):
            return day * DAY + self._at(rank - 1)
        found = self._matching_day_before(day)
        return None if found is None else found * DAY + self._at(self.per_day - 1)

    def select(self, start: int, index: int) -> int | None:
        """The time that has `index` others between `start` and itself."""
        day = start // DAY
        if self._matches(day):
            index += self._rank(start % DAY)
        days, index = divmod(index, self.per_day)
        found = self._matching_day(day, days)
        return None if found is None else found * DAY + self._at(index)

    def _rank(self, time: int) -> int:
        """How many times of a day lie before `time` (seconds since its midnight)."""
        minute, second = divmod(time, 60)
        hour, minute = divmod(minute, 60)
        rank = bisect_left(self.hours, hour)
        if rank == len(self.hours) or self.hours[rank] != hour:
            return rank * len(self.minutes) * len(self.seconds)
        within = bisect_left(self.minutes, minute)
        rank = (rank * len(self.minutes) + within) * len(self.seconds)
        if within == len(self.minutes) or self.minutes[within] != minute:
            return rank
        return rank + bisect_left(self.seconds, second)

    def _at(self, rank: int) -> int:
        rank, second = divmod(rank, len(self.seconds))
        hour, minute = divmod(rank, len(self.minutes))
        return self.hours[hour] * 3600 + self.minutes[minute] * 60 + self.seconds[second]

    def _rank_on(self, day: int, time: int) -> int:
        return self._rank(time) if time and self._matches(day) else 0

    def _matches(self, day: int) -> bool:
        if self.days == "* * *":
            return True
        table = _matching_days(self.days, _year(day))
        index = bisect_left(table, day)
        return index < len(table) and table[index] == day

    def _days_between(self, first: int, last: int) -> int:
        if self.days == "* * *":
            return last - first
        total = 0
        for year in range(_year(first), _year(last) + 1):
            table = _matching_days(self.days, year)
            total += bisect_left(table, last) - bisect_left(table, first)
        return total

    def _matching_day(self, start: int, index: int) -> int | None:
        """The matching day that has `index` others between `start` and itself."""
        if self.days == "* * *":
            return start + index
        empty = 0
        for year in range(_year(start), MAX_YEAR):
            table = _matching_days(self.days, year)
            skip = bisect_left(table, start)
            if index < len(table) - skip:
                return table[skip + index]
            index -= len(table) - skip
            empty = 0 if table else empty + 1
            if empty > _HORIZON_YEARS:
                break
        return None

    def _matching_day_before(self, end: int) -> int | None:
        if self.days == "* * *":
            return end - 1
        last = _year(end)
        for year in range(last, max(1, last - _HORIZON_YEARS), -1):
            table = _matching_days(self.days, year)
            index = bisect_left(table, end)
            if index:
                return table[index - 1]
        return None


@lru_cache(maxsize=4096)
def cron_pattern(normal: str) -> CronPattern:
    """The pattern of a text that `check_cron` returned."""
    sim = CronSim(normal, _SOME_TIME)
    fields = sim.parts
    return CronPattern(
        days=" ".join(fields[3:]),
        seconds=tuple(sorted(sim.seconds)),
        minutes=tuple(sorted(sim.minutes)),
        hours=tuple(sorted(sim.hours)),
        real_time=fields[1].startswith("*") or fields[2].startswith("*"),
    )


def names_moments(normal: str) -> bool:
    """Whether a text that `check_cron` returned names moments of a day, rather than going on evenly in real time."""
    return not cron_pattern(normal).real_time


def _year(day: int) -> int:
    return date.fromordinal(day + _UNIX_DAY).year


@lru_cache(maxsize=4096)
def _matching_days(days: str, year: int) -> tuple[int, ...]:
    sim = CronSim(f"0 0 {days}", _SOME_TIME)
    first, end = date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal()
    every = (date.fromordinal(ordinal) for ordinal in range(first, end))
    return tuple(day.toordinal() - _UNIX_DAY for day in every if day.month in sim.months and sim.match_day(day))
