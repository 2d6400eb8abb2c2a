"""A daemon whose event loop is held now and then."""

from __future__ import annotations

import asyncio
import time
from typing import NoReturn

from freshet.cli import main
from freshet.engine.looplag import LoopWatch

_run = LoopWatch.run


def hold_the_loop() -> None:
    """For half a second, and again soon."""
    time.sleep(0.5)
    asyncio.get_running_loop().call_later(0.5, hold_the_loop)


async def _held(self: LoopWatch) -> NoReturn:
    hold_the_loop()
    await _run(self)


if __name__ == "__main__":
    LoopWatch.run = _held  # type: ignore[method-assign]
    main()
