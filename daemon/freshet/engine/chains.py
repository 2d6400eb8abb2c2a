"""Says in the log that a chain of automatic runs was stopped."""

from __future__ import annotations

from typing import Any

import structlog

from freshet.store.records import Event

__all__ = ["say_stopped"]

_log = structlog.get_logger("freshet.automation")


def say_stopped(events: tuple[Event, ...]) -> None:
    """Once for what one transaction stopped: a listener of the bus."""
    stopped = [event for event in events if event.type == "chain_stopped"]
    if not stopped:
        return
    data: Any = stopped[0].data
    names = sorted({event.asset or _target(event) for event in stopped})
    _log.error(
        "a chain of automatic runs was stopped: each was asked for because of the one before",
        targets=names[:8],
        requests=len(stopped),
        depth=data["depth"],
        by_run=data["run"],
        hint="break the loop (freshet why shows what asks), or raise [automation] max_chain",
    )


def _target(event: Event) -> str:
    data: Any = event.data
    return str(data["target"])
