"""A code host that runs no user code: steps last as long as they are said to, sensors see what was listed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Literal

from freshet.definitions.graph import Definitions
from freshet.engine.clock import SimulatedClock, Timer
from freshet.engine.simulation.arrivals import Arrival
from freshet.executors.base import (
    Answers,
    CallEnd,
    HostStatus,
    ItemRef,
    LoadReport,
    StepCall,
    StepEnd,
    TickEnd,
    TickOrder,
)
from freshet.store.records import CheckEnd, StepToRun

__all__ = ["SimulatedHost", "as_played"]

_NEVER = 100 * 366 * 86400.0


def as_played(definitions: Definitions) -> Definitions:
    """The definitions without what only costs time where no user code runs.

    Sensors look when an arrival wakes them, not by their interval. Values are not handed from step to step. A schedule
    whose body would be asked fires its target instead, where it has one.
    """
    return replace(
        definitions,
        assets=tuple(
            replace(one, deps=tuple(replace(dep, argument=None) for dep in one.deps)) for one in definitions.assets
        ),
        checks=tuple(replace(one, deps=()) for one in definitions.checks),
        sensors=tuple(replace(one, interval=_NEVER) for one in definitions.sensors),
        schedules=tuple(replace(one, body=one.body and one.target is None) for one in definitions.schedules),
    )


class SimulatedHost:
    """Implements `executors.base.CodeHost` in virtual time.

    `report`: what the real host loaded, as it is to be played. `seconds(step)`: how long a step takes; all succeed.
    `resting`: see `testing.inline.InlineHost`. `opened`: called once the engine is about to begin. `began`, `ended`:
    told each step. Checks pass.
    """

    def __init__(
        self,
        report: LoadReport,
        answers: Answers,
        clock: SimulatedClock,
        *,
        seconds: Callable[[StepToRun], float],
        resting: Callable[[bool], None],
        opened: Callable[[], None],
        began: Callable[[StepToRun], None],
        ended: Callable[[StepToRun, float], None],
    ) -> None:
        self._report = report
        self._answers = answers
        self._clock = clock
        self._seconds = seconds
        self._resting = resting
        self._opened = opened
        self._began = began
        self._ended = ended
        self._asleep: dict[tuple[int, int], tuple[Timer, StepEnd]] = {}
        self._seen: dict[str, list[Arrival]] = {}

    # --- life ----------------------------------------------------------------------------------------------

    async def start(self) -> LoadReport:
        """What was loaded."""
        return self._report

    async def open(self, *, workers: int, without: Collection[str] = ()) -> None:
        """Nothing is started."""
        self._opened()

    def take(self, sensor: str) -> None:
        """Nobody holds anything."""

    async def leave(self, released: Callable[[str], None]) -> None:
        """Nothing is reloaded in a simulation."""

    async def watch(self, *, active: bool) -> None:
        """Nobody watches."""

    async def close(self, *, grace: float) -> None:
        """Interrupt the steps under way."""
        for key in list(self._asleep):
            self._wake_up(key, "interrupted")

    def status(self) -> HostStatus:
        """This process."""
        return HostStatus(os.getpid(), "simulated", {}, workers_idle=0, workers_busy=len(self._asleep))

    # --- looks ---------------------------------------------------------------------------------------------

    def arrive(self, sensor: str, arrival: Arrival) -> None:
        """Let a sensor see something, now."""
        self._seen.setdefault(sensor, []).append(arrival)
        self._answers.woken(sensor, (arrival.path,))

    def tick(self, order: TickOrder) -> None:
        """What arrived since the last look; from the body of a schedule, nothing."""
        asyncio.get_running_loop().call_soon(self._look, order)

    def _look(self, order: TickOrder) -> None:
        seen = self._seen.pop(order.sensor, [])
        self._answers.tick_ended(
            TickEnd(
                order.tick_id,
                order.sensor,
                "ok",
                partitions=tuple(one for arrival in seen for one in arrival.partitions),
                runs=tuple(one for arrival in seen for one in arrival.runs),
                reports=tuple(one for arrival in seen for one in arrival.reports),
            )
        )

    def tick_committed(self, tick_id: int, *, committed: bool, ledger_revision: int, next_tick_id: int | None) -> None:
        """There is no ledger to keep."""

    def cancel_tick(self, tick_id: int) -> None:
        """It ends anyway."""

    # --- steps ---------------------------------------------------------------------------------------------

    def run(self, step: StepToRun) -> None:
        """Begin a step; it succeeds when its time has passed."""
        seconds, clock, key = self._seconds(step), self._clock, (step.run_id, step.position)
        self._began(step)
        check = CheckEnd(passed=True) if step.kind == "check" else None
        end = StepEnd(*key, step.attempt, "succeeded", check=check)

        def over() -> None:
            self._ended(step, seconds)
            self._wake_up(key)

        self._asleep[key] = (clock.call_at(clock.monotonic() + seconds, over), end)
        self._resting(True)

    def cancel(self, run_id: int, position: int, *, grace: float) -> None:
        """End a step."""
        self._wake_up((run_id, position), "canceled")

    def cancel_item(self, run_id: int, item: ItemRef) -> None:
        """Items are no processes of their own here."""

    def call_ended(self, call: StepCall, end: CallEnd) -> None:
        """No step runs, so that none asks for a run."""

    def _wake_up(self, key: tuple[int, int], outcome: Literal["canceled", "interrupted"] | None = None) -> None:
        asleep = self._asleep.pop(key, None)
        if asleep is None:
            return
        timer, end = asleep
        timer.cancel()
        self._resting(False)
        self._answers.step_ended(end if outcome is None else replace(end, outcome=outcome))
