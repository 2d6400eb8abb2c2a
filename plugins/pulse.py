"""Pulse: a lapse to watch. `pulse` promises to be at most ten seconds old; when it lapses, `flatline` is materialized.

It lapses ten seconds after the first start, and after each `freshet materialize pulse`: once each time; then it is
quiet.
"""

from __future__ import annotations

import time

from freshet import AutomationCondition, Freshness, asset


@asset(freshness=Freshness(within="10s", warn="7s"))
def pulse() -> float:
    """When somebody last gave a sign of life, in seconds since 1970."""
    return time.time()


@asset(deps=[pulse], automation=AutomationCondition.on_lapse())
def flatline() -> float:
    """When the pulse was found to have stopped."""
    now = time.time()
    print(f"no pulse for ten seconds at {time.strftime('%H:%M:%S', time.localtime(now))}")
    return now
