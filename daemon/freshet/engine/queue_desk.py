"""What may be asked of the run queue: pools as they stand, their pauses, and the priority of runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from freshet.engine.queue import PoolView
from freshet.store.pools import prioritize_run, set_pool

if TYPE_CHECKING:
    from freshet.engine.engine import Engine

__all__ = ["QueueDesk"]


class QueueDesk:
    """Each change is durable before it holds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def pools(self) -> tuple[PoolView, ...]:
        """All pools, by name."""
        return self._engine.launcher.queue.pools()

    async def pause(self, pool: str, *, paused: bool) -> PoolView:
        """Let no step of a pool start until it is resumed; what is under way goes on. Raises `UnknownName`."""
        return await self._engine.instruments.work.whole(self._pause(pool, paused=paused))

    async def _pause(self, pool: str, *, paused: bool) -> PoolView:
        launcher, instruments = self._engine.launcher, self._engine.instruments
        launcher.queue.find_pool(pool)
        await instruments.store.write(partial(set_pool, name=pool, now=instruments.clock.now(), paused=paused))
        launcher.queue.pause(pool, paused=paused)
        launcher.dispatch()
        return next(one for one in self.pools() if one.name == pool)

    async def prioritize(self, run_id: int, priority: int) -> None:
        """Let what is still to start of a run start at this priority. Raises `UnknownName` and `Conflict`."""
        await self._engine.instruments.work.whole(self._prioritize(run_id, priority))

    async def _prioritize(self, run_id: int, priority: int) -> None:
        write = partial(prioritize_run, run_id=run_id, priority=priority)
        await self._engine.instruments.store.write(write)
        self._engine.launcher.queue.reprioritize(run_id, priority)
        self._engine.launcher.dispatch()
