"""How steps that wait are kept together: who shares what blocks them is looked at once for all."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

from freshet.definitions.pool import StepUse
from freshet.engine.queue.gates import Demand, Gate
from freshet.store.records import QueuedStep

__all__ = ["Key", "Lane", "Party", "Row", "Shares", "StepId", "Waiting", "next_ticket"]

StepId = tuple[int, int]
Head = tuple[int, int, StepId]
"""Of a step: depth in the graph, negated, age, and which it is: what goes first is smallest."""
Key = tuple[int, int, int, int]
"""What goes first is smallest: priority, negated, turns of the requester, then as in `Head`."""

next_ticket = itertools.count().__next__


@dataclass(slots=True, eq=False)
class Waiting:
    """A step that waits. `order`: which came before; `use`: as it was put."""

    order: int
    step: QueuedStep
    depth: int
    use: StepUse | None
    row: Row


@dataclass(slots=True, eq=False)
class Row:
    """Steps of a lane whose runs have the same limits by tags. `at`: the one that blocks them; `ticket`: its place in
    the lane, places with another are of before."""

    lane: Lane
    tags: Demand
    heap: list[Head] = field(default_factory=list[Head])
    at: Gate | None = None
    ticket: int = -1

    def head(self, waiting: dict[StepId, Waiting]) -> Head | None:
        """The step that goes first; what waits here no more is forgotten."""
        while self.heap:
            first = self.heap[0]
            found = waiting.get(first[2])
            if found is not None and found.row is self and found.order == first[1]:
                return first
            heapq.heappop(self.heap)
        return None


@dataclass(slots=True, eq=False)
class Lane:
    """Steps of a party for one requester at one priority: the rows that no tag blocks, best first."""

    party: Party
    priority: int
    origin: str
    rows: dict[Demand, Row] = field(default_factory=dict[Demand, Row])
    heap: list[tuple[Head, int, Row]] = field(default_factory=list[tuple[Head, int, Row]])

    def enter(self, row: Row, waiting: dict[StepId, Waiting]) -> None:
        """The row is to be looked at: at its place, wherever it was before."""
        head = row.head(waiting)
        if head is not None:
            row.ticket = next_ticket()
            heapq.heappush(self.heap, (head, row.ticket, row))

    def best(self, waiting: dict[StepId, Waiting]) -> tuple[Head, Row] | None:
        """The step that goes first, and its row."""
        while self.heap:
            head, ticket, row = self.heap[0]
            if ticket == row.ticket and row.head(waiting) == head:
                return head, row
            heapq.heappop(self.heap)
            if ticket == row.ticket:  # its first step is gone
                self.enter(row, waiting)
        return None


@dataclass(slots=True, eq=False)
class Party:
    """Steps that want the same of everything but limits by tags: pools, executors, the limit of all runs. There are as
    many of them as different wishes, however much waits. `at`: the gate that blocks it; `count`: how
    many steps wait."""

    wants: Demand
    lanes: dict[tuple[int, str], Lane] = field(default_factory=dict[tuple[int, str], Lane])
    at: Gate | None = None
    count: int = 0

    def best(self, waiting: dict[StepId, Waiting], shares: Shares) -> tuple[Key, Row] | None:
        """What goes first of it, unless limits by tags block all."""
        found: tuple[Key, Row] | None = None
        for (priority, origin), lane in self.lanes.items():
            if found is not None and -priority > found[0][0]:
                continue
            first = lane.best(waiting)
            if first is not None:
                key = (-priority, shares.of(origin), first[0][0], first[0][1])
                if found is None or key < found[0]:
                    found = key, first[1]
        return found


class Shares:
    """Requesters take turns: who has started least goes first, counted from where the others were when it came, or
    when what blocked it had room again. Nobody saves up turns while it asks for nothing, or cannot go."""

    def __init__(self) -> None:
        self._now = 0
        self._turns: dict[str, int] = {}
        self._waiting: dict[str, int] = {}

    def came(self, origin: str) -> None:
        """A step of its waits."""
        count = self._waiting.get(origin, 0)
        self._waiting[origin] = count + 1
        if not count:
            self._turns[origin] = self._now

    def gone(self, origin: str) -> None:
        """A step of its waits no more."""
        count = self._waiting[origin] - 1
        if count:
            self._waiting[origin] = count
        else:
            del self._waiting[origin], self._turns[origin]

    def of(self, origin: str) -> int:
        """What it has had: less goes first."""
        return self._turns[origin]

    def catch_up(self, origin: str) -> None:
        """It could not go: what it did not take meanwhile is not owed to it."""
        self._turns[origin] = max(self._turns[origin], self._now)

    def started(self, origin: str) -> None:
        """It has had a turn. Before `gone`."""
        self._now = max(self._now, self._turns[origin])
        self._turns[origin] += 1
