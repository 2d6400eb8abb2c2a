"""A loop in virtual time: where everybody waits, time goes on to the next timer at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

__all__ = ["VirtualLoop"]

_T = TypeVar("_T")


class _Skips(selectors.DefaultSelector):  # type: ignore[valid-type, misc, unused-ignore]
    """Does not wait: `skipped` seconds have passed instead."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found: Any = super().select(0)
        if not found:
            if timeout is None:
                raise RuntimeError("everybody waits, and for nothing that will come")
            self.skipped += max(0.0, timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0. What would go to a thread is done in line."""

    def __init__(self) -> None:
        self._skips = _Skips()
        super().__init__(self._skips)

    def time(self) -> float:
        """Seconds."""
        return self._skips.skipped

    def run_in_executor(self, executor: Executor | None, func: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:  # type: ignore[override]
        """Call it now."""
        future: asyncio.Future[_T] = self.create_future()
        try:
            future.set_result(func(*args))
        except BaseException as error:
            future.set_exception(error)
        return future

    def do(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run it to its end, and what has become ready by then."""
        done = self.run_until_complete(work)
        self.run_until_complete(_turns())
        return done


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
