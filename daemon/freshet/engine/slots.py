"""The run queue: steps that wait for a slot, and the slots. Pure bookkeeping, no I/O.

A slot is reserved when the decision to start is made, before its commit, and freed when the step ends or the
commit fails. A pause of the queue (start-up, shutdown, a lost host) reserves nothing.

Steps of another lane than "process" (see `definitions.executor`) take the slots of their lane, and wait for these: in
front of what waits for a worker, a thousand that only wait for an answer may run.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from freshet.definitions.executor import Lane
from freshet.store.records import QueuedStep
from freshet.store.records.runs import RunGroup

__all__ = ["RunQueue"]

StepId = tuple[int, int]


@dataclass
class RunQueue:
    """Higher priority first, then what lies deeper in the graph, then what waits longer.

    Deeper first finishes what has begun before more is begun: a total is not held back, and a batch on its way down
    does not wait, behind all that is still to flow in.

    Runs that `join` one line go one after the other: the steps of all but the first are held, until those before have
    left it. What is held overtakes nobody and holds back nobody else.
    """

    capacity: int
    open: bool = False
    lanes: Mapping[Lane, int] = field(default_factory=dict[Lane, int])
    _reserved: int = 0
    _in_lane: dict[Lane, int] = field(default_factory=dict[Lane, int])
    _slot_of: dict[StepId, Lane] = field(default_factory=dict[StepId, Lane])
    _heaps: dict[Lane, list[tuple[int, int, int, int, int]]] = field(
        default_factory=dict[Lane, list[tuple[int, int, int, int, int]]]
    )
    _waiting: dict[StepId, tuple[int, QueuedStep]] = field(default_factory=dict[StepId, tuple[int, QueuedStep]])
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _lines: dict[RunGroup, deque[int]] = field(default_factory=dict[RunGroup, deque[int]])
    _line_of: dict[int, RunGroup] = field(default_factory=dict[int, RunGroup])
    _held: dict[int, dict[StepId, tuple[QueuedStep, int, Lane]]] = field(
        default_factory=dict[int, dict[StepId, tuple[QueuedStep, int, Lane]]]
    )

    @property
    def free(self) -> int:
        """Slots that may be reserved now."""
        return self.capacity - self._reserved if self.open else 0

    @property
    def in_use(self) -> int:
        """Slots of workers, reserved or running."""
        return self._reserved

    def __len__(self) -> int:
        return len(self._waiting) + sum(map(len, self._held.values()))

    def __contains__(self, step: StepId) -> bool:
        return step in self._waiting or step in self._held.get(step[0], ())

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

    def put(self, step: QueuedStep, *, depth: int = 0, lane: Lane = "process") -> None:
        """Let a step wait; putting it twice is putting it once. `depth`: how many assets lie above its own."""
        step_id = (step.run_id, step.position)
        if step.run_id in self._line_of and not self._goes(step.run_id):
            self._held.setdefault(step.run_id, {})[step_id] = (step, depth, lane)
            return
        if step_id in self._waiting:
            return
        order = next(self._order)
        self._waiting[step_id] = (order, step)
        heapq.heappush(self._heaps.setdefault(lane, []), (-step.priority, -depth, order, *step_id))

    def waits(self, run_id: int) -> bool:
        """Whether a step of the run waits: for a slot, or for the runs before it."""
        return run_id in self._held or any(step_id[0] == run_id for step_id in self._waiting)

    def discard(self, step_id: StepId) -> None:
        """The step waits no more (canceled)."""
        self._waiting.pop(step_id, None)
        self._held.get(step_id[0], {}).pop(step_id, None)

    def discard_run(self, run_id: int) -> None:
        """No step of the run waits any more."""
        self._held.pop(run_id, None)
        for step_id in [step_id for step_id in self._waiting if step_id[0] == run_id]:
            del self._waiting[step_id]

    # --- one after the other --------------------------------------------------------------------------------

    def join(self, run_id: int, line: RunGroup) -> None:
        """The run goes after those that joined before it, until it has `left`. Before any step of it is `put`."""
        if run_id not in self._line_of:
            self._line_of[run_id] = line
            self._lines.setdefault(line, deque()).append(run_id)

    def has(self, line: RunGroup) -> bool:
        """Whether a run of the line has not left it."""
        return line in self._lines

    def in_line(self, run_id: int) -> bool:
        """Whether the run has joined a line, and not left it."""
        return run_id in self._line_of

    def behind(self, run_id: int) -> int | None:
        """The run that goes before this one and has not ended; None if it may go itself."""
        if self._goes(run_id):
            return None
        runs = self._lines[self._line_of[run_id]]
        return runs[runs.index(run_id) - 1]

    def _goes(self, run_id: int) -> bool:
        """Whether no run goes before this one: in the same time however long the line is."""
        line = self._line_of.get(run_id)
        return line is None or self._lines[line][0] == run_id

    def left(self, run_id: int) -> None:
        """The run has ended: the next one of its line may go."""
        line = self._line_of.pop(run_id, None)
        if line is None:
            return
        runs = self._lines[line]
        runs.remove(run_id)
        self._held.pop(run_id, None)
        if not runs:
            del self._lines[line]
            return
        for step, depth, lane in self._held.pop(runs[0], {}).values():
            self.put(step, depth=depth, lane=lane)

    # --- slots ----------------------------------------------------------------------------------------------

    def room(self, lane: Lane) -> int:
        """Slots of a lane that may be reserved now."""
        if lane not in self.lanes:
            return self.free
        return self.lanes[lane] - self._in_lane.get(lane, 0) if self.open else 0

    def take(self) -> list[QueuedStep]:
        """The steps to start now; a slot is reserved for each, until it is `given_back`."""
        taken: list[QueuedStep] = []
        for lane, heap in self._heaps.items():
            while heap and self.room(lane) > 0:
                _, _, order, run_id, position = heapq.heappop(heap)
                waiting = self._waiting.get((run_id, position))
                if waiting is None or waiting[0] != order:
                    continue
                del self._waiting[run_id, position]
                self._reserve((run_id, position), lane)
                taken.append(waiting[1])
        return taken

    def begun(self, step_id: StepId, lane: Lane) -> None:
        """A step for which `reserve` had a slot has started: it takes one of its lane's instead, where there is one."""
        if lane in self.lanes and self.room(lane) > 0:
            self._reserved -= 1
            self._reserve(step_id, lane)

    def _reserve(self, step_id: StepId, lane: Lane) -> None:
        if lane in self.lanes:
            self._in_lane[lane] = self._in_lane.get(lane, 0) + 1
            self._slot_of[step_id] = lane
        else:
            self._reserved += 1

    def given_back(self, step_id: StepId) -> None:
        """The step has ended, or could not start: its slot is free."""
        lane = self._slot_of.pop(step_id, None)
        if lane is None:
            self.release()
        else:
            self._in_lane[lane] -= 1
