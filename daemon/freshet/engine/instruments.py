"""What every loop of the engine works with: time, memory, news, and the tasks under way. Nothing that decides."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from freshet.definitions.graph import Definitions
from freshet.engine.bus import Bus
from freshet.engine.clock import Clock
from freshet.engine.heap import DueHeap
from freshet.engine.work import Work
from freshet.executors.base import CodeHost
from freshet.store.store import Store

__all__ = ["InForce", "Instruments", "pause"]


@dataclass
class InForce:
    """The definitions that hold now and the host that serves them; None while there is no host."""

    definitions: Definitions
    host: CodeHost | None = None


@dataclass(frozen=True)
class Instruments:
    """Shared by the loops of one engine."""

    clock: Clock
    heap: DueHeap
    store: Store
    bus: Bus
    work: Work
    in_force: InForce
    rng: random.Random


async def pause(instruments: Instruments, seconds: float) -> None:
    """Sleep on the engine's heap, so that virtual time passes it too."""
    waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    name = ("pause", id(waited))

    def wake() -> None:
        if not waited.done():
            waited.set_result(None)

    instruments.heap.after(name, seconds, wake)
    try:
        await waited
    finally:
        instruments.heap.cancel(name)
