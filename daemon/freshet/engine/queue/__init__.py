"""The run queue: what may start now, given priorities, requesters, pools, limits and lines. Pure, no I/O."""

from freshet.engine.queue.booking import Booking, count_first
from freshet.engine.queue.gatehouse import PoolView
from freshet.engine.queue.gates import Gate, RateGate
from freshet.engine.queue.queue import RunQueue, StepId

__all__ = ["Booking", "Gate", "PoolView", "RateGate", "RunQueue", "StepId", "count_first"]
