"""Durations as users write them."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from freshet.errors import DurationError

__all__ = ["Duration", "format_duration", "parse_duration"]

Duration = str | timedelta
"""`"250ms"`, `"30s"`, `"1h30m"`, `"7d"`, or a `timedelta`."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def parse_duration(value: Duration, *, what: str = "duration") -> float:
    """Seconds in `value`, at least 0.

    Raises `DurationError` naming `what`, the text found and the forms allowed.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        if seconds < 0:
            raise DurationError(f"{what}: {value!r} is negative", hint="give a duration of zero or more")
        return seconds
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # plugins are not type-checked
        raise DurationError(
            f"{what}: expected a duration, found {value!r}", hint='write it as "30s", "1h30m" or a timedelta'
        )
    text = value.strip()
    position, seconds = 0, 0.0
    for match in _PART.finditer(text):
        if match.start() != position:
            break
        seconds += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if not text or position != len(text) or not math.isfinite(seconds):
        raise DurationError(
            f"{what}: {value!r} is not a duration", hint='write it as "250ms", "30s", "1h30m", "7d" or a timedelta'
        )
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest usual form: `0.25` is `"250ms"`, `5400` is `"1h30m"`; at most two units."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    parts: list[str] = []
    rest = seconds
    for unit in ("d", "h", "m"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{int(count)}{unit}")
    if rest and len(parts) < 2:
        parts.append(f"{rest:.3g}s" if rest < 10 and rest % 1 else f"{round(rest)}s")
    return "".join(parts[:2]) or "0s"
