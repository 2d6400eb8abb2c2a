"""The whole engine in virtual time, on real definitions, with steps that last as long as they did before."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import structlog

from freshet.engine.clock import SimulatedClock
from freshet.engine.engine import Engine, EngineOptions
from freshet.engine.simulation.arrivals import Arrival
from freshet.engine.simulation.entries import Entry, Tally
from freshet.engine.simulation.host import SimulatedHost, as_played
from freshet.engine.simulation.recorder import Recorder
from freshet.executors.base import Answers, LoadReport
from freshet.store.records import StepToRun
from freshet.store.throwaway import ThrowawayStore

__all__ = ["Plan", "simulate"]

_UNKNOWN = 1.0
"""Seconds for a step of which nothing is known."""
_LOUD = 50
"""Only what is critical: the engine's log is about a world that is not there."""


@dataclass(frozen=True)
class Plan:
    """What to simulate, from `begin` up to and without `end` (seconds since 1970). `database`: a file that is not there
    yet, or a copy of a state to begin with. `durations`: seconds by name of asset or job. `speed`: virtual seconds in a
    real one; None: as fast as it goes. `options`: as the daemon would run. `only`: names that are told and counted,
    with the runs that they ask for; empty for all."""

    begin: float
    end: float
    database: Path
    options: EngineOptions
    durations: Mapping[str, float] = field(default_factory=dict[str, float])
    arrivals: Sequence[Arrival] = ()
    speed: float | None = None
    only: frozenset[str] = frozenset()


async def simulate(plan: Plan, report: LoadReport, tell: Callable[[Entry], None], *, stop: Callable[[], bool]) -> Tally:
    """Run from `begin` to `end`, or until `stop()`; `tell` gets what happens as it happens.

    The same plan, report and database give the same entries. Raises what the engine's start raises, and `StoreError`.
    """
    played = replace(report, definitions=as_played(report.definitions))
    bodies = [one.name for one in played.definitions.schedules if one.body]
    clock, tally = SimulatedClock.steadily(plan.begin), Tally()
    store = ThrowawayStore.create(plan.database, now=plan.begin)
    recorder = Recorder(store, clock, zone=plan.options.timezone, bodies=bodies)

    def note(entry: Entry) -> None:
        if not plan.only or entry.is_about(plan.only):
            tally.add(entry)
            tell(entry)

    def begin() -> None:
        engine.timetable.anchor(math.nextafter(plan.begin, -math.inf))  # a tick at `begin` itself is of the span
        engine.instruments.bus.listen(recorder.published)
        recorder.begin(engine.instruments.in_force.definitions, note)

    def rest(asleep: bool) -> None:
        (engine.instruments.work.end if asleep else engine.instruments.work.begin)()

    def make_host(answers: Answers) -> SimulatedHost:
        return SimulatedHost(
            played,
            answers,
            clock,
            seconds=partial(_seconds, plan.durations),
            resting=rest,
            opened=begin,
            began=recorder.began,
            ended=recorder.ended,
        )

    engine = Engine(
        store=store, make_host=make_host, clock=clock, options=replace(plan.options, grace=0.0), rng=random.Random(0)
    )
    with _quiet():
        try:
            await engine.start()
            await _let_pass(plan, engine, clock, recorder, tally, stop)
            recorder.tell = None
            await engine.stop()
        finally:
            await store.close()
    return tally


def _seconds(durations: Mapping[str, float], step: StepToRun) -> float:
    return durations.get(step.name, _UNKNOWN)


async def _let_pass(
    plan: Plan, engine: Engine, clock: SimulatedClock, recorder: Recorder, tally: Tally, stop: Callable[[], bool]
) -> None:
    """Let time pass, from timer to timer."""
    host = engine.instruments.in_force.host
    assert isinstance(host, SimulatedHost), "the one it was given"
    for arrival in plan.arrivals:
        if plan.begin <= arrival.at < plan.end:
            clock.call_at(arrival.at, partial(_arrive, host, recorder, arrival))
    pace = _Pace(plan)
    await engine.settled()
    while not stop():
        due = clock.next_due()
        if due is None or due >= plan.end:
            if plan.speed is not None:
                await pace.wait(plan.end, stop)
            break
        if plan.speed is not None and not await pace.wait(due, stop):
            break
        clock.leap(due)
        await engine.settled()
        if not plan.only:
            tally.waiting(len(engine.launcher.queue), clock.now())
    tally.ended = clock.now() if stop() else plan.end


def _arrive(host: SimulatedHost, recorder: Recorder, arrival: Arrival) -> None:
    recorder.arrived(arrival)
    host.arrive(arrival.sensor, arrival)


class _Pace:
    """Virtual time against real time."""

    _LONGEST = 0.1

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._began = time.monotonic()

    async def wait(self, due: float, stop: Callable[[], bool]) -> bool:
        """Until virtual `due`; False where `stop()` came first."""
        real = self._began + (due - self._plan.begin) / (self._plan.speed or 1.0)
        while not stop():
            left = real - time.monotonic()
            if left <= 0:
                return True
            await asyncio.sleep(min(left, self._LONGEST))
        return False


@contextmanager
def _quiet() -> Generator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_LOUD))
    try:
        yield
    finally:
        structlog.configure(**before)
