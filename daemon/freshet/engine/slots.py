"""The run queue: steps that wait for a slot, and the slots. Pure bookkeeping, no I/O.

A slot is reserved when the decision to start is made, before its commit, and freed when the step ends or the
commit fails. A pause of the queue (start-up, shutdown, a lost host) reserves nothing.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

from freshet.store.records import QueuedStep

__all__ = ["RunQueue"]

StepId = tuple[int, int]


@dataclass
class RunQueue:
    """Higher priority first, then what lies deeper in the graph, then what waits longer.

    Deeper first finishes what has begun before more is begun: a total is not held back, and a batch on its way down
    does not wait, behind all that is still to flow in.
    """

    capacity: int
    open: bool = False
    _reserved: int = 0
    _heap: list[tuple[int, int, int, int, int]] = field(default_factory=list[tuple[int, int, int, int, int]])
    _waiting: dict[StepId, tuple[int, QueuedStep]] = field(default_factory=dict[StepId, tuple[int, QueuedStep]])
    _order: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def free(self) -> int:
        """Slots that may be reserved now."""
        return self.capacity - self._reserved if self.open else 0

    @property
    def in_use(self) -> int:
        """Slots reserved or running."""
        return self._reserved

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, step: StepId) -> bool:
        return step in self._waiting

    def reserve(self, wanted: int) -> int:
        """Reserve up to `wanted` slots for steps that would overtake nobody: none while others wait."""
        if self._waiting:
            return 0
        granted = max(0, min(wanted, self.free))
        self._reserved += granted
        return granted

    def release(self, count: int = 1) -> None:
        """Free slots."""
        self._reserved -= count
        assert self._reserved >= 0, "a slot was freed twice"

    def put(self, step: QueuedStep, *, depth: int = 0) -> None:
        """Let a step wait; putting it twice is putting it once. `depth`: how many assets lie above its own."""
        step_id = (step.run_id, step.position)
        if step_id in self._waiting:
            return
        order = next(self._order)
        self._waiting[step_id] = (order, step)
        heapq.heappush(self._heap, (-step.priority, -depth, order, *step_id))

    def waits(self, run_id: int) -> bool:
        """Whether a step of the run waits for a slot."""
        return any(step_id[0] == run_id for step_id in self._waiting)

    def discard(self, step_id: StepId) -> None:
        """The step waits no more (canceled)."""
        self._waiting.pop(step_id, None)

    def discard_run(self, run_id: int) -> None:
        """No step of the run waits any more."""
        for step_id in [step_id for step_id in self._waiting if step_id[0] == run_id]:
            del self._waiting[step_id]

    def take(self) -> list[QueuedStep]:
        """The steps to start now; a slot is reserved for each."""
        taken: list[QueuedStep] = []
        while self._waiting and self.free > 0:
            _, _, order, run_id, position = heapq.heappop(self._heap)
            waiting = self._waiting.get((run_id, position))
            if waiting is None or waiting[0] != order:
                continue
            del self._waiting[run_id, position]
            self._reserved += 1
            taken.append(waiting[1])
        return taken
