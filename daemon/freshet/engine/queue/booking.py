"""What is reserved for runs that are about to be committed as already started."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from freshet.definitions.pool import StepUse
from freshet.engine.queue.gatehouse import Gatehouse
from freshet.engine.queue.gates import Demand, Gate
from freshet.store.records import RunToAdmit

__all__ = ["Booking", "book_each", "count_first"]


_LOOKED_AT = 1000
"""Of runs that come together, how many are looked at for what may begin at once; the others wait, and are taken."""


@dataclass(slots=True, eq=False)
class Booking:
    """`runs`: as they were given; where limits may concern them, each says how many of its first steps may `begin`.
    `start`: how many begin otherwise, counted from the front. `taken`: of which gates how much is reserved for these,
    and `tags`: those of limits by tags."""

    runs: tuple[RunToAdmit, ...]
    uses: Mapping[str, StepUse]
    start: int = 0
    marked: bool = False
    taken: list[tuple[Gate, int]] = field(default_factory=list[tuple[Gate, int]])
    tags: list[tuple[Gate, int]] = field(default_factory=list[tuple[Gate, int]])

    @property
    def begins(self) -> bool:
        """Whether a step may begin at once."""
        return self.start > 0 or self.marked

    def used(self, demand: Demand) -> None:
        """So much of what was taken is in use: the rest remains in `taken`."""
        for one in demand:
            self.taken.remove(one)


def count_first(runs: Sequence[RunToAdmit], most: float = math.inf) -> int:
    """How many steps need no other, and could begin; no more than `most` are counted."""
    found = 0
    for run in runs:
        if not run.held:
            found += sum(not step.needs for step in run.steps)
            if found >= most:
                return int(most)
    return found


def book_each(booking: Booking, gates: Gatehouse, now: float) -> None:
    """Take for the first steps of each run what they want, as far as nobody waits for it."""
    marked: dict[int, RunToAdmit] = {}
    for at, run in enumerate(booking.runs[:_LOOKED_AT]):
        begin = 0 if run.held else _book(booking, gates, run, now)
        if begin:
            marked[at] = replace(run, begin=begin)
    if marked:
        booking.marked = True
        booking.runs = tuple(marked.get(at, run) for at, run in enumerate(booking.runs))


def _book(booking: Booking, gates: Gatehouse, run: RunToAdmit, now: float) -> int:
    """How many of the run's first steps may begin: it is counted once, with the first of them."""
    tags, begin = gates.of_tags(run.tags), 0
    for name in (step.name for step in run.steps if not step.needs):
        use = booking.uses.get(name)
        wanted = gates.of_step(use) if begin else (*tags, *gates.first(use))
        if any(gate.awaited or not gate.room(amount, now) for gate, amount in wanted):
            break
        for gate, amount in wanted:
            gate.take(amount, now)
        booking.taken += wanted
        begin += 1
    if begin:
        booking.tags += tags
    else:
        gates.dropped(tags)
    return begin
