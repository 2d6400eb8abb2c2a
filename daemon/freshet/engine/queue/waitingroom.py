"""The steps that wait, and which of them goes next. What a limit blocks is looked at again when that has room, and not
because anything else happened: the time that the next one takes does not grow with how many wait."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterable

from freshet.definitions.pool import StepUse
from freshet.engine.queue.gates import Demand, Gate
from freshet.engine.queue.rows import Key, Lane, Party, Row, Shares, StepId, Waiting
from freshet.engine.queue.soles import Soles
from freshet.store.records import QueuedStep

__all__ = ["WaitingRoom"]


class WaitingRoom:
    """Parties that are to be looked at are awake; the others wait before the gate that blocks them. Steps that wait
    until another run does not make the same any more are set aside."""

    def __init__(self, alone: Collection[str] = ()) -> None:
        self.soles = Soles(alone)
        self._steps: dict[StepId, Waiting] = {}
        self._parties: dict[Demand, Party] = {}
        self._awake: dict[Party, None] = {}
        self._shares = Shares()
        self._order = itertools.count()
        self._held: set[Gate] = set()
        self._now = 0.0

    def __len__(self) -> int:
        return len(self._steps) + len(self.soles)

    def __contains__(self, step_id: StepId) -> bool:
        return step_id in self._steps or step_id in self.soles

    @property
    def calls(self) -> bool:
        """Whether something that waits is still to be looked at."""
        return bool(self._awake)

    # --- who waits ------------------------------------------------------------------------------------------

    def add(
        self,
        step: QueuedStep,
        origin: str,
        *,
        tags: Demand,
        wants: Demand,
        depth: int = 0,
        use: StepUse | None = None,
        order: int | None = None,
    ) -> None:
        """A step waits. `tags`: the limits by tags that count its run when it starts; `wants`: what else it takes.
        With an `order` of before it keeps its age."""
        party = self._parties.get(wants)
        if party is None:
            party = self._parties[wants] = Party(wants)
        lane = party.lanes.get((step.priority, origin))
        if lane is None:
            lane = party.lanes[step.priority, origin] = Lane(party, step.priority, origin)
        row = lane.rows.get(tags)
        if row is None:
            row = lane.rows[tags] = Row(lane, tags)
        step_id = (step.run_id, step.position)
        waiting = Waiting(next(self._order) if order is None else order, step, depth, use, row)
        self._steps[step_id] = waiting
        party.count += 1
        self._shares.came(origin)
        head = (-depth, waiting.order, step_id)
        heapq.heappush(row.heap, head)
        if row.at is None and row.heap[0] == head:
            lane.enter(row, self._steps)
        if party.at is None and row.at is None:
            self._awake[party] = None
        self.changed()

    def remove(self, step_id: StepId) -> Waiting | None:
        """The step waits no more."""
        waiting = self._steps.pop(step_id, None)
        if waiting is None:
            return self.soles.remove(step_id)
        self._gone(waiting)
        self.changed()
        self._come_back(self.soles.followers(waiting.step))
        return waiting

    def _come_back(self, steps: Iterable[Waiting]) -> None:
        """What was set aside is looked at again."""
        for one in steps:
            lane = one.row.lane
            self.add(
                one.step,
                lane.origin,
                tags=one.row.tags,
                wants=lane.party.wants,
                depth=one.depth,
                use=one.use,
                order=one.order,
            )

    def ends(self, step_id: StepId) -> None:
        """A step that was taken makes nothing any more."""
        self._come_back(self.soles.release(step_id))

    def _gone(self, waiting: Waiting) -> None:
        row, lane, party = waiting.row, waiting.row.lane, waiting.row.lane.party
        self._shares.gone(lane.origin)
        party.count -= 1
        if row.head(self._steps) is not None:
            return
        row.ticket = -1
        if row.at is not None:
            row.at.rows.discard(row)
        del lane.rows[row.tags]
        if not lane.rows:
            del party.lanes[lane.priority, lane.origin]
        if not party.lanes:
            if party.at is not None:
                party.at.parties.discard(party)
            self._awake.pop(party, None)
            del self._parties[party.wants]

    def blocks(self, step_id: StepId) -> Gate | None:
        """The gate that a step waits before: a pause before all."""
        waiting = self._steps.get(step_id) or self.soles.get(step_id)
        if waiting is None:
            return None
        row = waiting.row
        wants = row.lane.party.wants
        paused = next((gate for gate, _ in wants if gate.paused), None)
        return paused or row.at or row.lane.party.at or self._full((*row.tags, *wants))

    def waiting_for(self, gate: Gate) -> int:
        """How many steps wait that want some of it."""
        parties = (one for one in self._parties.values() if any(gate is wanted for wanted, _ in one.wants))
        aside = (one for one in self.soles if any(gate is wanted for wanted, _ in one.row.lane.party.wants))
        return sum(one.count for one in parties) + sum(1 for _ in aside)

    def made_by(self, step_id: StepId) -> tuple[str, int] | None:
        """What a step that waits would make, and the run that makes it now."""
        waiting = self._steps.get(step_id) or self.soles.get(step_id)
        holder = None if waiting is None else self.soles.holder(waiting.step)
        return None if waiting is None or holder is None else (waiting.step.name, holder[0])

    # --- who goes -------------------------------------------------------------------------------------------

    def next(self, now: float) -> Waiting | None:
        """The best step that may go; what it wants is taken."""
        self._now = now
        while (found := self._best()) is not None:
            key, row = found
            if (tag := self._full(row.tags)) is not None:
                row.at, row.ticket = tag, -1
                tag.rows.add(row)
            elif (gate := self._obstacle(key, row.lane.party)) is not None:
                self._park(row.lane.party, gate)
            else:
                return self._go(row)
        return None

    def _best(self) -> tuple[Key, Row] | None:
        found: tuple[Key, Row] | None = None
        for party in tuple(self._awake):
            best = self._first(party)
            if best is None:
                self._awake.pop(party, None)
            elif found is None or best[0] < found[0]:
                found = best
        return found

    def _first(self, party: Party) -> tuple[Key, Row] | None:
        """What goes first of a party; what another run makes is set aside."""
        holder = self.soles.holder
        while (best := party.best(self._steps, self._shares)) is not None:
            step_id = best[1].heap[0][2]
            waiting = self._steps[step_id]
            if holder(waiting.step) is None:
                return best
            del self._steps[step_id]
            self.soles.set_aside(waiting)
            self._gone(waiting)
        return None

    def _full(self, demand: Demand, but: Gate | None = None) -> Gate | None:
        for gate, amount in demand:
            if gate is not but and not gate.room(amount, self._now):
                return gate
        return None

    def _obstacle(self, key: Key, party: Party) -> Gate | None:
        """The first gate that the party cannot pass now."""
        full = self._full(party.wants)
        if full is None:
            for gate, _ in party.wants:
                if gate.kind == "pool" and any(self._holds_back(other, gate, key) for other in tuple(gate.parties)):
                    self._held.add(gate)
                    return gate
        return full

    def _holds_back(self, other: Party, pool: Gate, key: Key) -> bool:
        """Whether another one that comes first lacks slots of the pool, and nothing else: it would wait for ever."""
        best = self._first(other)
        if best is None or best[0] > key or self._full(best[1].tags) is not None:
            return False
        return self._full(other.wants, pool) is None and self._full(other.wants) is pool

    def _park(self, party: Party, gate: Gate) -> None:
        del self._awake[party]
        party.at = gate
        gate.parties.add(party)

    def _go(self, row: Row) -> Waiting:
        lane = row.lane
        waiting = self._steps.pop(heapq.heappop(row.heap)[2])
        for gate, amount in (*row.tags, *lane.party.wants):
            gate.take(amount, self._now)
        step = waiting.step
        self.soles.hold((step.run_id, step.position), step.name, step.partition)
        self._shares.started(lane.origin)
        lane.enter(row, self._steps)
        self._gone(waiting)
        self.changed()
        return waiting

    # --- who looks again ------------------------------------------------------------------------------------

    def freed(self, gate: Gate) -> None:
        """It may have room: who waits before it looks again."""
        if gate.rows and gate.room(1, self._now):
            rows, gate.rows = gate.rows, set()
            for row in rows:
                row.at = None
                self._shares.catch_up(row.lane.origin)
                row.lane.enter(row, self._steps)
                if row.lane.party.at is None:
                    self._awake[row.lane.party] = None
        if gate.parties and gate.room(1, self._now):
            self._wake(gate)

    def passed(self, now: float, gates: Iterable[Gate]) -> None:
        """Time has passed, which may make room in these."""
        self._now = now
        for gate in gates:
            if gate.parties:
                self.freed(gate)

    def _wake(self, gate: Gate) -> None:
        parties, gate.parties = gate.parties, set()
        for party in parties:
            party.at = None
            self._awake[party] = None
            for _, origin in party.lanes:
                self._shares.catch_up(origin)

    def changed(self) -> None:
        """Something was taken, came or went: who comes first and lacked slots alone may lack something else now."""
        while self._held:
            self._wake(self._held.pop())
