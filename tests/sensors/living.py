"""A file sensor that lives: its wakes run, and each is answered by a tick, as the daemon does it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
from tests.sensors.support import World, sensor

from freshet_sensors import FileSensor

__all__ = ["Life", "land", "living", "state"]


def land(path: Path) -> None:
    """A file that is whole whenever somebody looks."""
    part = path.with_name(path.name + ".part")
    part.write_text("x")
    part.rename(path)


class Life:
    """A sensor with its wakes running, and each wake answered by a tick, as the daemon does it."""

    def __init__(self, sensor: FileSensor, world: World) -> None:
        self.sensor = sensor
        self.world = world
        self.hints: list[set[str] | None] = []
        """Those whose tick has ended."""

    async def run(self) -> None:
        async for hints in self.sensor.wakes():
            told = None if hints is None else set(hints)
            await self.world.tick(self.sensor, told, now=datetime.now(UTC))
            self.hints.append(told)

    async def look(self) -> None:
        """The interval's look."""
        await self.world.tick(self.sensor, now=datetime.now(UTC))

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait for a condition, at most 10 s."""
        with anyio.fail_after(10):
            while not met():
                await anyio.sleep(0.001)


@asynccontextmanager
async def living(path: Path, **options: Any) -> AsyncGenerator[Life]:
    """A sensor that lives for the block; entered once it watches, or polls."""
    life = Life(sensor(path, **options), World())
    async with anyio.create_task_group() as group:
        group.start_soon(life.run)
        await life.until(lambda: bool(life.hints) or state(life) == "polling")
        yield life
        group.cancel_scope.cancel()


def state(life: Life) -> str:
    """`watching`, `polling`, or what comes before."""
    return (life.sensor.watching or "off").partition(":")[0]
