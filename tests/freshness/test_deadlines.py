"""Deadlines by a cron text, against looking at every instant that a zone's clock shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet import DefinitionError, Freshness
from freshet.definitions.deadlines import Standing, counts_from, lapse_deadline, state_at, warn_deadline, when_made
from freshet.definitions.freshness import FreshnessSpec

ZONES = {"Europe/Berlin": datetime(2026, 3, 27, tzinfo=UTC), "America/New_York": datetime(2026, 10, 30, tzinfo=UTC),
         "Australia/Lord_Howe": datetime(2026, 4, 3, tzinfo=UTC), "UTC": datetime(2026, 1, 1, tzinfo=UTC)}  # fmt: skip
DAYS = 5


@lru_cache(maxsize=512)
def instants(zone: str, hour: int, minute: int) -> tuple[float, ...]:
    """When a daily time comes, minute by minute: where it is removed at the shift, where it is repeated the first."""
    info, at = ZoneInfo(zone), ZONES[zone] - timedelta(days=2)
    found: list[float] = []
    seen: set[object] = set()
    before = at.astimezone(info).replace(tzinfo=None) - timedelta(minutes=1)
    for step in range((DAYS + 4) * 1440):
        moment = at + timedelta(minutes=step)
        local = moment.astimezone(info).replace(tzinfo=None)
        passed = [before + timedelta(minutes=n) for n in range(1, round((local - before) / timedelta(minutes=1)) + 1)]
        hit = [one for one in passed if (one.hour, one.minute) == (hour, minute) and one.date() not in seen]
        if hit:
            seen.add(hit[0].date())
            found.append(moment.timestamp())
        before = local
    return tuple(found)


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(sorted(ZONES)),
    hour=st.sampled_from([0, 1, 2, 3, 23]),
    minute=st.sampled_from([0, 15, 30, 59]),
    window=st.sampled_from([60.0, 3600.0, 7200.0, 100_000.0]),
    since=st.integers(0, DAYS * 1440),
    begun=st.one_of(st.none(), st.integers(-1440, DAYS * 1440)),
    now=st.integers(0, DAYS * 1440),
)
def test_lapsed_is_what_missed_a_deadline(
    zone: str, hour: int, minute: int, window: float, since: int, begun: int | None, now: int
) -> None:
    start = ZONES[zone].timestamp()
    first, moment = start + 60 * since, start + 60 * now
    policy = FreshnessSpec(cron=f"{minute} {hour} * * *", timezone=zone, window=window, warn=60.0)
    made = None if begun is None else start + 60 * begun
    counts = first if made is None else counts_from(policy, 0.0, made, first)
    missed = [one for one in instants(zone, hour, minute) if one > first and (made is None or made < one - window)]
    assert lapse_deadline(policy, counts) == next(iter(missed), None) or not missed
    passed = [one for one in missed if one <= moment]
    assert (state_at(policy, counts, moment) == "lapsed") == bool(passed)
    if missed:
        assert warn_deadline(policy, counts) == missed[0] - 60
        assert (
            state_at(policy, counts, missed[0] - 60) == "warn" and state_at(policy, counts, missed[0] - 61) == "fresh"
        )


POLICY = FreshnessSpec(cron="0 6 * * *", timezone="UTC", window=3600.0)
SIX = datetime(2026, 1, 1, 6, tzinfo=UTC).timestamp()


def test_work_that_took_too_long_does_not_end_the_lapse_it_ran_into() -> None:
    missed = Standing(since=SIX - 90_000, made=True, made_at=SIX - 80_000, counts=SIX - 76_400, state="lapsed")
    slow = when_made(POLICY, missed, made_at=SIX + 600, begun=SIX - 3601, told=False, now=SIX + 600)
    assert slow is not None and slow.state == "lapsed"
    late = when_made(POLICY, slow, made_at=SIX + 700, begun=SIX - 3600, told=False, now=SIX + 700)
    assert late is not None and late.state == "fresh"
    assert lapse_deadline(POLICY, late.counts) == SIX + 86_400


@pytest.mark.parametrize("zone", sorted(ZONES))
@pytest.mark.parametrize("counts", [-1.0, -1e9, -62135596800.0, -62135596800.0 + 86_400 * 20, -253402300799.0])
def test_what_was_made_before_all_calendars_has_lapsed(zone: str, counts: float) -> None:
    policy = FreshnessSpec(cron="0 6 * * *", timezone=zone, window=3600.0, warn=60.0)
    deadline = lapse_deadline(policy, counts)
    assert deadline is not None and 0 < deadline <= 2 * 86_400.0
    assert state_at(policy, counts, 1e9) == "lapsed"


def test_a_text_that_never_comes_again_lapses_no_more() -> None:
    assert lapse_deadline(FreshnessSpec(cron="0 0 1 1 *", timezone="UTC", window=1.0), 16_725_225_600.0) is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "either within= or cron="),
        ({"within": "1h", "cron": "0 6 * * *"}, "either within= or cron="),
        ({"cron": "0 6 * * *"}, "takes a window="),
        ({"cron": "0 6 * *", "window": "1h"}, "has 4 fields"),
        ({"cron": "0 6 * * *", "window": "1h", "timezone": "Berlin"}, "Europe/Berlin"),
        ({"cron": "0 6 * * *", "window": "1h", "warn": "2h"}, "before anything could have come"),
        ({"cron": "0 6 * * *", "window": "10ms"}, "under a second"),
        ({"within": "1h", "window": "1h"}, "goes with cron="),
        ({"within": "1h", "timezone": "UTC"}, "goes with cron="),
        ({"within": "1h", "per_partition": "yes"}, "True or False"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(given: dict[str, str], says: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        Freshness(**given)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert says in f"{refused.value.message} {refused.value.hint}"


def test_a_policy_prints_as_it_is_written() -> None:
    assert repr(Freshness("1h", per_partition=True)) == "Freshness(within=3600.0, per_partition=True)"
