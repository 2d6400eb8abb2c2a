"""Moments as people write them, and as a simulation prints them: local times of one zone."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from freshet.definitions.durations import parse_duration
from freshet.definitions.zones import DAY, EPOCH, ZoneClock
from freshet.errors import DurationError, FreshetError

__all__ = ["WrongMoment", "moment_of", "shown", "until_of"]

_HOW = 'write it as "2026-03-01", "2026-03-01T02:30" or "2026-03-01T02:30:00+01:00"'
_TIMES = "give a time between 1971 and 2400"
_YEARS = range(1971, 2400)
_DAYS = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?")


class WrongMoment(FreshetError):
    """A text that is no moment."""


def moment_of(text: str, zone: str, *, what: str) -> float:
    """Seconds since 1970 of a date or a date and time, in `zone` where it names no offset.

    A local time that a clock change repeats is the first, one that it removes is the shift. Raises `WrongMoment`.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise WrongMoment(f"{what}: {text[:60]!r} is no date and no time", hint=_HOW) from None
    if found.year not in _YEARS:
        raise WrongMoment(f"{what}: {text[:60]!r} is too far away", hint=_TIMES)
    if found.tzinfo is not None:
        return found.timestamp()
    local = (found - EPOCH) / timedelta(seconds=1)
    whole = math.floor(local)
    return ZoneClock(zone).instant(whole) + (local - whole)


def until_of(text: str, begin: float, zone: str, *, what: str) -> float:
    """A moment, or a duration after `begin`: of that, whole days (and weeks) are days on the zone's clock, which may
    have 23 or 25 hours. Raises `WrongMoment`."""
    try:
        seconds = parse_duration(text, what=what)
    except DurationError:
        return _end_of(text, zone, what=what)
    said = _DAYS.match(text.strip())
    weeks, days = (int(count or 0) for count in said.groups()) if said else (0, 0)
    whole = (7 * weeks + days) * DAY
    if not whole:
        return begin + seconds
    clock, start = ZoneClock(zone), math.floor(begin)
    try:
        return clock.instant(clock.local(start) + whole) + (begin - start) + (seconds - whole)
    except OverflowError:
        raise WrongMoment(f"{what}: {text[:60]!r} is too far away", hint=_TIMES) from None


def _end_of(text: str, zone: str, *, what: str) -> float:
    try:
        return moment_of(text, zone, what=what)
    except WrongMoment as error:
        raise WrongMoment(error.message, hint=f'{_HOW}, or as a duration: "36h", "30d"') from None


@lru_cache(maxsize=256)
def shown(at: float, zone: str) -> str:
    """The local time with its offset, to the second, or to the millisecond where there is a part of one."""
    millis = round(at * 1000)
    seconds, part = divmod(millis, 1000)
    there = timezone(timedelta(seconds=ZoneClock(zone).offset(seconds)))
    text = datetime.fromtimestamp(seconds, UTC).astimezone(there).isoformat()
    return text if not part else f"{text[:19]}.{part:03d}{text[19:]}"
