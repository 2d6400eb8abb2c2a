"""Pools, and what goes first."""

from __future__ import annotations

from typing import Literal

from freshet.http.models.base import Answer, Body
from freshet.http.models.runs import Priority

__all__ = ["PoolAnswer", "PriorityBody", "RateAnswer"]


class RateAnswer(Answer):
    """At most `count` starts in any span of `seconds`."""

    count: int
    seconds: float


class PoolAnswer(Answer):
    """A pool of slots that steps take. `waiting`: steps that want some. `status`: of one that is paused nothing starts;
    it is drained when nothing of it is under way any more."""

    name: str
    slots: int
    in_use: int
    waiting: int
    status: Literal["open", "paused", "drained"]
    rate: RateAnswer | None


class PriorityBody(Body):
    """Higher goes first."""

    priority: Priority
