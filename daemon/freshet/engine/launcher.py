"""Runs, from admitted to ended: wait for a slot, commit as started, launch, commit the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog

from freshet.definitions.executor import Lane
from freshet.definitions.limits import Limits
from freshet.definitions.retries import RetrySpec, retry_delay
from freshet.engine.caching import Caching
from freshet.engine.inputs import read_bulk
from freshet.engine.instruments import STORE_RETRY, Instruments, persist
from freshet.engine.queue import Booking, RunQueue, StepId
from freshet.engine.requests import input_needs
from freshet.engine.sub_runs import SubRuns
from freshet.errors import Conflict, StoreUnavailable
from freshet.executors.apart import StepExecutor
from freshet.executors.base import ItemRef, StepEnd
from freshet.store.finishing import finish_step
from freshet.store.records import (
    Admission,
    Event,
    Finished,
    QueuedRun,
    QueuedStep,
    RunToAdmit,
    StepResult,
    StepToRun,
    TickError,
)
from freshet.store.steps import start_steps

__all__ = ["CANCEL_GRACE", "Launcher"]

CANCEL_GRACE = 5.0
"""Seconds that a canceled step gets to end by itself."""

_AT_ONCE = 64  # steps that one transaction starts at most
_BUSY = 0.1  # seconds until it is known here, too, which run makes what a step would make
_FIRST = 1 << 30
"""As deep as no asset lies in the graph."""

_ENDS = ("run_succeeded", "run_failed", "run_canceled")

_log = structlog.get_logger("freshet.runs")


class Launcher:
    """Owns the queue and the steps under way. Every step it launches ends in one commit, whatever happens to it."""

    def __init__(
        self,
        instruments: Instruments,
        capacity: int,
        lanes: Mapping[Lane, int] | None = None,
        *,
        limits: Limits | None = None,
        values_dir: Path | None = None,
    ) -> None:
        self._in = instruments
        self.cache = Caching(instruments, values_dir)
        self.queue = RunQueue(capacity, limits, lanes=lanes, alone=instruments.in_force.definitions.alone)
        self.sub_runs = SubRuns(instruments, self)
        self.running: dict[StepId, StepToRun] = {}
        self.retry_at: dict[StepId, float] = {}
        self._reading: set[StepId] = set()
        self.executors: Mapping[Lane, StepExecutor] = {}
        self._adopting: dict[Lane, Sequence[StepToRun]] = {}
        self._elsewhere: dict[StepId, StepExecutor] = {}
        self._dispatching = False

    # --- waiting --------------------------------------------------------------------------------------------

    def book(self, runs: Sequence[RunToAdmit]) -> Booking:
        """Reserve what the first steps of runs want that are about to be committed; then `admitted`, or `forgo`."""
        return self.queue.book(runs, self._in.in_force.definitions.uses, self._in.clock.monotonic())

    def book_some(self, count: int) -> Booking:
        """As `book`, for so many steps of runs that are not at hand."""
        return self.queue.book_some(count, self._in.in_force.definitions.uses)

    def forgo(self, booking: Booking) -> None:
        """The commit failed."""
        self.queue.forgo(booking)
        self.dispatch()

    def admitted(self, booking: Booking, requests: Sequence[RunToAdmit], admissions: Sequence[Admission]) -> None:
        """Launch what was committed as started; the other steps that may begin wait for a slot."""
        self.queue.settle(booking, requests, admissions)
        for admission in admissions:
            request = requests[admission.request]
            if request.in_order:
                self.queue.join(admission.run_id, request.group)
            begun = [started.position for started in admission.started] if admission.started else ()
            for position, step in enumerate(request.steps):
                if not step.needs and position not in begun:
                    at = admission.at[position] if admission.at else 0
                    self._put(QueuedStep(admission.run_id, position, step.name, admission.priority, None, at))
            for started in admission.started:
                self._launch(started)
            for run_id in admission.canceled:
                self.cancel(run_id, grace=CANCEL_GRACE)
        self.dispatch()

    def published(self, events: tuple[Event, ...]) -> None:
        """A run that has ended is counted in no limit any more, and lets the next of its line go."""
        ended = [event.run_id for event in events if event.type in _ENDS]
        if any([self.queue.left(run_id or 0) for run_id in ended]):
            self._dispatch_soon()

    def load(self, runs: Sequence[QueuedRun], steps: Sequence[QueuedStep]) -> None:
        """What was queued or under way before this daemon."""
        for run in runs:
            self.queue.register(run.id, run.origin, priority=run.priority, tags=run.tags, begun=run.begun)
        self._adopt()
        self.wait(steps)

    def wait(self, steps: Sequence[QueuedStep]) -> None:
        """Let steps wait: for a slot, or first for their back-off."""
        now = self._in.clock.now()
        for step in steps:
            if step.not_before is not None and step.not_before > now:
                self._wait_until(step, step.not_before)
            else:
                self._put(step)
        self.dispatch()

    def _put(self, step: QueuedStep) -> None:
        definitions = self._in.in_force.definitions
        self.queue.put(step, depth=definitions.depth.get(step.name, 0), use=definitions.uses.get(step.name))

    def _wait_until(self, step: QueuedStep, when: float) -> None:
        step_id = (step.run_id, step.position)

        def due() -> None:
            if self.retry_at.pop(step_id, None) is not None:
                self._put(step)
                self.dispatch()

        self.retry_at[step_id] = when
        self._in.heap.after(("retry", *step_id), max(0.0, when - self._in.clock.now()), due)

    def cancel(self, run_id: int, *, grace: float) -> None:
        """The run is canceled: none of its steps waits any more, and those under way are ended. So are the runs that
        they wait for."""
        self._forget(run_id)
        self._in.work.spawn(self.sub_runs.canceled(run_id))
        for step_id in [step_id for step_id in self.running if step_id[0] == run_id]:
            if step_id in self._reading:
                self._reading.discard(step_id)
            elif (executor := self._runs_in(step_id)) is not None:
                executor.cancel(*step_id, grace=grace)
            else:
                for host in self._in.in_force.hosts:
                    host.cancel(*step_id, grace=grace)
        self.dispatch()  # what it held back may go

    def cancel_item(self, run_id: int, item: ItemRef) -> None:
        """One item of a step under way is ended, the others go on. Raises `Conflict` where it is not under way."""
        step_id = (run_id, item.position)
        if step_id not in self.running:
            raise Conflict(f"run {run_id} has no such step under way", hint=f"freshet items {run_id}")
        executor = self._runs_in(step_id)
        for one in self._in.in_force.hosts if executor is None else (executor,):
            one.cancel_item(run_id, item)

    def _forget(self, run_id: int) -> None:
        for step_id in [s for s in self.retry_at if s[0] == run_id]:
            del self.retry_at[step_id]
            self._in.heap.cancel(("retry", *step_id))
        self.queue.discard_run(run_id)

    # --- starting -------------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Start the waiting steps that may."""
        for some in self._take():
            self._in.work.spawn(self._start(some))

    def _take(self) -> list[list[QueuedStep]]:
        now = self._in.clock.monotonic()
        taken = self.queue.take(now)
        going_on = [step for step in taken if (step.run_id, step.position) in self.running]
        taken = [step for step in taken if (step.run_id, step.position) not in self.running] if going_on else taken
        for step in going_on:
            self._in.work.begin()
            self.sub_runs.goes_on((step.run_id, step.position))
        opens_at = self.queue.opens_at()
        if opens_at is not None:
            self._in.heap.after("rates", max(0.0, opens_at - now), self.dispatch)
        return [taken[start : start + _AT_ONCE] for start in range(0, len(taken), _AT_ONCE)]

    def _dispatch_soon(self) -> None:
        """Once for all that ends in this turn of the loop. The commits of the ends are asked for in the next turn: what
        starts in their place is committed with them."""
        if len(self.queue) and not self._dispatching:
            self._dispatching = True
            self._in.work.spawn(self._dispatch_now())

    async def _dispatch_now(self) -> None:
        self._dispatching = False
        first, *others = self._take() or [[]]
        for some in others:
            self._in.work.spawn(self._start(some))
        if first:
            await self._start(first)

    async def _start(self, taken: list[QueuedStep]) -> None:
        definitions, alone = self._in.in_force.definitions, self.queue.alone
        try:
            started = await self._in.store.write(
                partial(
                    start_steps,
                    steps=[(step.run_id, step.position) for step in taken],
                    needs=input_needs(definitions, (step.name for step in taken)),
                    now=self._in.clock.now(),
                    version=definitions.version,
                    alone=[(step.run_id, step.position) for step in taken if step.name in alone],
                )
            )
        except StoreUnavailable:
            for step in taken:
                self.queue.refund((step.run_id, step.position))
                self._put(step)
            self._in.heap.after("dispatch", STORE_RETRY, self.dispatch)
            return
        self._in.bus.publish(started.events)
        if len(started.steps) < len(taken):
            begun = {(step.run_id, step.position) for step in started.steps}
            for step in taken:
                if (step_id := (step.run_id, step.position)) not in begun:
                    self.queue.refund(step_id)
                    if step_id in started.busy:
                        self._wait_until(step, self._in.clock.now() + _BUSY)
        for launched in started.steps:
            self._launch(launched)
        if len(started.steps) < len(taken):
            self.dispatch()

    def _launch(self, step: StepToRun) -> None:
        self.running[step.run_id, step.position] = step
        self._in.work.begin()
        if step.bulk or self.cache.rule(step) is not None:
            self._reading.add((step.run_id, step.position))
            self._in.work.spawn(self._read_and_hand_over(step))
        else:
            self._hand_over(step)

    async def _read_and_hand_over(self, step: StepToRun) -> None:
        step_id = (step.run_id, step.position)
        whole = await read_bulk(self._in, step)
        end = await self.cache.find(whole)
        if step_id not in self._reading:
            self.ended(StepEnd(*step_id, step.attempt, "canceled"))
            return
        self._reading.discard(step_id)
        if end is not None:
            self.ended(end)
        else:
            self._hand_over(whole)

    def _hand_over(self, step: StepToRun) -> None:
        in_force = self._in.in_force
        definitions = in_force.definitions
        known = definitions.job.get(step.name) if step.kind == "job" else definitions.stepped(step.name)
        if known is not None and (executor := self._executor(step.name)) is not None:
            self._elsewhere[step.run_id, step.position] = executor
            executor.run(step)
        elif in_force.host is None:
            self.ended(StepEnd(step.run_id, step.position, step.attempt, "not_received"))
        elif known is None:
            said = TickError("UnknownName", f"the {step.kind} {step.name!r} is no longer declared by any plugin")
            self.ended(StepEnd(step.run_id, step.position, step.attempt, "failed", error=said))
        else:
            in_force.host.run(step)

    def _executor(self, name: str) -> StepExecutor | None:
        """Where a step runs, if that is not the code host."""
        use = self._in.in_force.definitions.uses.get(name)
        return None if use is None else self.executors.get(use.executor)

    def _runs_in(self, step_id: StepId) -> StepExecutor | None:
        """The same of one under way: where it was begun, whatever is declared now."""
        return self._elsewhere.get(step_id)

    def adopt(self, lane: Lane, steps: Sequence[StepToRun]) -> None:
        """These went on while no daemon was there; once all is loaded, their end is waited for."""
        self._adopting[lane] = steps

    def _adopt(self) -> None:
        uses = self._in.in_force.definitions.uses
        for lane, steps in self._adopting.items():
            for step in steps:
                self.running[step.run_id, step.position] = step
                self._elsewhere[step.run_id, step.position] = self.executors[lane]
                self.queue.adopted(step, uses.get(step.name))
                self._in.work.begin()
            self.executors[lane].adopt([(step.run_id, step.position) for step in steps])
        self._adopting = {}

    async def leave(self, *, lasting: bool) -> None:
        """The daemon ends: let go of the executors whose steps last, or end the others."""
        for executor in self.executors.values():
            if executor.lasting == lasting:
                await executor.close()
                for step_id in [one for one in self.running if self._runs_in(one) is executor]:
                    if lasting:
                        del self.running[step_id]
                        self._in.work.end()

    # --- resting --------------------------------------------------------------------------------------------

    def rest(self, step_id: StepId) -> None:
        """A step under way waits for other runs: what it has is free, and time may pass."""
        self.queue.rest(step_id)
        self._in.work.end()
        self.dispatch()

    def go_on(self, step_id: StepId) -> None:
        """A step that rests has what it waited for: it goes on when it has a slot again, before what has not begun."""
        step, uses = self.running[step_id], self._in.in_force.definitions.uses
        queued = QueuedStep(*step_id, step.name, step.priority, None, step.partition)
        self.queue.put(queued, depth=_FIRST, use=uses.get(step.name))
        self.dispatch()

    # --- ending ---------------------------------------------------------------------------------------------

    def ended(self, end: StepEnd) -> None:
        """A launch is over: free its slot, commit its end, and start what waits, in one flush."""
        step = self.running.pop((end.run_id, end.position), None)
        if step is None or step.attempt != end.attempt:
            raise AssertionError(f"the end of a step that is not under way: {end}")
        self._elsewhere.pop((end.run_id, end.position), None)
        self.queue.release((end.run_id, end.position))
        if self.sub_runs.over((end.run_id, end.position)):
            self._in.work.begin()
        self._in.work.spawn(self._finish(step, self._result(step, end)))
        self._in.work.end()
        self._dispatch_soon()

    def _result(self, step: StepToRun, end: StepEnd) -> StepResult:
        now = self._in.clock.now()
        error = None if end.error is None else {"type": end.error.type, "message": end.error.message}
        if end.error is not None and end.error.traceback:
            error = {**(error or {}), "traceback": end.error.traceback}
        gates = self._in.in_force.definitions.gates
        key, made, failed = self.cache.ended(end), end.outcome == "succeeded", end.outcome in ("failed", "died")
        return StepResult(
            *(step.run_id, step.position, step.attempt),
            "failed" if end.outcome == "died" else "lost" if end.outcome == "not_received" else end.outcome,
            now,
            end.value,
            end.metadata,
            error,
            self._retry_at(step, end, now) if failed else None,
            version=end.version if made else None,
            code=end.code if made else None,
            cached=end.cached if made else None,
            cache_key=key if made else None,
            check=end.check if made else None,
            gates=gates.get(step.name.partition(".")[0], ()) if gates else (),
        )

    def _retry_at(self, step: StepToRun, end: StepEnd, now: float) -> float | None:
        definitions = self._in.in_force.definitions
        spec = definitions.job.get(step.name) if step.kind == "job" else definitions.stepped(step.name)
        retries = spec.retries if spec is not None else RetrySpec()
        failures = step.failures + 1
        if end.final or failures > retries.max:
            return None
        return now + (retry_delay(retries, failures, self._in.rng) if end.after is None else end.after)

    async def _finish(self, step: StepToRun, result: StepResult) -> None:
        finished = await persist(self._in, partial(finish_step, result=result), what=f"the end of run {step.run_id}")
        self._in.bus.publish(finished.events)
        self._follow_up(step, result, finished)

    def _follow_up(self, step: StepToRun, result: StepResult, finished: Finished) -> None:
        if finished.refused:
            _log.warning("the end of a step came late and was refused", run=step.run_id, step=step.name)
            return
        if result.outcome == "failed":
            _log.warning(
                "a step failed",
                run=step.run_id,
                step=step.name,
                partition=step.key,
                attempt=step.attempt,
                retry_at=result.retry_at,
                error=result.error and result.error["message"],
            )
        if finished.run_state == "queued":
            self.queue.requeued(step.run_id)
        self.wait(finished.queued)
        for below in finished.canceled:
            self.cancel(below, grace=CANCEL_GRACE)
