"""Pulse: a lapse to watch. `pulse` promises to be at most ten seconds old, and is made once; when it lapses, `flatline`
is materialized.

So `flatline` comes ten seconds after the first start, and after each `freshet materialize pulse`: once each time; then
all is quiet.
"""

from __future__ import annotations

import time

from freshet import AutomationCondition, Freshness, asset


@asset(freshness=Freshness(within="10s", warn="7s"), automation=AutomationCondition.on_missing())
def pulse() -> float:
    """When there last was a sign of life, in seconds since 1970."""
    return time.time()


@asset(automation=AutomationCondition.on_lapse())
def flatline(pulse: float) -> float:
    """For how many seconds there was none."""
    silent = time.time() - pulse
    print(f"no pulse for {silent:.1f} seconds")
    return silent
