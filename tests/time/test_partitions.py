"""Partitions in time: keys, numbers and windows, exact where clocks move."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tests.time.brute import SKIPPED_DAY, ZONES, at, changes, local

from freshet import DefinitionError, PartitionKeyError, TimePartitions
from freshet.definitions.partitions import PartitionsSpec
from freshet.definitions.windows import Windows

BERLIN = "Europe/Berlin"
CADENCES = ("daily", "hourly", "weekly", "monthly", "*/15 * * * *", "30 2 * * *", "0 9 * * MON-FRI", "* * * * * *")


def partitions(
    cadence: str = "daily", zone: str = BERLIN, start: str = "2026-01-01", end_offset: int = 0
) -> TimePartitions:
    return TimePartitions(cadence, start, timezone=zone, end_offset=end_offset)


def test_the_key_forms() -> None:
    assert partitions().window("2026-03-29").end - partitions().window("2026-03-29").start == 23 * 3600
    hourly = partitions("hourly")
    long_day = [
        key for _, key in hourly.keys(*_ends(hourly.between("2026-10-25T00:00+02:00", "2026-10-25T23:00+01:00")))
    ]
    assert len(long_day) == len(set(long_day)) == 25
    assert long_day[2:4] == ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"]
    assert partitions("weekly").key(partitions("weekly").first) == "2026-01-05"
    assert partitions("monthly").shifted("2026-03-01", -1) == "2026-02-01"
    assert partitions("*/30 * * * * *").shifted("2026-03-29T03:00+02:00", -1) == "2026-03-29T01:59:30+01:00"


def _ends(numbers: range) -> tuple[int, int]:
    return numbers[0], numbers[-1]


@pytest.mark.parametrize("zone", ZONES)
def test_days_are_the_calendars(zone: str) -> None:
    """Every day of twelve years: one partition, from the first moment of its date to the first of the next."""
    daily, day = partitions(zone=zone, start="2010-01-01"), date(2010, 1, 1)
    expected: list[str] = []
    while day < date(2022, 1, 1):
        if (zone, day) != SKIPPED_DAY:
            expected.append(day.isoformat())
        day += timedelta(days=1)
    numbered = list(daily.keys(*_ends(daily.between("2010-01-01", "2021-12-31"))))
    assert [key for _, key in numbered] == expected
    assert [number for number, _ in numbered] == list(range(numbered[0][0], numbered[0][0] + len(expected)))
    windows = [daily.windows.window(number) for number, _ in numbered]
    assert all(one.end == following.start for one, following in itertools.pairwise(windows))
    for (_, key), window in zip(numbered, windows, strict=True):
        assert local(window.start, zone).date().isoformat() == key
        assert local(window.start - 1, zone).date().isoformat() < key, "the first moment of its date"


def test_a_day_that_was_left_out() -> None:
    apia = partitions(zone="Pacific/Apia", start="2011-12-01")
    assert apia.shifted("2011-12-29", 1) == "2011-12-31"
    assert apia.window("2011-12-29").end == apia.window("2011-12-31").start
    with pytest.raises(PartitionKeyError, match="'2011-12-30'") as caught:
        apia.number("2011-12-30")
    assert "2011-12-31" in caught.value.hint


@pytest.mark.parametrize("zone", ZONES)
def test_hours_are_the_clocks(zone: str) -> None:
    """Around each change: an hour begins whenever the clock shows a full one."""
    hourly = partitions("hourly", zone, "2000-01-01")
    for change in changes(zone, 2016, 2025):
        start, end = change - change % 900 - 6 * 3600, change + 6 * 3600
        full = [one for one in range(start, end, 300) if local(one, zone).minute == 0]
        first = hourly.windows.at(full[0])
        assert [hourly.windows.edge(first + index) for index in range(len(full))] == full
        for index, one in enumerate(full):
            key = hourly.key(first + index)
            assert datetime.fromisoformat(key) == datetime.fromisoformat(local(one, zone).isoformat())
            assert key == local(one, zone).isoformat(timespec="minutes")
            assert hourly.number(key) == first + index
            assert hourly.windows.at(one - 1) == first + index - 1


@settings(max_examples=150, deadline=None)
@given(cadence=st.sampled_from(CADENCES), zone=st.sampled_from(ZONES), instant=st.integers(10**8, 4 * 10**9))
def test_numbers_keys_and_windows_go_both_ways(cadence: str, zone: str, instant: int) -> None:
    windows = partitions(cadence, zone).windows
    number = windows.at(instant)
    window, key = windows.window(number), windows.key(number)
    assert window.start <= instant < window.end
    assert windows.number(key) == number == windows.at(window.start) == windows.at(window.end - 1)
    assert windows.at(window.end) == number + 1
    assert Windows(windows.cadence, zone).number(key) == number, "nothing depends on what was asked before"
    assert len(key) <= 25 and 1 <= number < 2**32
    assert list(windows.keys(number, number + 3)) == [(one, windows.key(one)) for one in range(number, number + 4)]


@settings(deadline=None)
@given(
    cadence=st.sampled_from(CADENCES[:6]),
    zone=st.sampled_from(ZONES),
    start=st.dates(date(2015, 1, 1), date(2027, 1, 1)),
    end_offset=st.integers(-3, 3),
    now=st.integers(int(at(2014, 6, 1)), int(at(2028, 1, 1))),
)
def test_what_is_live(cadence: str, zone: str, start: date, end_offset: int, now: int) -> None:
    made = TimePartitions(cadence, start, timezone=zone, end_offset=end_offset)
    live, windows = made.live(now), made.windows
    assert windows.edge(made.first) >= made.begins > windows.edge(made.first - 1)
    closed_or_shifted = [one for one in range(made.first, made.first + 5) if windows.edge(one + 1 - end_offset) <= now]
    assert closed_or_shifted == list(live[:5])
    following = made.next_change(now)
    assert following is not None and following > now
    assert made.live(following - 1) == live and len(made.live(following)) == len(live) + 1
    assert made.closed_by(now) == (live[-1] if live else None)
    assert not made.is_live(made.first - 1, now) and (not live or made.is_live(live[-1], now))
    assert not made.is_live(live.stop, now)


def test_a_tick_closes_a_partition() -> None:
    daily = partitions()
    closed = daily.closed_by(at(2026, 3, 30, 6, zone=BERLIN))
    assert closed is not None and daily.key(closed) == "2026-03-29"
    assert daily.closed_by(at(2026, 1, 1, 23, zone=BERLIN)) is None


def test_numbers_do_not_depend_on_start() -> None:
    early, late = partitions(start="2020-01-01"), partitions(start="2025-06-01")
    assert early.number("2026-03-29") == late.number("2026-03-29")
    assert (early.name, early.numbering) == (late.name, late.numbering) and early != late
    assert partitions(zone="UTC").name != early.name != partitions("hourly").name


def test_the_configurations_zone() -> None:
    made = TimePartitions("daily", "2026-01-01")
    with pytest.raises(ValueError, match="not resolved"):
        made.number("2026-01-01")
    assert made.resolved(BERLIN) == partitions()
    assert TimePartitions("daily", "2026-01-01", name="days").resolved(BERLIN).name == "days"
    assert partitions().resolved("UTC") == partitions()


def test_a_set_is_plain_data() -> None:
    sets = [partitions("0 9 * * MON"), TimePartitions("daily", date(2026, 1, 1), name="days")]
    assert TypeAdapter(list[PartitionsSpec]).validate_json(orjson.dumps(sets)) == sets


@pytest.mark.parametrize(
    ("cadence", "key", "says"),
    [
        ("daily", "2026-02-30", "write it as 2026-03-29"),
        ("daily", "20260228", "nearest is '2026-02-28'"),
        ("daily", "1899-12-31", "first is '1900-01-01'"),
        ("daily", "9999-01-01", "years from 1900"),
        ("daily", "0001-01-01", "years from 1900"),
        ("weekly", "2026-03-29", "nearest is '2026-03-23'"),
        ("monthly", "2026-03-29", "nearest is '2026-03-01'"),
        ("hourly", "2026-03-29T02:00", "offset to UTC"),
        ("hourly", "2026-03-29T02:30+02:00", "nearest is '2026-03-29T01:00+01:00'"),
        ("hourly", "2026-03-29T01:00Z", "nearest is '2026-03-29T03:00+02:00'"),
        ("hourly", "../../etc/passwd", "offset to UTC"),
        ("hourly", "x" * 10_000, "offset to UTC"),
    ],
)
def test_no_keys(cadence: str, key: str, says: str) -> None:
    with pytest.raises(PartitionKeyError) as caught:
        partitions(cadence).number(key)
    assert says in str(caught.value) and len(str(caught.value)) < 250


def test_ranges_that_run_backward() -> None:
    with pytest.raises(PartitionKeyError, match="runs backward"):
        partitions().between("2026-03-29", "2026-03-28")
    with pytest.raises(PartitionKeyError):
        partitions().shifted("1900-01-01", -1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"cadence": "dayly"}, "did you mean 'daily'?"),
        ({"cadence": "61 * * * *"}, "minute"),
        ({"timezone": "Europe/Berlim"}, "Europe/Berlin"),
        ({"start": "soon"}, "2026-01-01"),
        ({"start": "1850-01-01"}, "1900"),
        ({"end_offset": "1"}, "end_offset"),
        ({"name": "a/b"}, "not a name"),
    ],
)
def test_sets_that_cannot_be(arguments: dict[str, str], says: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        TimePartitions(**{"cadence": "daily", "start": "2026-01-01", **arguments})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert says in str(caught.value) and "\n" not in str(caught.value)
