"""What held an event loop: a sensor that of its evaluator, or whatever it was the daemon's own."""

from __future__ import annotations

from collections.abc import Sequence

from freshet.cli.tables import table
from freshet.cli.text import age, in_line, plain
from freshet.definitions.durations import format_duration
from freshet.definitions.frames import own_places
from freshet.http.models import LoopAnswer, OffenceAnswer

__all__ = ["loop_held", "show_offences"]


def loop_held(loop: LoopAnswer, now: float) -> str:
    """How often the daemon's own loop stood, and in what the last time."""
    times = "once" if loop.held == 1 else f"{loop.held:,} times"
    at = f" in {in_line(loop.stack[-1])}" if loop.stack else ""
    said = f"the daemon's loop stood over 100ms {times}, {format_duration(loop.worst)} at the most"
    return f"{said}; the last time {age(loop.last_at, now)}{at}"


def show_offences(found: Sequence[OffenceAnswer], now: float) -> None:
    """What it did to its evaluators, with where it stood the last time."""
    rows = [(age(one.at, now), one.kind, _for(one), "yes" if one.moved else "-", _at(one.stack)) for one in found]
    table(("when", "offence", "for", "moved", "at"), rows, empty="")
    if found[0].stack:
        print(plain(f"the last time it stood at, innermost first\n{found[0].stack}"))  # noqa: T201


def _for(one: OffenceAnswer) -> str:
    return format_duration(round(one.seconds, 3)) if one.seconds else "-"


def _at(stack: str) -> str:
    """The sensor's own line, else the innermost."""
    places = own_places(stack)
    return f"{places[0][0]}:{places[0][1]}" if places else in_line(stack.strip().partition("\n")[0]) or "-"
