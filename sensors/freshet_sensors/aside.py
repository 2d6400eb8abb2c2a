"""Blocking looks set aside from the loop, each in a thread of its own that nobody has to wait for.

Not the loop's default pool: a look at a file system that hangs would hold one of its few threads for ever, and with it
other sensors.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

__all__ = ["aside"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _OwnThread(Executor):
    """Each call in a daemon thread: the end of the process does not wait for it."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """See `Executor`."""
        future: Future[_T] = Future()

        def run() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # as concurrent.futures does: it is raised where the future is awaited
                future.set_exception(error)
            else:
                future.set_result(result)

        future.set_running_or_notify_cancel()
        threading.Thread(target=run, name="look", daemon=True).start()
        return future


_threads = _OwnThread()


async def aside(function: Callable[..., _T], *args: Any) -> _T:
    """Call a blocking function off the loop. Cancelling the wait does not end the call."""
    # By the loop's own door, so that a loop in virtual time can do it in line.
    return await asyncio.get_running_loop().run_in_executor(_threads, function, *args)
