"""Durations as users write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.definitions.durations import format_duration, parse_duration
from freshet.errors import DurationError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("1h30m", 5400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1.5h", 5400),
        (" 5m ", 300),
        ("0s", 0),
        (timedelta(minutes=2), 120),
    ],
)
def test_what_it_reads(text: Any, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "5 parsecs", "5", "s", "-5s", "1h 30m", "1e3s", "5mss", timedelta(-1), 5, None, "9" * 400 + "d"]
)
def test_what_it_refuses(text: Any) -> None:
    with pytest.raises(DurationError, match=r"timeout.*\(.+\)"):
        parse_duration(text, what="timeout")


@given(st.integers(1, 10**6))
def test_what_it_prints_it_reads_back_to_two_units(seconds: int) -> None:
    text = format_duration(seconds)
    assert abs(parse_duration(text) - seconds) <= (3600 if seconds >= 86_400 else 60 if seconds >= 3600 else 0)


def test_short_ones() -> None:
    assert [format_duration(value) for value in (0.25, 1, 61, 5400, 90_000, 0.0)] == [
        "250ms",
        "1s",
        "1m1s",
        "1h30m",
        "1d1h",
        "0ms",
    ]
