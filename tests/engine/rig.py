"""A whole engine in virtual time: a real store, the real loops, plugins in this process."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from freshet.definitions.limits import Limits
from freshet.engine.clock import SimulatedClock
from freshet.engine.engine import Engine, EngineOptions
from freshet.engine.facade import EngineControl
from freshet.executors.base import Answers
from freshet.store.events import events_after
from freshet.store.queries import runs as read_runs
from freshet.store.records import Event, RunRow, StepToRun
from freshet.store.store import Store
from freshet.testing.inline import InlineHost

Duration = Callable[[StepToRun], float]


class Rig:
    """An engine that has started, its clock, and what the outside may ask of it."""

    def __init__(self, engine: Engine, store: Store, clock: SimulatedClock) -> None:
        self.engine = engine
        self.store = store
        self.clock = clock
        self.control = EngineControl(engine, store)

    async def settle(self) -> None:
        """All that is under way has ended; no time has passed."""
        await self.engine.settled()

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        await self.clock.advance(seconds, self.engine.settled)

    async def runs(self, target: str | None = None) -> list[RunRow]:
        """Runs, oldest first."""
        rows = await self.store.read(partial(read_runs, target=target, limit=100_000))
        return sorted(rows, key=lambda run: run.id)

    def blocked_by(self, run_id: int) -> str | None:
        """Why no step of a run goes on, in words."""
        found = self.control.blocked(run_id)
        return None if found is None else found.text

    async def states(self, target: str | None = None) -> list[str]:
        """The states of runs, oldest first."""
        return [run.state for run in await self.runs(target)]

    async def events(self, kind: str | None = None) -> list[Event]:
        """Committed events in order."""
        found = await self.store.read(partial(events_after, seq=0, limit=1_000_000))
        return [event for event in found if kind is None or event.type == kind]


@asynccontextmanager
async def rig(
    folder: Path,
    objects: Iterable[object],
    *,
    clock: SimulatedClock | None = None,
    workers: int = 2,
    max_chain: int = 250,
    limits: Limits | None = None,
    duration: Duration | None = None,
    seed: int = 0,
    stop: bool = True,
    host: type[InlineHost] = InlineHost,
) -> AsyncGenerator[Rig]:
    """Start an engine on the state in `folder`. `stop=False`: leave it as a crash would, without a word."""
    time = clock or SimulatedClock()
    things = list(objects)
    store = await Store.open(folder / "freshet.db", now=time.now())

    def rest(asleep: bool) -> None:
        work = engine.instruments.work
        if asleep:
            work.end()
        else:
            work.begin()

    def make_host(answers: Answers) -> InlineHost:
        return host(things, answers, values_dir=folder / "values", clock=time, duration=duration, resting=rest)

    options = EngineOptions(
        workers=workers, grace=0.0, max_chain=max_chain, values_dir=folder / "values", limits=limits or Limits()
    )
    engine = Engine(store=store, make_host=make_host, clock=time, options=options, rng=random.Random(seed))
    try:
        await engine.start()
        made = Rig(engine, store, time)
        await made.settle()
        yield made
        if stop:
            await engine.stop()
    finally:
        await store.close()
