"""The oracle: what zoneinfo says of every moment, and nothing else of ours."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from cronsim import CronSim

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/Sao_Paulo",  # midnight was removed; gave the change up in 2019
    "America/Havana",  # midnight is removed, and repeated
    "Australia/Lord_Howe",  # half an hour
    "Asia/Kathmandu",  # +05:45
    "Asia/Tehran",  # changed at midnight; gave it up in 2022
    "Asia/Amman",  # stayed in summer in 2022
    "Africa/Casablanca",  # four changes a year, around Ramadan
    "Africa/Cairo",  # took the change up again in 2023
    "Asia/Pyongyang",  # half an hour at midnight, once each way
    "Asia/Beirut",
    "America/Caracas",  # half an hour
    "Antarctica/Troll",  # two hours
    "Pacific/Apia",  # left out a day; gave the change up in 2021
    "Europe/Istanbul",  # stayed in summer in 2016
    "America/Nuuk",  # changed its rule in 2023
)
SKIPPED_DAY = ("Pacific/Apia", date(2011, 12, 30))


def at(*place: int, zone: str = "UTC", fold: int = 0) -> float:
    """The instant of a local time."""
    return datetime(*place, tzinfo=zoneinfo.ZoneInfo(zone), fold=fold).timestamp()  # type: ignore[arg-type,misc]  # pyright: ignore[reportArgumentType]


def local(instant: float, zone: str) -> datetime:
    """What the clock of a zone shows."""
    return datetime.fromtimestamp(instant, UTC).astimezone(zoneinfo.ZoneInfo(zone))


@lru_cache(maxsize=256)
def changes(zone: str, first_year: int, last_year: int) -> tuple[int, ...]:
    """The instants at which the offset changes, by looking at every quarter of an hour."""
    found: list[int] = []
    instant, end = int(at(first_year, 1, 1)), int(at(last_year + 1, 1, 1))
    before = local(instant, zone).utcoffset()
    while instant < end:
        instant += 900
        offset = local(instant, zone).utcoffset()
        if offset != before:
            found.append(instant)
        before = offset
    return tuple(found)


def matcher(cron: str) -> Callable[[datetime], bool]:
    """Whether a cron text names a local time, asked of cronsim's fields."""
    sim = CronSim(cron, datetime(2000, 1, 1))

    def matches(when: datetime) -> bool:
        return (
            when.second in sim.seconds
            and when.minute in sim.minutes
            and when.hour in sim.hours
            and when.month in sim.months
            and sim.match_day(when.date())
        )

    return matches


def cron_instants(cron: str, zone: str, start: float, end: float, step: int = 60) -> list[float]:
    """Every instant of [start, end): a walk along real time, `step` seconds at a time.

    Real time: whenever the local clock shows a matching time. Otherwise: whenever it shows one for the first time;
    where it jumps ahead over one, at the jump.
    """
    fields = cron.split() if len(cron.split()) == 6 else ["0", *cron.split()]
    real_time, matches = fields[1].startswith("*") or fields[2].startswith("*"), matcher(cron)
    return list(_walk(matches, zone, start, end, step, real_time=real_time))


def _walk(
    matches: Callable[[datetime], bool], zone: str, start: float, end: float, step: int, *, real_time: bool
) -> Iterator[float]:
    # A day and more earlier, so that what was already shown is known.
    instant, shown = start - 26 * 3600, datetime.min
    while instant < end:
        now = local(instant, zone).replace(tzinfo=None, fold=0)
        if real_time:
            hit = matches(now)
        else:
            jumped = shown != datetime.min and now > shown + timedelta(seconds=step)
            skipped = _between(shown + timedelta(seconds=step), now, step) if jumped else iter(())
            hit = now > shown and (matches(now) or any(matches(one) for one in skipped))
            shown = max(shown, now)
        if hit and instant >= start:
            yield instant
        instant += step


def _between(start: datetime, end: datetime, step: int) -> Iterator[datetime]:
    while start < end:
        yield start
        start += timedelta(seconds=step)
