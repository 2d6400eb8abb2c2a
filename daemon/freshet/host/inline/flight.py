"""One inline step on its way: whose code holds the loop, which tasks are its own, and what came of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

from freshet.host.evaluator.steps import Words, signed
from freshet.host.line import Line

__all__ = ["CURRENT", "Flight", "LoopHeld", "mark_of", "step_of", "task_factory"]

T = TypeVar("T")

_POSITIONS = 24


class LoopHeld(BaseException):
    """A step held the loop for too long, and is ended where it stands. No `Exception`: those that a step catches are
    not meant for this."""


class StepExit(Exception):
    """A task that a step started raised SystemExit or KeyboardInterrupt: its own affair, not the loop's."""


def mark_of(run: int, position: int) -> int:
    """What a step signs the shared page with."""
    return run << _POSITIONS | position


def step_of(mark: int) -> tuple[int, int]:
    """Run and position."""
    return mark >> _POSITIONS, mark & ((1 << _POSITIONS) - 1)


CURRENT: ContextVar[Flight | None] = ContextVar("freshet_inline_step", default=None)
"""Whose code runs; tasks inherit it."""


@dataclass(eq=False)
class Flight:
    """`mark`, `threads`: see `evaluator.steps.Owner`."""

    mark: int
    name: str
    loop: asyncio.AbstractEventLoop
    line: Line
    threads: set[int] = field(default_factory=set[int])
    tasks: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])
    main: asyncio.Task[None] | None = None
    stopped: bool = False

    def run(self, awaitable: Any) -> Any:
        """In a thread that is not the loop's: await this there. Raises what it raises."""
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()
        context = copy_context()
        context.run(CURRENT.set, self)
        self.loop.call_soon_threadsafe(self._begin, awaitable, done, context=context)
        return done.result()

    def stop(self) -> None:
        """Cancel it, now or as soon as it begins."""
        self.stopped = True
        if self.main is not None:
            self.main.cancel()

    def _begin(self, awaitable: Any, done: concurrent.futures.Future[Any]) -> None:
        self.main = self.loop.create_task(self._whole(awaitable, done))
        if self.stopped:
            self.main.cancel()

    async def _whole(self, awaitable: Any, done: concurrent.futures.Future[Any]) -> None:
        try:
            value = await awaitable
        except BaseException as error:
            await self._tidy()
            done.set_exception(error)
        else:
            await self._tidy()
            done.set_result(value)

    async def _tidy(self) -> None:
        """What the step started and did not wait for ends with it, as with `asyncio.run`."""
        left = [task for task in self.tasks if task is not self.main and not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)


def task_factory(words: Words) -> Callable[..., asyncio.Future[Any]]:
    """A task factory for the loop: each step of a task that belongs to a flight is signed."""

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        owner = CURRENT.get()
        if owner is None:
            return asyncio.Task(coro, loop=loop, **options)
        task = asyncio.Task(_signed(coro, owner, words), loop=loop, **options)
        owner.tasks.add(task)
        task.add_done_callback(owner.tasks.discard)
        return task

    return factory


async def _signed(coro: Coroutine[Any, Any, T], owner: Flight, words: Words) -> T:
    try:
        return await signed(coro, owner, words)
    except (SystemExit, KeyboardInterrupt, LoopHeld) as error:
        raise StepExit(f"a task of the step raised {type(error).__name__}") from error
