"""`InlineHost`: a code host without processes. Sensors and steps run on the running event loop: for virtual time."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Protocol

import structlog

from freshet.executors.base import (
    Answers,
    CallEnd,
    HostStatus,
    ItemRef,
    LoadProblem,
    LoadReport,
    StepCall,
    StepEnd,
    TickEnd,
    TickOrder,
)
from freshet.executors.input_files import is_large, remove_inputs, write_inputs
from freshet.executors.translate import run_order, step_end
from freshet.host.describe import catalog
from freshet.host.evaluator.holder import Holder
from freshet.host.journal import Journal
from freshet.host.line import Line
from freshet.host.messages import Ended, Run, WorkerEnded
from freshet.host.resources import Resources
from freshet.host.step import error_data, perform
from freshet.store.records import StepToRun
from freshet.testing.inline_calls import InlineCalls, may_call
from freshet.testing.inline_looks import InlineLooks

__all__ = ["InlineHost"]

_log = structlog.get_logger("freshet.sensors")


class _Clock(Protocol):
    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def call_at(self, when: float, callback: Callable[[], None]) -> Any: ...


class InlineHost:
    """Implements `executors.base.CodeHost` in this process.

    `objects`: assets, jobs and sensors, as a plugin file would declare them. Values are kept under `values_dir`,
    journals under `runs_dir` (beside it, unless given).

    Looks and steps run at once and block the loop while they do (but for steps whose own text has a `ctx.call`: these
    run in threads); a `def` sensor runs on the loop too, so that the order
    of things is the same each time (its `checkpoint_sync()` is refused). A look's timeout counts real seconds.

    `duration(step)`: how many seconds of `clock` a step takes: its function runs at once, its end arrives that much
    later. What is asleep in virtual time must not count as work under way, or the clock would never move on:
    `resting(True)` is called when a step falls asleep, `resting(False)` when it wakes (the engine's `Work.end` and
    `Work.begin`).

    `wakes`: run the sensors' `wakes()`; off by default, since what they wait for happens in real time. `timezone`: of
    sets in time that name none, as in the configuration.
    """

    def __init__(
        self,
        objects: Iterable[object],
        answers: Answers,
        *,
        values_dir: Path,
        runs_dir: Path | None = None,
        clock: _Clock | None = None,
        duration: Callable[[StepToRun], float] | None = None,
        resting: Callable[[bool], None] | None = None,
        wakes: bool = False,
        version: str = "inline",
        timezone: str = "UTC",
    ) -> None:
        self._catalog = catalog(objects, version=version)
        self._answers = answers
        self._values_dir = values_dir
        self._runs_dir = runs_dir or values_dir.parent / "runs"
        self._clock = clock
        self._duration = duration
        self._resting = resting
        self._wakes = wakes
        self._timezone = timezone
        self._holders: dict[str, Holder] = {}
        self._looks = InlineLooks(answers, self._log, self._catalog.check, self._catalog.resources)
        self._asleep: dict[tuple[int, int], tuple[Any, StepEnd]] = {}
        self._calls = InlineCalls(answers, self._perform, self._performed)
        self._awaited: dict[str, list[TickOrder]] = {}
        self._rested = asyncio.Event()
        self._closed = False

    # --- life ----------------------------------------------------------------------------------------------

    async def start(self) -> LoadReport:
        """What was handed in, validated as a plugin folder would be."""
        return LoadReport(
            definitions=self._catalog.definitions,
            problems=tuple(LoadProblem(**problem) for problem in self._catalog.problems),
        )

    async def open(self, *, workers: int, without: Collection[str] = ()) -> None:
        """Open the sensors."""
        for number, sensor in enumerate(self._catalog.sensors.values()):
            holder = Holder(sensor, number, woken=self._woken, log=self._log, keep_texts=True)
            self._holders[sensor.name] = holder
            if sensor.name in without:
                self._awaited[sensor.name] = []
                continue
            await holder.prepare()
            if self._wakes:
                holder.watch()

    def take(self, sensor: str) -> None:
        """Nobody else holds this sensor any more: its looks open it."""
        orders, holder = self._awaited.pop(sensor, []), self._holders.get(sensor)
        if self._wakes and holder is not None:
            holder.watch()
        for order in orders:
            self.tick(order)

    async def leave(self, released: Callable[[str], None]) -> None:
        """Another host takes over."""
        await self.watch(active=False)
        for order in [order for orders in self._awaited.values() for order in orders]:
            self._answers.tick_ended(TickEnd(order.tick_id, order.sensor, "abandoned"))
        self._awaited.clear()
        for name, holder in self._holders.items():
            await self._looks.over(name)
            await holder.close()
            released(name)
        while self._asleep or self._calls:
            self._rested = asyncio.Event()
            await self._rested.wait()

    async def watch(self, *, active: bool) -> None:
        """Let the sensors' `wakes()` run, or end them."""
        for holder in self._holders.values():
            if active and self._wakes:
                holder.watch()
            else:
                holder.unwatch()

    async def close(self, *, grace: float) -> None:
        """Cancel looks, interrupt the steps that are asleep, close the sensors."""
        self._closed = True
        await self._looks.close()
        for key in [*self._asleep, *self._calls.steps()]:
            self._wake_up(key, "interrupted")
        for holder in self._holders.values():
            await holder.close()

    def status(self) -> HostStatus:
        """This process."""
        return HostStatus(os.getpid(), "inline", {}, workers_idle=0, workers_busy=len(self._asleep))

    # --- looks ---------------------------------------------------------------------------------------------

    def tick(self, order: TickOrder) -> None:
        """Begin an evaluation; it ends in exactly one final `tick_ended`, unless a checkpoint of it is refused."""
        if order.sensor in self._awaited:
            self._awaited[order.sensor].append(order)
        else:
            self._looks.begin(self._holders[order.sensor], order)

    def tick_committed(self, tick_id: int, *, committed: bool, ledger_revision: int, next_tick_id: int | None) -> None:
        """The commit of an `ok` or `checkpoint` end is known."""
        self._looks.committed(tick_id, committed, ledger_revision, next_tick_id)

    def cancel_tick(self, tick_id: int) -> None:
        """Nobody waits for this evaluation any more."""
        self._looks.cancel(tick_id)

    def _woken(self, sensor: str, hints: list[str] | None) -> None:
        self._answers.woken(sensor, None if hints is None else tuple(hints))

    def _log(self, sensor: str, level: str, message: str, fields: dict[str, Any]) -> None:
        _log.bind(sensor=sensor).log({"debug": 10, "info": 20, "warning": 30}.get(level, 40), message, fields=fields)

    # --- steps ---------------------------------------------------------------------------------------------

    def run(self, step: StepToRun) -> None:
        """Run a step on the loop's next turn."""
        asyncio.get_running_loop().call_soon(self._run, step)

    def _run(self, step: StepToRun) -> None:
        if self._closed:
            self._answers.step_ended(StepEnd(step.run_id, step.position, step.attempt, "not_received"))
            return
        self._answers.step_received(step.run_id, step.position, step.attempt, os.getpid())
        found: Any = self._catalog.assets.get(step.name) or self._catalog.jobs.get(step.name)
        if step.kind != "check" and found is not None and found.spec.wants_ctx and may_call(found.function):
            self._calls.run(step)
        else:
            self._performed(step, self._perform(step))

    def _performed(self, step: StepToRun, told: WorkerEnded) -> None:
        end = self._end(step, told)
        seconds = self._duration(step) if self._duration is not None else 0.0
        if seconds <= 0 or self._clock is None:
            self._answers.step_ended(end)
            self._rested.set()
            return
        key = (step.run_id, step.position)
        timer = self._clock.call_at(self._clock.monotonic() + seconds, lambda: self._wake_up(key))
        self._asleep[key] = (timer, end)
        self._rest(True)

    def _perform(self, step: StepToRun, line: Line | None = None) -> WorkerEnded:
        journal = Journal(self._runs_dir) if self._clock is None else Journal(self._runs_dir, clock=self._clock.now)
        journal.begin(step.run_id, step.name, step.attempt)
        large = is_large(step)
        try:
            written = write_inputs(self._runs_dir, step) if large else None
            order = run_order(step, timezone=self._timezone, inputs_file=written)
            catalog = self._catalog
            found: Any = catalog.assets.get(step.name) or catalog.jobs.get(step.name) or catalog.checks.get(step.name)
            apart = found is not None and (inspect.iscoroutinefunction(found.function) or found.spec.resources)
            if line is not None or not apart:
                return self._work(order, journal, line)
            return self._perform_apart(order, journal)
        finally:
            journal.close()
            if large:
                remove_inputs(self._runs_dir, step)

    def _perform_apart(self, order: Run, journal: Journal) -> WorkerEnded:
        """An `async def` step, or one whose resources may be, gets an event loop of its own, as in a worker; this one's
        waits for it."""
        ended: list[WorkerEnded] = []
        thread = threading.Thread(target=lambda: ended.append(self._work(order, journal, None)))
        thread.start()
        thread.join()
        return ended[0]

    def _work(self, order: Run, journal: Journal, line: Line | None) -> WorkerEnded:
        if line is None and not self._calls:
            return perform(order, self._catalog, journal, values_dir=self._values_dir)
        kept = Resources(self._catalog.resources)  # with these, each knows its own `freshet.current()`
        with ExitStack() as stack:
            stack.enter_context(kept)
            told = perform(order, self._catalog, journal, values_dir=self._values_dir, kept=kept, line=line)
            closing = stack.pop_all()
        try:
            closing.close()
        except Exception as raised:  # of a resource's own
            told["error"] = told["error"] or error_data(raised)
        return told

    @staticmethod
    def _end(step: StepToRun, told: WorkerEnded) -> StepEnd:
        ended = Ended(
            op="ended",
            run=step.run_id,
            position=step.position,
            attempt=step.attempt,
            outcome="failed" if told["error"] is not None else "succeeded",
            value=told["value"],
            metadata=told["metadata"],
            error=told["error"],
            version=told["version"],
            code=told["code"],
        )
        if "check" in told:
            ended["check"] = told["check"]
        return step_end(ended)

    def _rest(self, rests: bool) -> None:
        if self._resting is not None:
            self._resting(rests)

    def cancel(self, run_id: int, position: int, *, grace: float) -> None:
        """End a step that is asleep, or waits for a run."""
        self._wake_up((run_id, position), "canceled")

    def cancel_item(self, run_id: int, item: ItemRef) -> None:
        """Items are no processes of their own here."""

    def call_ended(self, call: StepCall, end: CallEnd) -> None:
        """Answer a call."""
        self._calls.answer(call, end)

    def _wake_up(self, key: tuple[int, int], outcome: Literal["canceled", "interrupted"] | None = None) -> None:
        calling = self._calls.end(*key)
        if calling is not None:
            self._answers.step_ended(StepEnd(*key, calling.attempt, outcome or "canceled"))
            self._rested.set()
        asleep = self._asleep.pop(key, None)
        if asleep is None:
            return
        timer, end = asleep
        timer.cancel()
        self._rest(False)
        if outcome is not None:
            end = StepEnd(end.run_id, end.position, end.attempt, outcome)
        self._answers.step_ended(end)
        self._rested.set()
