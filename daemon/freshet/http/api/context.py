"""What every endpoint needs: the engine, where journals lie, and whether the server is about to end."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import anyio
from fastapi import Depends, Query, Request
from fastapi import Path as InPath

from freshet.definitions.graph import Definitions
from freshet.definitions.names import nearest_hint
from freshet.definitions.sensor import SensorSpec
from freshet.engine.control import Control
from freshet.errors import UnknownName

__all__ = ["After", "Api", "Before", "Context", "Limit", "RunId", "known", "known_sensor"]

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """`closing` is set when the server ends: who waits for something then answers at once."""

    control: Control
    state_dir: Path
    closing: anyio.Event

    async def or_closing(self, waiting: Awaitable[T]) -> T | None:
        """What `waiting` gives, or None as soon as the server ends."""
        found: T | None = None
        async with anyio.create_task_group() as group:

            async def end_with_server() -> None:
                await self.closing.wait()
                group.cancel_scope.cancel()

            group.start_soon(end_with_server)
            found = await waiting
            group.cancel_scope.cancel()
        return found


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Api = Annotated[Context, Depends(_context)]

_GREATEST = 2**63 - 1
RunId = Annotated[int, InPath(ge=1, le=_GREATEST)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Before = Annotated[int | None, Query(ge=1, le=_GREATEST, description="the id of the last one seen")]
After = Annotated[int, Query(ge=0, le=_GREATEST, description="the number of the last one seen")]


def known_sensor(definitions: Definitions, name: str) -> SensorSpec:
    """The sensor of this name. Raises `UnknownName` with the nearest, or saying that it is a schedule."""
    if name in definitions.schedule and name not in definitions.sensor:
        raise UnknownName(
            f"{name!r} is a schedule, not a sensor",
            hint=f"it ticks by the clock: freshet schedules {name}; make its target with materialize or call",
        )
    return known(definitions.sensor, name, "sensor")


def known(found: dict[str, T], name: str, what: str) -> T:
    """`found[name]`, or `UnknownName` with the nearest right one."""
    if name not in found:
        raise UnknownName(f"no {what} is called {name!r}", hint=nearest_hint(name, found))
    return found[name]
