"""Waiting for a condition, with an end to it."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["TookTooLong", "until"]


class TookTooLong(AssertionError):
    """What was waited for did not come."""


def until(condition: Callable[[], bool], what: str, *, timeout: float, every: float = 0.02) -> None:
    """Ask until it is so. Raises `TookTooLong` naming `what` after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TookTooLong(f"after {timeout:g} s still waiting: {what}")
        time.sleep(every)
