"""A daemon whose event loop can be held: SIGUSR1 holds it until the file `go` is there. The production code has no
hooks: what goes in beside it is a signal's callback on its loop.

`python -m tests.service.held --config FILE`
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from freshet.configuration import load_settings
from freshet.engine.daemon import run_daemon
from freshet.engine.notify import Manager

_keep = Manager.keep


async def _kept(self: Manager, *arguments: object) -> NoReturn:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _held)
    await _keep(self, *arguments)  # type: ignore[arg-type]  # whatever it takes


def _held() -> None:
    Path("held").touch()
    while not Path("go").exists():
        time.sleep(0.01)


def _live() -> None:
    """What another thread writes shows that the process is there, and that only its loop stands still. It works a
    little: a process that rests is looked at seldom."""
    with Path("lives").open("a") as lives:
        while True:
            lives.write("x")
            lives.flush()
            sum(range(200_000))
            time.sleep(0.05)


if __name__ == "__main__":
    Manager.keep = _kept  # type: ignore[assignment,method-assign]  # the same, and the callback
    threading.Thread(target=_live, daemon=True).start()
    sys.exit(run_daemon(load_settings(Path(sys.argv[2]))))
