"""Moments as they are written and printed."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.simulation.moments import WrongMoment, moment_of, shown, until_of

BERLIN = "Europe/Berlin"


def _utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-03-01", "2026-02-28T23:00"),
        ("2026-03-01T02:30", "2026-03-01T01:30"),
        ("2026-03-01 02:30:15.5", "2026-03-01T01:30:15.500"),
        ("2026-03-29T02:30", "2026-03-29T01:00"),  # removed: the shift
        ("2026-10-25T02:30", "2026-10-25T00:30"),  # repeated: the first
        ("2026-10-25T02:30+01:00", "2026-10-25T01:30"),
        ("2026-10-25T02:30Z", "2026-10-25T02:30"),
    ],
)
def test_local_times(text: str, utc: str) -> None:
    assert moment_of(text, BERLIN, what="--from") == _utc(utc)


def test_the_end_is_a_duration_or_a_moment() -> None:
    begin = _utc("2026-03-01T00:00")
    assert until_of("36h", begin, BERLIN, what="--until") == begin + 36 * 3600
    assert until_of("2026-04-01", begin, BERLIN, what="--until") == _utc("2026-03-31T22:00")
    assert until_of("2d", _utc("2026-03-28T11:00"), BERLIN, what="--until") == _utc("2026-03-30T10:00")
    assert until_of("48h", _utc("2026-03-28T11:00"), BERLIN, what="--until") == _utc("2026-03-30T11:00")
    assert until_of("1w1d30m", _utc("2026-10-20T10:00:00.5"), BERLIN, what="--until") == _utc("2026-10-28T11:30:00.5")
    with pytest.raises(WrongMoment, match="too far away"):
        until_of("999999999d", begin, BERLIN, what="--until")
    with pytest.raises(WrongMoment, match='as a duration: "36h"'):
        until_of("36 parsecs", begin, BERLIN, what="--until")


@given(
    at=st.integers(min_value=40_000_000_000, max_value=9_000_000_000_000),
    zone=st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]),
)
def test_what_is_printed_is_read_again(at: int, zone: str) -> None:
    text = shown(at / 1000, zone)
    assert moment_of(text, "UTC", what="it") == at / 1000
    assert text[:19] == datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone)).isoformat()[:19]
