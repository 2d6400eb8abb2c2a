"""What an earlier daemon left behind: steps that were cut off begin again, those that went on are waited for."""

from __future__ import annotations

from functools import partial

from freshet.definitions.executor import Lane
from freshet.engine.instruments import Instruments
from freshet.engine.launcher import Launcher
from freshet.executors.base import Sources
from freshet.store.records import Recovery, StepToRun
from freshet.store.recovery import recover

__all__ = ["take_over"]


async def take_over(
    instruments: Instruments, launcher: Launcher, *, budget: int, sources: Sources | None = None
) -> Recovery:
    """In one commit nothing is 'started' any more but what an executor has found; that is its step again."""
    found: dict[Lane, tuple[StepToRun, ...]] = {}
    for lane, executor in launcher.executors.items():
        executor.prepare(instruments.in_force.definitions, sources)
        found[lane] = executor.found()
    going_on = [(one.run_id, one.position, one.attempt) for steps in found.values() for one in steps]
    recovery = await instruments.store.write(
        partial(recover, now=instruments.clock.now(), budget=budget, going_on=going_on)
    )
    for lane, steps in found.items():
        kept = [step for step in steps if (step.run_id, step.position) in recovery.kept]
        launcher.adopt(lane, kept)
    return recovery
