"""A look under way in the evaluator."""

from __future__ import annotations

import asyncio
from typing import Any

from freshet.definitions.outcome import Json
from freshet.host.evaluator.context import Desk, EvaluatorContext
from freshet.host.evaluator.evaluate import Why
from freshet.host.evaluator.holder import Holder
from freshet.host.evaluator.outcome import CheckParameters, Found
from freshet.host.evaluator.threads import Call

__all__ = ["Go", "Tick"]

Go = tuple[bool, int, int | None]
"""The daemon's word on a checkpoint: committed, ledger revision, next tick id."""


class Tick:
    """One order and what has become of it. `mark` is the tick's id, which signs its steps."""

    __slots__ = (
        "_now",
        "call",
        "ctx",
        "cursor",
        "dry_run",
        "found",
        "go",
        "hints",
        "holder",
        "ledger_revision",
        "left_behind",
        "mark",
        "task",
        "threads",
        "timeout",
        "timer",
        "why",
    )

    def __init__(self, holder: Holder, order: list[Any], check: CheckParameters | None = None) -> None:
        hints: list[str] | None = order[5]
        self.mark: int = order[1]
        self.cursor: Json = order[3]
        self.ledger_revision: int = order[4]
        self.hints = None if hints is None else tuple(hints)
        self._now: float = order[6]
        self.timeout: float = order[7]
        self.dry_run: bool = order[8]
        self.holder = holder
        self.found = Found.of(holder.sensor, check)
        self.ctx: EvaluatorContext | None = None
        self.task: asyncio.Task[None] | None = None
        self.call: Call | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.threads: set[int] = set()
        self.left_behind = False
        """It is over but for threads that still work for it."""
        self.why: Why = None
        self.go: asyncio.Future[Go] | None = None

    def begin(self, desk: Desk) -> EvaluatorContext:
        """Make `ctx`: the ledger's cache is what it should be now."""
        self.ctx = EvaluatorContext(
            name=self.holder.name,
            cursor=self.cursor,
            hints=self.hints,
            now=self._now,
            dry_run=self.dry_run,
            cache=self.holder.cache,
            desk=desk,
            look=self,
            resources=self.holder.given,
        )
        return self.ctx
