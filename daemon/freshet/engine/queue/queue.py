"""The run queue: what waits, what is reserved, and what may start now. Pure bookkeeping, no I/O, no clock.

What a step wants is reserved when the decision to start is made, before its commit, and freed when the step (of a limit
that counts runs, the run) ends or the commit fails. A pause of the queue (start-up, shutdown, a lost host) reserves
nothing.

Steps of another lane than "process" (see `definitions.executor`) take the slots of their lane: in front of what waits
for a worker, a thousand that only wait for an answer may run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from freshet.definitions.executor import Lane
from freshet.definitions.limits import Limits
from freshet.definitions.pool import StepUse
from freshet.engine.queue.booking import Booking, book_each, count_first
from freshet.engine.queue.gatehouse import Gatehouse, PoolView
from freshet.engine.queue.gates import Demand, Gate
from freshet.engine.queue.known import Held, KnownRun
from freshet.engine.queue.lines import Lines
from freshet.engine.queue.rows import StepId
from freshet.engine.queue.waitingroom import WaitingRoom
from freshet.store.records import Admission, QueuedStep, RunToAdmit, StepToRun
from freshet.store.records.runs import RunGroup

__all__ = ["RunQueue", "StepId"]

T = TypeVar("T")
_NO_USES: Mapping[str, StepUse] = {}


class RunQueue:
    """Higher priority first; then requesters take turns; of one requester, what lies deeper in the graph first, then
    what waits longer.

    Deeper first finishes what has begun before more is begun: a total is not held back, and a batch on its way down
    does not wait behind all that is still to flow in.

    What a limit blocks overtakes nobody and holds back nobody else, with one exception: a step that wants several slots
    of a pool is not overtaken in that pool. Runs that `join` one line go one after the other.
    """

    def __init__(
        self,
        capacity: int,
        limits: Limits | None = None,
        *,
        lanes: Mapping[Lane, int] | None = None,
        alone: Collection[str] = (),
        open: bool = False,
    ) -> None:
        self.alone = alone
        self.open = open
        self._gates = Gatehouse(capacity, lanes or {}, limits or Limits())
        self._room = WaitingRoom(alone)
        self._lines = Lines()
        self._runs: dict[int, KnownRun] = {}
        self._held = 0
        self._holds: dict[StepId, Demand] = {}

    @property
    def capacity(self) -> int:
        """Slots of the workers."""
        return self._gates.workers.capacity

    @property
    def in_use(self) -> int:
        """Slots of the workers, reserved or running."""
        return self._gates.workers.used

    def room(self, lane: Lane) -> int:
        """Slots of a lane that may be reserved now."""
        gate = self._gates.executors.get(lane, self._gates.workers)
        return gate.capacity - gate.used if self.open else 0

    def __len__(self) -> int:
        return len(self._room) + self._held

    def __contains__(self, step: StepId) -> bool:
        run = self._runs.get(step[0])
        return step in self._room or (run is not None and step[1] in run.held)

    # --- runs -----------------------------------------------------------------------------------------------

    def register(
        self, run_id: int, origin: str, *, priority: int = 0, tags: Mapping[str, str] | None = None, begun: bool = False
    ) -> None:
        """A run that has not ended, before any step of it is `put`. `begun`: it is under way, and counted at once."""
        if run_id in self._runs:
            return
        requester = "retry" if origin.startswith("retry:") else origin
        run = self._runs[run_id] = KnownRun(requester, priority, self._gates.of_tags(tags or {}))
        if begun:
            run.begun = run.sure = True
            for gate, amount in (*run.tags, *self._gates.runs):
                gate.take(amount, 0.0)

    def left(self, run_id: int) -> bool:
        """The run has ended: what counted it has room, and the next one of its line may go. Whether there is either."""
        self.discard_run(run_id)
        run = self._runs.pop(run_id, None)
        counted = run is not None and run.begun and bool(run.tags or self._gates.runs)
        if run is not None:
            self._uncount(run)
            self._gates.dropped(run.tags)
        following = self._lines.left(run_id)
        if following is not None:
            self._release_line(following)
        return counted or following is not None

    def _uncount(self, run: KnownRun) -> None:
        if run.begun:
            run.begun = run.sure = False
            for gate, amount in (*run.tags, *self._gates.runs):
                gate.give(amount)
                self._room.freed(gate)

    def requeued(self, run_id: int) -> None:
        """The run has not begun after all: the launch of its only step came back."""
        if (run := self._runs.get(run_id)) is not None and run.begun and not run.under_way:
            self._uncount(run)
            self._place_anew(run_id, run)

    def reprioritize(self, run_id: int, priority: int) -> None:
        """What waits of the run, and what will, goes at this priority."""
        if (run := self._runs.get(run_id)) is not None:
            run.priority = priority
            self._place_anew(run_id, run)

    # --- waiting --------------------------------------------------------------------------------------------

    def put(self, step: QueuedStep, *, depth: int = 0, use: StepUse | None = None) -> None:
        """Let a step wait; putting it twice is putting it once. `depth`: how many assets lie above its own; `use`: what
        it takes, if that is not a worker alone."""
        run = self._runs.get(step.run_id)
        if run is None:
            self.register(step.run_id, "", priority=step.priority)
            run = self._runs[step.run_id]
        if not self._lines.goes(step.run_id):
            self._held += step.position not in run.held
            run.held[step.position] = (step, depth, use)
        elif step.position not in run.waiting:
            run.waiting.add(step.position)
            self._add(run, step, depth, use)

    def _add(self, run: KnownRun, step: QueuedStep, depth: int, use: StepUse | None, order: int | None = None) -> None:
        if step.priority != run.priority:
            step = replace(step, priority=run.priority)
        tags, wants = ((), self._gates.of_step(use)) if run.begun else (run.tags, self._gates.first(use))
        if step.position in run.resting:  # a rate counts starts
            wants = tuple(one for one in wants if one[0].kind != "rate")
        self._room.add(step, run.origin, tags=tags, wants=wants, depth=depth, use=use, order=order)

    def _place_anew(self, run_id: int, run: KnownRun, anew: Callable[[QueuedStep], Held] | None = None) -> None:
        """What waits of the run wants something else now, or stands elsewhere; it keeps its age."""
        for position in sorted(run.waiting):
            if (one := self._room.remove((run_id, position))) is not None:
                step, depth, use = (one.step, one.depth, one.use) if anew is None else anew(one.step)
                self._add(run, step, depth, use, one.order)

    def redefine(self, anew: Callable[[QueuedStep], Held], alone: Collection[str], renamed: Mapping[str, str]) -> None:
        """What waits is what `anew` says; what has begun keeps what it has. `renamed`: new names by the old ones."""
        self.alone = alone
        self._room.soles.redefine(alone, renamed)
        for run_id, run in self._runs.items():
            run.held = {position: anew(step) for position, (step, _, _) in run.held.items()}
            self._place_anew(run_id, run, anew)

    def resize(self, limits: Limits) -> None:
        """Other limits hold; `redefine` follows."""
        for gate in self._gates.resize(limits):
            self._room.freed(gate)

    def waits(self, run_id: int) -> bool:
        """Whether a step of the run waits: for a slot, a limit, or the runs before it."""
        run = self._runs.get(run_id)
        return run is not None and bool(run.waiting or run.held)

    def discard_run(self, run_id: int) -> None:
        """No step of the run waits any more."""
        run = self._runs.get(run_id)
        if run is not None:
            self._held -= len(run.held)
            run.held.clear()
            for position in run.waiting:
                self._room.remove((run_id, position))
            run.waiting.clear()

    # --- one after the other --------------------------------------------------------------------------------

    def join(self, run_id: int, line: RunGroup) -> None:
        """The run goes after those that joined before it, until it has `left`. Before any step of it is `put`."""
        self._lines.join(run_id, line)

    def has(self, line: RunGroup) -> bool:
        """Whether a run of the line has not left it."""
        return self._lines.has(line)

    def behind(self, run_id: int) -> int | None:
        """The run that goes before this one and has not ended; None if it may go itself."""
        return self._lines.behind(run_id)

    def _release_line(self, run_id: int) -> None:
        run = self._runs.get(run_id)
        if run is not None:
            held, run.held = run.held, {}
            self._held -= len(held)
            for step, depth, use in held.values():
                self.put(step, depth=depth, use=use)

    # --- starting -------------------------------------------------------------------------------------------

    def take(self, now: float = 0.0) -> list[QueuedStep]:
        """The steps to start now, best first; what each wants is reserved. `now`: on the clock that no one sets."""
        taken: list[QueuedStep] = []
        if self._gates.rates:
            self._room.passed(now, self._gates.rates.values())
        while self.open and (waiting := self._room.next(now)) is not None:
            step, run = waiting.step, self._runs[waiting.step.run_id]
            run.waiting.discard(step.position)
            self._hold(run, (step.run_id, step.position), waiting.use)
            if not run.begun:
                run.begun = True
                if run.waiting and (run.tags or self._gates.runs):
                    self._place_anew(step.run_id, run)
            taken.append(step)
        return taken

    def _hold(self, run: KnownRun, step_id: StepId, use: StepUse | None) -> None:
        if step_id[1] in run.resting:
            run.resting.discard(step_id[1])
        else:
            run.under_way += 1
        if use is not None:
            self._holds[step_id] = self._gates.of_step(use)

    def adopted(self, step: StepToRun, use: StepUse | None) -> None:
        """A step that an earlier daemon began goes on: it has what it wants, whether or not there is room."""
        step_id = step.run_id, step.position
        self._room.soles.hold(step_id, step.name, step.partition)
        for gate, amount in self._gates.of_step(use) if use is not None else self._gates.plain:
            gate.take(amount, 0.0)
        self._hold(self._runs[step_id[0]], step_id, use)

    def release(self, step_id: StepId) -> None:
        """An attempt is over: what it had is free."""
        run = self._runs.get(step_id[0])
        self._room.ends(step_id)
        if run is not None and step_id[1] in run.resting:
            self.stay(step_id)
            run.resting.discard(step_id[1])
        else:
            self._give_back(step_id)
        if run is not None:
            run.under_way -= 1
            run.sure = run.begun
            self._uncount_resting(step_id[0], run)

    def _give_back(self, step_id: StepId) -> None:
        for gate, amount in self._holds.pop(step_id, self._gates.plain):
            gate.give(amount)
            self._room.freed(gate)

    def rest(self, step_id: StepId) -> None:
        """A step under way waits for what is not in this queue: what it had is free, and what counted its run if
        all of that rests. To go on it is `put`, and taken."""
        run = self._runs[step_id[0]]
        self._give_back(step_id)
        run.resting.add(step_id[1])
        self._uncount_resting(step_id[0], run)

    def stay(self, step_id: StepId) -> None:
        """It was put to go on, and rests further."""
        run = self._runs[step_id[0]]
        if step_id[1] in run.waiting:
            run.waiting.discard(step_id[1])
            self._room.remove(step_id)

    def _uncount_resting(self, run_id: int, run: KnownRun) -> None:
        if run.begun and run.resting and len(run.resting) == run.under_way:
            self._uncount(run)
            self._place_anew(run_id, run)

    def refund(self, step_id: StepId) -> None:
        """A step that was taken did not start: it was canceled, or the commit failed."""
        for gate, amount in self._holds.pop(step_id, self._gates.plain):
            gate.undo(amount)
            self._room.freed(gate)
        self._room.ends(step_id)
        run = self._runs.get(step_id[0])
        if run is not None:
            run.under_way -= 1
            if not run.sure:
                self.requeued(step_id[0])
            self._uncount_resting(step_id[0], run)

    def opens_at(self) -> float | None:
        """When a rate that something waits for lets the next one go; None if there is none."""
        return min((one.opens_at for one in self._gates.rates.values() if one.parties), default=None)

    # --- committed as already started -----------------------------------------------------------------------

    def book(self, runs: Sequence[RunToAdmit], uses: Mapping[str, StepUse] = _NO_USES, now: float = 0.0) -> Booking:
        """Reserve for the first steps of runs what they want, as far as they would overtake nobody: none of what others
        wait for. `uses`: what steps take, by name, if that is not a worker alone."""
        booking = Booking(tuple(runs), uses)
        if not uses and not self._gates.limits.on_runs:
            self._book_workers(booking, count_first(runs, self.room("process")))
        elif self.open and not self._room.calls:
            book_each(booking, self._gates, now)
            self._room.changed()
        return booking

    def book_some(self, count: int, uses: Mapping[str, StepUse] = _NO_USES) -> Booking:
        """As `book`, for so many first steps of runs that are not at hand: none where a limit may concern them."""
        booking = Booking((), uses)
        if not uses and not self._gates.limits.on_runs:
            self._book_workers(booking, min(count, self.room("process")))
        return booking

    def _book_workers(self, booking: Booking, count: int) -> None:
        if count > 0 and not self._room.calls and not self._gates.workers.awaited:
            booking.start = count
            booking.taken = [(self._gates.workers, count)]
            self._gates.workers.take(count, 0.0)

    def settle(self, booking: Booking, runs: Sequence[RunToAdmit], admissions: Sequence[Admission]) -> None:
        """They are committed: the runs are known, what began has what was reserved for it, and the rest is free.
        `runs`: those of the booking that came so far, which `admissions` count over."""
        plain, began = not booking.marked, 0
        for admission in admissions:
            request = runs[admission.request]
            self.register(admission.run_id, request.origin, priority=admission.priority, tags=request.tags)
            if not admission.started:
                continue
            began += len(admission.started)
            run = self._runs[admission.run_id]
            run.begun = True
            for step in admission.started:
                use = None if plain else booking.uses.get(step.name)
                self._hold(run, (admission.run_id, step.position), use)
                self._room.soles.hold((admission.run_id, step.position), step.name, step.partition)
                if not plain:
                    booking.used(self._gates.of_step(use))
            self._room.changed()
            if not plain:
                booking.used((*run.tags, *self._gates.runs))
        if plain and began:
            booking.taken = [(self._gates.workers, booking.start - began)]
        self.forgo(booking)

    def forgo(self, booking: Booking) -> None:
        """Nothing more of it begins: what is still reserved is free."""
        taken, booking.taken = booking.taken, []
        for gate, amount in taken:
            gate.undo(amount)
            self._room.freed(gate)
        self._gates.dropped(tuple(booking.tags))
        booking.tags = []

    # --- what is asked ---------------------------------------------------------------------------------------

    def blocks(self, run_id: int) -> Gate | None:
        """Of a run that waits for no other: what blocks its steps; None where nothing does, but that it is its turn."""
        return self._told(run_id, self._room.blocks)

    def made_by(self, run_id: int) -> tuple[str, int] | None:
        """What a run that waits would make, and the run that makes it now."""
        return self._told(run_id, self._room.made_by)

    def _told(self, run_id: int, ask: Callable[[StepId], T | None]) -> T | None:
        run = self._runs.get(run_id)
        found = [ask((run_id, at)) for at in run.waiting] if run is not None else []
        return next((one for one in found if one is not None), None)

    def pools(self) -> tuple[PoolView, ...]:
        """All pools by name, as they stand."""
        return self._gates.views(self._room.waiting_for)

    def find_pool(self, pool: str) -> Gate:
        """Its slots. Raises `UnknownName` with the nearest where there is no such pool."""
        return self._gates.pool(pool)

    # --- pools ----------------------------------------------------------------------------------------------

    def pause(self, pool: str, *, paused: bool) -> None:
        """Let no step of a pool start, or let them start again. Raises `UnknownName`."""
        gate = self.find_pool(pool)
        gate.paused = paused
        self._room.freed(gate)

    def started_before(self, pool: str, at: float) -> None:
        """A step of the pool started at an instant before this queue was; oldest first."""
        if pool in self._gates.rates:
            self._gates.rates[pool].take(1, at)
