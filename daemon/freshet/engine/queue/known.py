"""What the queue knows of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from freshet.definitions.pool import StepUse
from freshet.engine.queue.gates import Demand
from freshet.store.records import QueuedStep

__all__ = ["Held", "KnownRun"]

Held = tuple[QueuedStep, int, StepUse | None]
"""A step that waits, with how many assets lie above its own, and what it takes, if that is not a worker alone."""


@dataclass(slots=True, eq=False)
class KnownRun:
    """A run that has not ended. `tags`: the limits by tags that count it; `begun`: it is counted; `sure`: a step of it
    certainly began, so that it stays counted until it ends. `resting`: of its steps under way, those that `rest`."""

    origin: str
    priority: int
    tags: Demand
    begun: bool = False
    sure: bool = False
    under_way: int = 0
    waiting: set[int] = field(default_factory=set[int])
    resting: set[int] = field(default_factory=set[int])
    held: dict[int, Held] = field(default_factory=dict[int, Held])
