"""The folders of plugins are watched: what is written there is loaded once the writing has paused.

Nothing depends on what the watcher tells: it says when to look, and the texts themselves say whether anything changed.
So what editors leave lying about for a moment, files written twice or in halves, and renames there and back come to
nothing, or to one load of what there is afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import anyio
import structlog
from watchfiles import Change, awatch  # pyright: ignore[reportUnknownVariableType]

from freshet.engine.engine import Engine

__all__ = ["is_plugin", "watch_plugins"]

_DEBOUNCE, _STEP = 100, 20
"""Milliseconds: news are handed on after `_STEP` without any, at the latest after `_DEBOUNCE`."""
_AGAIN = 5.0
"""Seconds until a folder that cannot be watched is tried again."""

_log = structlog.get_logger("freshet.plugins")


def is_plugin(path: str) -> bool:
    """Whether a change at a path may change what the plugins are: a Python file, or a folder that may hold some;
    nothing hidden, and nothing that was compiled or is an editor's own."""
    one = Path(path)
    if any(part == "__pycache__" for part in one.parts) or one.name.startswith((".", "#")) or one.name.endswith("~"):
        return False
    return one.suffix in ("", ".py")


async def watch_plugins(engine: Engine, folders: Sequence[Path], ready: anyio.Event) -> None:
    """Until canceled, from when the daemon is ready."""
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells each change; what came of it is told
    await ready.wait()
    while True:
        try:
            await _watch(engine, folders)
        except (OSError, RuntimeError) as error:
            _log.warning("the plugins cannot be watched; freshet reload loads them", error=str(error), again_in=_AGAIN)
        await anyio.sleep(_AGAIN)


async def _watch(engine: Engine, folders: Sequence[Path]) -> None:
    stop = anyio.Event()
    watched = awatch(
        *folders,
        watch_filter=_concerns,
        debounce=_DEBOUNCE,
        step=_STEP,
        stop_event=stop,
        ignore_permission_denied=True,
    )
    async with anyio.create_task_group() as group:
        group.start_soon(_set_at_the_end, stop)
        with anyio.CancelScope(shield=True):  # canceled, it would take seconds to end
            turn = asyncio.ensure_future(anext(watched, None))
            await asyncio.sleep(0)  # now it has begun to watch: what was edited before is asked about
            engine.reloader.ask()
            while await turn is not None:
                engine.reloader.ask()
                turn = asyncio.ensure_future(anext(watched, None))
        group.cancel_scope.cancel()


async def _set_at_the_end(stop: anyio.Event) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        stop.set()


def _concerns(change: Change, path: str) -> bool:
    return is_plugin(path)
