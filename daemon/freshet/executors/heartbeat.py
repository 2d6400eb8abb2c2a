"""Is an evaluator's loop alive? Asked only while ticks are in flight: an idle engine wakes nobody.

Every 100 ms a ping; the answer, any other message, and each step begun (the shared page counts them) are signs of life.
Silence counts only as far as the evaluator had the processor to break it, and as far as this daemon was awake to hear.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from freshet.executors.processes import Vitals

__all__ = ["LIMIT", "TURN", "Heartbeat", "Pulse", "Sign"]

TURN = 0.05
"""Seconds between two looks at the evaluator; a ping goes with every other."""
LIMIT = 0.25
"""Seconds of silence after which an evaluator counts as stalled."""
_NOTICED = TURN - 0.005
"""Seconds of silence after which it is worth to know where it stands: a turn, by a clock that may be late."""
_LATE = 0.02
_IDLE_CPU = 0.001


@dataclass(frozen=True, slots=True)
class Sign:
    """What can be seen of an evaluator from outside: steps begun, and the process's vitals where steps stand still."""

    steps: int
    vitals: Vitals | None = None


@dataclass(slots=True)
class Pulse:
    """How long an evaluator has been silent. Pure: time and signs are arguments."""

    life: float
    """When the last sign of life was, moved on by what excuses silence."""
    turn: float
    sign: Sign | None = None

    def silent(self, now: float, sign: Sign) -> float:
        """Seconds of silence that nothing excuses, at this turn."""
        elapsed, before = now - self.turn, self.sign
        self.turn, self.sign = now, sign
        if before is not None and sign.steps != before.steps:
            self.life = now
        else:
            late = elapsed - TURN if elapsed - TURN > _LATE else 0.0
            self.life += max(late, _starved(before, sign, elapsed))
        self.life = min(self.life, now)
        return now - self.life


def _starved(before: Sign | None, sign: Sign, elapsed: float) -> float:
    """Seconds of the last turn in which the evaluator's loop would have run, had it been given a processor."""
    if before is None or before.vitals is None or sign.vitals is None:
        return 0.0
    used = sign.vitals.used - before.vitals.used
    if used > elapsed / 2:
        return 0.0  # it had one
    if used < _IDLE_CPU and sign.vitals.runnable:
        return elapsed
    return min(max(0.0, sign.vitals.waited - before.vitals.waited), elapsed)


class Heartbeat:
    """Watches one evaluator while `busy()`. It calls `noticed` once in each silence, soon after that began; `stalled`
    with the seconds of one that lasts, and then it rests."""

    def __init__(
        self,
        *,
        steps: Callable[[], int],
        vitals: Callable[[], Vitals],
        ping: Callable[[int], None],
        busy: Callable[[], bool],
        noticed: Callable[[], None],
        stalled: Callable[[float], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._steps = steps
        self._vitals = vitals
        self._ping = ping
        self._busy = busy
        self._noticed = noticed
        self._stalled = stalled
        self._standing = False
        self._pulse: Pulse | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._turns = 0

    def start(self) -> None:
        """Watch, if it does not yet."""
        if self._timer is None:
            now = self._loop.time()
            self._pulse, self._standing = Pulse(now, now), False
            self._timer = self._loop.call_later(TURN, self._turn)

    def stop(self) -> None:
        """Rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def alive(self) -> None:
        """A message came."""
        if self._pulse is not None:
            self._pulse.life = self._loop.time()

    def _look(self, before: Sign | None) -> Sign:
        steps = self._steps()
        return Sign(steps, None if before is None or before.steps != steps else self._vitals())

    def _turn(self) -> None:
        self._timer = None
        if not self._busy() or self._pulse is None:
            return
        silent = self._pulse.silent(self._loop.time(), self._look(self._pulse.sign))
        if silent >= LIMIT:
            self._stalled(silent)
            return
        before, self._standing = self._standing, silent >= _NOTICED
        if self._standing and not before:
            self._noticed()
        self._turns += 1
        if self._turns % 2 == 0:
            self._ping(self._turns)
        self._timer = self._loop.call_later(TURN, self._turn)
