"""Cron texts on the clocks of many zones, against a walk along real time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.time.brute import ZONES, at, changes, cron_instants, local

from freshet.definitions.cron import check_cron
from freshet.definitions.instants import CronTimes, EveryTimes
from freshet.errors import DefinitionError

BERLIN = "Europe/Berlin"
# Each with a grain of five minutes; those in the first half name moments of a day.
TEXTS = (
    "30 2 * * *",
    "0 0 * * *",
    "15,45 0-3 * * *",
    "0 12 * * *",
    "0 30 1 * * *",
    "30 23 * * *",
    "0,30 2,3 * * SUN",
    "0 * * * *",
    "*/15 * * * *",
    "*/20 2 * * *",
    "0 */2 * * *",
    "30 */6 * * *",
    "0 30 * * * *",
    "*/10 */3 * * MON-SAT",
)


def until(times: CronTimes, after: float, end: float) -> list[float]:
    return list(itertools.takewhile(lambda one: one < end, times.instants(after)))


@pytest.mark.parametrize("zone", ZONES)
def test_every_change_of_ten_years(zone: str) -> None:
    """Around each change of the clock: next, last, count, and by number, from any start."""
    seen = [*changes(zone, 2016, 2025), int(at(2026, 6, 1))]
    if zone == "Pacific/Apia":
        seen.append(int(at(2011, 12, 30, 10)))
    for index, change in enumerate(seen):
        for cron in TEXTS[index % 3 :: 3]:
            start, end = change - 20 * 3600, change + 20 * 3600
            expected, times = cron_instants(cron, zone, start, end, step=300), CronTimes(cron, zone)
            case = (cron, zone, local(change, zone).isoformat())
            assert until(times, start - 1, end) == expected, case
            assert list(times.backward(end - 1, start - 1))[::-1] == expected, case
            assert times.count(start - 1, end - 1) == len(expected), case
            assert [times.select(start, number) for number in range(len(expected))] == expected, case
            for moment in range(change - 3 * 3600, change + 3 * 3600, 2900):
                after = [one for one in expected if one > moment]
                assert not after or times.after(moment) == after[0], case
                assert times.count(moment, end - 1) == len(after), case
                assert times.latest(moment, start - 1) == max(set(expected) - set(after), default=None), case


def test_a_removed_time_comes_once_at_the_shift() -> None:
    times = CronTimes("30 2 * * *", BERLIN)
    assert times.after(at(2026, 3, 28, 2, 30, zone=BERLIN)) == at(2026, 3, 29, 1)
    assert times.after(at(2026, 3, 29, 1)) == at(2026, 3, 30, 0, 30)


def test_with_seconds_it_is_the_same() -> None:
    """cronsim by itself leaves the day out here."""
    times = CronTimes("*/20 30 2 * * *", BERLIN)
    day = list(itertools.takewhile(lambda one: one < at(2026, 3, 30), times.instants(at(2026, 3, 29))))
    assert day == [at(2026, 3, 29, 1)]
    autumn = list(itertools.takewhile(lambda one: one < at(2026, 10, 26), times.instants(at(2026, 10, 25))))
    assert autumn == [at(2026, 10, 25, 0, 30, second) for second in (0, 20, 40)]


def test_started_inside_the_repeated_hour_nothing_of_the_past_comes() -> None:
    """cronsim by itself goes back in time here: what it names is 45 minutes ago."""
    times, second_pass = CronTimes("30 2 * * *", BERLIN), at(2026, 10, 25, 1, 15)
    assert times.after(second_pass) == at(2026, 10, 26, 1, 30)
    for zone in ZONES:
        for change in changes(zone, 2016, 2025):
            for cron in TEXTS:
                for after in range(change - 7200, change + 7200, 1300):
                    assert (CronTimes(cron, zone).after(after) or 0) > after


def test_lord_howe_loses_no_hour() -> None:
    """cronsim by itself loses 02:00 on the day the clock goes back half an hour."""
    zone = "Australia/Lord_Howe"
    times = CronTimes("0 */2 * * *", zone)
    found = [local(one, zone).hour for one in itertools.islice(times.instants(at(2026, 4, 4, 13, zone="UTC") - 1), 12)]
    assert found == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]


@settings(max_examples=60, deadline=None)
@given(
    cron=st.sampled_from(
        ["* * * * * *", "*/7 * * * * *", "5-50/9 10,40 * * * *", "0 */5 8-17 * * MON-FRI", "30 4 1,15 * *"]
    ),
    zone=st.sampled_from(ZONES),
    start=st.floats(at(2000, 1, 1), at(2035, 1, 1)),
    length=st.floats(0, 40_000),
)
def test_the_ways_to_ask_agree(cron: str, zone: str, start: float, length: float) -> None:
    times, end = CronTimes(cron, zone), start + length
    one_by_one = list(itertools.takewhile(lambda one: one <= end, times.instants(start)))
    assert all(start < one <= end for one in one_by_one)
    assert times.count(start, end) == len(one_by_one)
    assert times.latest(end, start) == (one_by_one[-1] if one_by_one else None)
    assert list(itertools.islice(times.backward(end, start), 50)) == one_by_one[::-1][:50]


@given(
    milliseconds=st.integers(1, 10**8),
    start=st.floats(-1e6, 4e9),
    steps=st.integers(0, 30),
)
@example(milliseconds=100, start=1790000000.3, steps=3)
def test_intervals_count_from_1970(milliseconds: int, start: float, steps: int) -> None:
    times = EveryTimes(milliseconds)
    found = list(itertools.islice(times.instants(start), steps + 1))
    assert all(round(one * 1000) % milliseconds == 0 for one in found)
    assert found[0] > start and (times.latest(found[0], start), times.after(start)) == (found[0], found[0])
    assert times.count(start, found[-1]) == len(found)
    assert list(times.backward(found[-1], start)) == found[::-1]
    assert EveryTimes(milliseconds).after(found[0]) == times.after(found[0]), "a restart shifts nothing"


def test_a_year_of_seconds_is_counted_at_once() -> None:
    times = CronTimes("* * * * * *", BERLIN)
    assert times.count(at(2026, 1, 1), at(2027, 1, 1)) == 365 * 86400
    assert times.latest(at(2027, 1, 1), at(2026, 1, 1)) == at(2027, 1, 1)


def test_rare_days() -> None:
    assert CronTimes(check_cron("0 0 29 2 *", what="x"), "UTC").after(at(2024, 3, 1)) == at(2028, 2, 29)
    assert CronTimes(check_cron("0 0 29 2 *", what="x"), "UTC").latest(at(2027, 1, 1), at(2020, 1, 1)) == at(
        2024, 2, 29
    )
    fifth = CronTimes(check_cron("0 0 * 2 MON#5", what="x"), "UTC")
    assert fifth.after(at(2025, 1, 1)) == at(2044, 2, 29)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("@daily", "0 0 * * *"),
        ("@Hourly ", "0 * * * *"),
        (" 0  6 * * mon ", "0 6 * * MON"),
        ("0 0 * * * *", "0 0 * * * *"),
    ],
)
def test_normal_forms(text: str, normal: str) -> None:
    assert check_cron(text, what="x") == normal


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("61 * * * *", "minute"),
        ("* * *", "3 fields"),
        ("0 0 30 2 *", "never comes (no month"),
        ("@fortnightly", "@daily"),
        ("", "0 fields"),
        ("* * * * FUNDAY", "day-of-week"),
        ("*/0 * * * *", "minute"),
        ("* * * * * * *", "7 fields"),
        ("9" * 9000 + " * * * *", "cron"),
        ("5-1 * * * *", "minute"),
    ],
)
def test_a_wrong_text_says_what_and_where(text: str, says: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_cron(text, what="schedule nightly")
    said = str(caught.value)
    assert said.startswith("schedule nightly: cron") and says in said and caught.value.hint
    assert "\n" not in said and len(said) < 300
