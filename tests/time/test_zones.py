"""The course of a zone's clock."""

from __future__ import annotations

import zoneinfo
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.time.brute import ZONES, at, changes, local

from freshet.definitions.zones import ZoneClock, check_zone, year_start
from freshet.errors import DefinitionError


@pytest.mark.parametrize("zone", ZONES)
def test_stretches_are_what_zoneinfo_says(zone: str) -> None:
    first, end = int(at(2016, 1, 1)), int(at(2026, 1, 1))
    stretches = takewhile(lambda one: one.start < end, ZoneClock(zone).forward(first))
    found = [one.start for one in stretches if one.offset != one.before and one.start >= first]
    assert tuple(found) == changes(zone, 2016, 2025)


@given(zone=st.sampled_from(ZONES), instant=st.integers(-1_500_000_000, 4_000_000_000))
def test_offset_and_neighbours(zone: str, instant: int) -> None:
    clock = ZoneClock(zone)
    offset = local(instant, zone).utcoffset()
    assert offset is not None and clock.offset(instant) == offset.total_seconds()
    here, before = clock.at(instant), next(clock.backward(instant))
    assert here == before and here.start <= instant < here.end
    assert next(clock.backward(here.start - 1)).end == here.start
    first = clock.instant(clock.local(instant))
    assert first <= instant and clock.local(first) == clock.local(instant), "the first of the two, where it is repeated"


def test_a_removed_time_is_its_shift() -> None:
    clock = ZoneClock("Europe/Berlin")
    removed = int(at(2026, 3, 29, 2, 30))  # as if the local clock were UTC's
    assert clock.instant(removed) == at(2026, 3, 29, 1)


@pytest.mark.parametrize(
    ("zone", "nearest"),
    [
        ("Europe/Berlim", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("new york", "America/New_York"),
        ("utc ", "UTC"),
    ],
)
def test_an_unknown_zone_offers_the_nearest(zone: str, nearest: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_zone(zone, what="schedule nightly")
    assert "schedule nightly" in caught.value.message and nearest in caught.value.hint


@pytest.mark.parametrize("zone", ["", "../etc/passwd", "/etc/localtime", "a\0b", "x" * 5000, 7])
def test_no_zones(zone: object) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_zone(zone, what="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert caught.value.hint and len(caught.value.message) < 200


@pytest.mark.slow
def test_no_years_start_cuts_a_repeated_hour_in_two() -> None:
    for zone in sorted(zoneinfo.available_timezones()):
        clock = ZoneClock(zone)
        for year in range(1900, 2040):
            for back in range(0, 26):
                instant = year_start(year) - back * 3600 - 1
                repeated = clock.offset(instant) - clock.offset(year_start(year))
                assert repeated <= back * 3600, (zone, year, "the repeated time goes on beyond the start of the year")
