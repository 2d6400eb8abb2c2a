"""Time zones: their names, and the course of a zone's local clock as stretches of one offset.

Everything is in whole seconds: an *instant* counts from 1970 in UTC, a *local* time from 1970-01-01T00:00 on the zone's
own clock. Where a stretch begins on a later local time than the one before ended on, that time was removed (spring);
where on an earlier one, it is repeated (autumn). Both, and days that a zone left out, are nothing but this.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from freshet.definitions.names import nearest_hint
from freshet.errors import DefinitionError

__all__ = [
    "DAY",
    "EPOCH",
    "MAX_YEAR",
    "Stretch",
    "ZoneClock",
    "check_zone",
    "forget_zones",
    "local_datetime",
    "year_of",
    "year_start",
]

DAY = 86400
EPOCH = datetime(1970, 1, 1)  # local times are naive by meaning
MAX_YEAR = 2500


def check_zone(name: str, *, what: str) -> str:
    """Return `name`, or raise `DefinitionError` naming `what` and the nearest zone."""
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # plugins are not type-checked
        raise DefinitionError(f"{what}: timezone {name!r} is not a text", hint='write it as "Europe/Berlin"')
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        by_city = {zone.rpartition("/")[2]: zone for zone in sorted(known)}
        city = by_city.get(name.strip().replace(" ", "_").title())
        places = {zone for zone in known if "/" in zone} | {"UTC"}  # EST is near to CEST in letters alone
        hint = f"did you mean {city!r}?" if city else nearest_hint(name, places)
        if not hint.startswith("did"):
            hint = 'write it as in the IANA database: "UTC", "Europe/Berlin"'
        raise DefinitionError(f"{what}: there is no time zone {name[:60]!r}", hint=hint) from None
    return name


def forget_zones() -> None:
    """Read the zones' rules again when they are next needed: after an update of the time zone data."""
    zoneinfo.ZoneInfo.clear_cache()
    _stretches.cache_clear()
    _recent.clear()


def local_datetime(local: int) -> datetime:
    """A local time as a naive datetime."""
    return EPOCH + timedelta(seconds=local)


def year_start(year: int) -> int:
    """The instant at which a year of stretches begins: the middle of January, because the law likes to change a
    clock at the turn of the year, and a repeated hour must not be cut in two."""
    return round(datetime(year, 1, 15, 12, tzinfo=UTC).timestamp())


def year_of(instant: int) -> int:
    """The year of stretches that holds an instant."""
    year = local_datetime(instant).year
    return year if instant >= year_start(year) else year - 1


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `start` up to `end` (instants) the local clock is `offset` ahead of UTC; just before, it was `before`."""

    start: int
    end: int
    offset: int
    before: int


@dataclass(frozen=True, slots=True)
class ZoneClock:
    """The local clock of a zone."""

    zone: str

    def forward(self, instant: int) -> Iterator[Stretch]:
        """Stretches from the one that holds `instant` on, up to `MAX_YEAR`. The start of a year also ends a stretch."""
        for year in range(year_of(instant), MAX_YEAR):
            for stretch in _stretches(self.zone, year):
                if stretch.end > instant:
                    yield stretch

    def backward(self, instant: int) -> Iterator[Stretch]:
        """Stretches from the one that holds `instant` back to the year 1."""
        for year in range(year_of(instant), 1, -1):
            for stretch in reversed(_stretches(self.zone, year)):
                if stretch.start <= instant:
                    yield stretch

    def at(self, instant: int) -> Stretch:
        """The stretch that holds an instant. Raises `OverflowError` outside the years 2 to `MAX_YEAR`."""
        found = _recent.get(self.zone)
        if found is None or not found.start <= instant < found.end:
            found = next(self.forward(instant), None)
            if found is None:
                raise OverflowError(f"{instant} lies beyond the year {MAX_YEAR}")
            _recent[self.zone] = found
        return found

    def offset(self, instant: int) -> int:
        """Seconds by which the local clock is ahead of UTC."""
        return self.at(instant).offset

    def local(self, instant: int) -> int:
        """The local time at an instant."""
        return instant + self.offset(instant)

    def instant(self, local: int) -> int:
        """The instant of a local time: of a repeated one the first, of a removed one the shift."""
        for stretch in self.forward(local - 2 * DAY):
            if local < stretch.end + stretch.offset:
                return max(stretch.start, local - stretch.offset)
        raise OverflowError(f"{local_datetime(local)} lies beyond the year {MAX_YEAR}")


# The stretch found last for each zone: what is asked next mostly lies in it too.
_recent: dict[str, Stretch] = {}


@lru_cache(maxsize=4096)
def _stretches(zone: str, year: int) -> tuple[Stretch, ...]:
    """The stretches of one year. Looks once a day: no zone has gone there and back within one."""
    info = zoneinfo.ZoneInfo(zone)

    def offset_at(instant: int) -> int:
        offset = datetime.fromtimestamp(instant, UTC).astimezone(info).utcoffset()
        assert offset is not None
        return round(offset.total_seconds())

    begin, end = year_start(year), year_start(year + 1)
    found: list[Stretch] = []
    start, offset, before, seen = begin, offset_at(begin), offset_at(begin - 1), begin
    while seen < end:
        ahead = min(seen + DAY, end)
        if offset_at(ahead - 1) != offset:
            low, high = seen - 1, ahead - 1  # the offset of low is the old one, that of high a new one
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset_at(middle) == offset else (low, middle)
            found.append(Stretch(start, high, offset, before))
            start, before, offset, ahead = high, offset, offset_at(high), high + 1
        seen = ahead
    found.append(Stretch(start, end, offset, before))
    return tuple(found)
