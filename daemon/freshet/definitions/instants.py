"""From local times to instants: when a cron text or an interval comes, in UTC.

A cron text that names moments of a day (`30 2 * * *`) comes once where its time is removed, at the shift, and once
where its time is repeated, the first time. One that begins its minutes or hours with `*` (`*/15 * * * *`) follows real
time: nothing in a removed hour, and again in a repeated one. The same holds with six fields.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from freshet.definitions.cron import CronPattern, cron_pattern
from freshet.definitions.zones import Stretch, ZoneClock

__all__ = ["CronTimes", "EveryTimes", "Times"]

_YEAR = 366 * 86400
_HORIZON = 51 * _YEAR


@dataclass(frozen=True, slots=True)
class EveryTimes:
    """Every so many milliseconds, counted from 1970-01-01T00:00Z: neither a restart nor an edit of anything else moves
    them. `milliseconds` is at least 1."""

    milliseconds: int

    def after(self, instant: float) -> float:
        """The first one later than `instant`."""
        return self._at(self._index(instant) + 1)

    def latest(self, now: float, after: float) -> float | None:
        """The last one in (after, now]."""
        index = self._index(now)
        return self._at(index) if index > self._index(after) else None

    def count(self, after: float, until: float) -> int:
        """How many lie in (after, until]."""
        return max(0, self._index(until) - self._index(after))

    def instants(self, after: float) -> Iterator[float]:
        """All later than `after`, in order."""
        index = self._index(after)
        while True:
            index += 1
            yield self._at(index)

    def backward(self, now: float, after: float) -> Iterator[float]:
        """Those in (after, now], the last one first."""
        return (self._at(index) for index in range(self._index(now), self._index(after), -1))

    def _at(self, index: int) -> float:
        return index * self.milliseconds / 1000

    def _index(self, instant: float) -> int:
        """The last one that is not later than `instant`."""
        index = math.floor(instant * 1000 / self.milliseconds)
        # The product may have been rounded across the instant itself.
        while self._at(index) > instant:
            index -= 1
        while self._at(index + 1) <= instant:
            index += 1
        return index


@dataclass(frozen=True, slots=True)
class CronTimes:
    """When a cron text (in the form that `check_cron` returns) comes on the clock of a zone."""

    cron: str
    zone: str

    def after(self, instant: float) -> float | None:
        """The first one later than `instant`; None if there is none for fifty years."""
        found = self.first(math.floor(instant) + 1)
        return None if found is None else float(found)

    def latest(self, now: float, after: float) -> float | None:
        """The last one in (after, now]. Takes no longer for a downtime of years."""
        found = self.last(math.floor(now) + 1, math.floor(after) + 1)
        return None if found is None else float(found)

    def count(self, after: float, until: float) -> int:
        """How many lie in (after, until]: counted by days, not one by one."""
        return self.number_in(math.floor(after) + 1, math.floor(until) + 1)

    def instants(self, after: float) -> Iterator[float]:
        """All later than `after`, in order."""
        found = self.first(math.floor(after) + 1)
        while found is not None:
            yield float(found)
            found = self.first(found + 1)

    def backward(self, now: float, after: float) -> Iterator[float]:
        """Those in (after, now], the last one first."""
        start = math.floor(after) + 1
        found = self.last(math.floor(now) + 1, start)
        while found is not None:
            yield float(found)
            found = self.last(found, start)

    # In whole seconds, from here on. Of each stretch of one offset: an instant at its start, for what was removed
    # there, and the local times that belong to it alone.

    def first(self, start: int) -> int | None:
        """The first one at or after `start`."""
        pattern, clock = cron_pattern(self.cron), ZoneClock(self.zone)
        now = clock.at(start)
        if start > now.start + max(0, now.before - now.offset):  # past what was removed or repeated: nearly always
            local = pattern.first(start + now.offset)
            if local is None or local < now.end + now.offset:
                return None if local is None else local - now.offset
        for stretch in clock.forward(start):
            if stretch.start > start + _HORIZON:
                break
            head, low, high = _ground(pattern, stretch)
            if head and stretch.start >= start:
                return stretch.start
            local = pattern.first(max(low, start + stretch.offset))
            if local is None:
                break
            if local < high:
                return local - stretch.offset
        return None

    def last(self, end: int, start: int) -> int | None:
        """The last one in [start, end)."""
        pattern, clock = cron_pattern(self.cron), ZoneClock(self.zone)
        if end <= start:
            return None
        now = clock.at(end - 1)
        own = now.start + max(now.before, now.offset) + 1  # beyond what was removed or repeated, in local time
        local = pattern.last(min(end, now.end) + now.offset)
        if local is not None and local >= own:
            return local - now.offset if local - now.offset >= start else None
        for stretch in clock.backward(end - 1):
            if stretch.end <= start or stretch.start < end - _HORIZON:
                break
            head, low, high = _ground(pattern, stretch)
            local = pattern.last(min(high, end + stretch.offset))
            if local is not None and local >= max(low, start + stretch.offset):
                return local - stretch.offset
            if head and start <= stretch.start < end:
                return stretch.start
        return None

    def number_in(self, start: int, end: int) -> int:
        """How many lie in [start, end)."""
        pattern, total = cron_pattern(self.cron), 0
        if end <= start:
            return 0
        for stretch in ZoneClock(self.zone).forward(start):
            if stretch.start >= end:
                break
            head, low, high = _ground(pattern, stretch)
            total += head and stretch.start >= start
            total += pattern.count(max(low, start + stretch.offset), min(high, end + stretch.offset))
        return total

    def select(self, start: int, index: int) -> int | None:
        """The one that has `index` others between `start` and itself."""
        pattern = cron_pattern(self.cron)
        for stretch in ZoneClock(self.zone).forward(start):
            head, low, high = _ground(pattern, stretch)
            if head and stretch.start >= start:
                if index == 0:
                    return stretch.start
                index -= 1
            low = max(low, start + stretch.offset)
            here = pattern.count(low, high)
            if index < here:
                local = pattern.select(low, index)
                assert local is not None, "counted, so it is there"
                return local - stretch.offset
            index -= here
        return None


def _ground(pattern: CronPattern, stretch: Stretch) -> tuple[bool, int, int]:
    """Whether something comes at the very start of the stretch, for times that were removed there; and from which to
    which local time its own times go."""
    begins, ended, high = stretch.start + stretch.offset, stretch.start + stretch.before, stretch.end + stretch.offset
    if pattern.real_time or begins == ended:
        return False, begins, high
    if begins > ended:
        # What was removed comes at the shift; so does what the clock shows at the shift: once.
        removed = pattern.count(ended, begins) > 0
        return removed, begins + removed, high
    return False, ended, max(ended, high)


Times = CronTimes | EveryTimes
"""When something comes, as instants: seconds since 1970 in UTC."""
