"""What no two runs make at once: who makes it now, and which steps wait for that."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from freshet.engine.queue.gates import Demand
from freshet.engine.queue.rows import Head, StepId, Waiting
from freshet.store.records import QueuedStep

__all__ = ["Sole", "Soles"]

Sole = tuple[str, int]
"""An asset or a job, and the number of a partition."""
_Alike = tuple[Demand, Demand, int, str]
"""Steps that want the same of everything, at one priority, for one requester: if the first may not go, none may."""


@dataclass(slots=True, eq=False)
class _Aside:
    """Steps that wait for one sole, by what they want, best first."""

    heaps: dict[_Alike, list[Head]] = field(default_factory=dict[_Alike, list[Head]])


class Soles:
    """A step holds its sole from when it is taken until it ends, while it rests too. One that finds it held when it
    would go is set aside; once it is free, the best of those that are alike are looked at again, and no others: what
    waits for one sole costs those in front of it nothing, however much it is.

    `alone`: the names of the assets and jobs that this is about."""

    def __init__(self, alone: Collection[str]) -> None:
        self.alone = alone
        self._holders: dict[Sole, StepId] = {}
        self._held: dict[StepId, Sole] = {}
        self._aside: dict[Sole, _Aside] = {}
        self._waiting: dict[StepId, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, step_id: StepId) -> bool:
        return step_id in self._waiting

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting.values())

    def redefine(self, alone: Collection[str], renamed: Mapping[str, str]) -> None:
        """It is about these now. `renamed`: new names by the old ones. Who is set aside is placed anew after this."""
        self.alone = alone
        if renamed:
            self._held = {step: (renamed.get(name, name), at) for step, (name, at) in self._held.items()}
            self._holders = {(renamed.get(name, name), at): step for (name, at), step in self._holders.items()}
            self._aside = {sole: one for sole, one in self._aside.items() if sole[0] not in renamed}

    # --- who makes it -----------------------------------------------------------------------------------------

    def hold(self, step_id: StepId, name: str, partition: int) -> None:
        """The step makes it from now on."""
        sole = self._held[step_id] = name, partition
        self._holders[sole] = step_id

    def holder(self, step: QueuedStep) -> StepId | None:
        """The step of another run that makes what this one would make; None where it may go."""
        found = self._holders.get((step.name, step.partition)) if step.name in self.alone else None
        return None if found == (step.run_id, step.position) else found

    def release(self, step_id: StepId) -> tuple[Waiting, ...]:
        """The step makes it no more; returns those that are to be looked at, out of those set aside."""
        sole = self._held.pop(step_id, None)
        if sole is None:
            return ()
        if self._holders.get(sole) == step_id:
            del self._holders[sole]
        return self._best(sole)

    # --- who waits for it -------------------------------------------------------------------------------------

    def set_aside(self, waiting: Waiting) -> None:
        """It waits until its sole is free."""
        row, step = waiting.row, waiting.step
        party = row.lane.party
        alike = row.tags, party.wants, row.lane.priority, row.lane.origin
        step_id = step.run_id, step.position
        self._waiting[step_id] = waiting
        heaps = self._aside.setdefault((step.name, step.partition), _Aside()).heaps
        heapq.heappush(heaps.setdefault(alike, []), (-waiting.depth, waiting.order, step_id))

    def get(self, step_id: StepId) -> Waiting | None:
        """The step, if it is set aside."""
        return self._waiting.get(step_id)

    def remove(self, step_id: StepId) -> Waiting | None:
        """It is set aside no more."""
        return self._waiting.pop(step_id, None)

    def followers(self, step: QueuedStep) -> tuple[Waiting, ...]:
        """A step that waited goes without having held its sole: those that were behind it alone."""
        sole = step.name, step.partition
        return self._best(sole) if sole in self._aside and sole not in self._holders else ()

    def _best(self, sole: Sole) -> tuple[Waiting, ...]:
        aside = self._aside.get(sole)
        if aside is None:
            return ()
        found: list[Waiting] = []
        for alike, heap in tuple(aside.heaps.items()):
            while heap:
                _, order, step_id = heapq.heappop(heap)
                one = self._waiting.get(step_id)
                if one is not None and one.order == order and (one.row.tags, one.row.lane.party.wants) == alike[:2]:
                    found.append(self._waiting.pop(step_id))
                    break
            if not heap:
                del aside.heaps[alike]
        if not aside.heaps:
            del self._aside[sole]
        return tuple(found)
