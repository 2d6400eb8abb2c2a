"""What sensors did to their evaluators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Offence", "OffenceKind", "OffenceRow"]

OffenceKind = Literal["held", "blocked", "overdue", "ended", "suspected"]


@dataclass(frozen=True, slots=True)
class Offence:
    """`held`: the sensor held its evaluator's loop for so many seconds, and let go of it by itself. The others cost the
    evaluator: `blocked`: the loop did not turn; `overdue`: a thread stayed past the look's timeout; `ended`: it ended
    the process; `suspected`: it was one of those that may have blocked it. `stack`: where it stood, innermost first.
    `moved`: it has an evaluator of its own from now on."""

    kind: OffenceKind
    seconds: float
    stack: str = ""
    moved: bool = False


@dataclass(frozen=True, slots=True)
class OffenceRow:
    """One as remembered. `at`: seconds since 1970."""

    at: float
    kind: OffenceKind
    seconds: float
    stack: str
    moved: bool
