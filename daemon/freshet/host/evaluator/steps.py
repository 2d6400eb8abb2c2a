"""Who holds the loop: every step of a sensor's coroutine, and of each task it creates, is signed in the shared page."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from types import coroutine
from typing import Any, Protocol, TypeVar

from freshet.host.evaluator.page import HELD, HELD_AFTER

__all__ = ["CURRENT", "GARBAGE", "Owner", "PluginExit", "Words", "signed", "task_factory"]

T = TypeVar("T")


class Owner(Protocol):
    """Whoever a step belongs to. `mark` may change between two steps (a checkpoint gives a look a new tick id).
    `threads`: Python's numbers of the default executor's threads that work for it."""

    mark: int
    threads: set[int]


class Words(Protocol):
    """The shared page as words, or a list in its place."""

    def __getitem__(self, index: int, /) -> int:
        """A word."""
        ...

    def __setitem__(self, index: int, value: int, /) -> None:
        """Write a word."""
        ...


CURRENT: ContextVar[Owner | None] = ContextVar("freshet_step_owner", default=None)
"""Whose code runs; tasks inherit it, so that what a sensor starts counts as the sensor's."""


class Garbage:
    """For how long, in seconds, the garbage collector has held this process. That is nobody's fault."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def watch(self) -> None:
        """From now on."""
        gc.callbacks.append(self._told)

    def _told(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.monotonic()
        else:
            self.seconds += time.monotonic() - self._began


GARBAGE = Garbage()


class PluginExit(Exception):
    """A plugin raised SystemExit or KeyboardInterrupt in a task of its own: its failure, not the evaluator's end."""


@coroutine
def signed(coro: Coroutine[Any, Any, T], owner: Owner, words: Words) -> Generator[Any, Any, T]:
    """Await `coro`, signing each of its steps with the owner's mark."""
    send, throw, monotonic, garbage = coro.send, coro.throw, time.monotonic, GARBAGE
    value: Any = None
    error: BaseException | None = None
    while True:
        before = words[0]
        words[0] = owner.mark
        words[1] += 1
        began = monotonic() - garbage.seconds
        try:
            awaited = send(value) if error is None else throw(error)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            words[0] = before
            if (took := monotonic() - garbage.seconds - began) >= HELD_AFTER:
                words[HELD], words[HELD + 1] = owner.mark, int(took * 1e6)
                words[HELD + 2] += 1
        error = None
        try:
            value = yield awaited
        except BaseException as raised:  # handed on to `coro`: cancellation, above all
            error = raised


async def _signed_task(coro: Coroutine[Any, Any, T], owner: Owner, words: Words) -> T:
    try:
        return await signed(coro, owner, words)
    except (SystemExit, KeyboardInterrupt) as error:
        raise PluginExit(f"a task of the sensor raised {type(error).__name__}") from error


def task_factory(words: Words) -> Callable[..., asyncio.Future[Any]]:
    """A task factory for the loop: tasks that a sensor's code creates are signed too."""

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        owner = CURRENT.get()
        return asyncio.Task(coro if owner is None else _signed_task(coro, owner, words), loop=loop, **options)

    return factory
