"""Whose fault it was that an evaluator had to be killed, or died. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from freshet.executors.base import TickEnd, TickOrder
from freshet.host.evaluator.page import BACKGROUND, PageView
from freshet.store.records import TickError
from freshet.store.records.offences import Offence

__all__ = ["MAX_SUSPECTS", "Suspicions", "Verdict", "judge", "struck_end"]

MAX_SUSPECTS = 8
"""How many sensors are set apart at once where the culprit is not known."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`culprit`: the sensor that did it, and its tick if it was in one. `suspects`: sensors of which one may have."""

    culprit: str | None = None
    tick: int | None = None
    suspects: tuple[str, ...] = ()

    def offences(self, offence: Offence, moved: Collection[str]) -> Iterator[tuple[str, Offence]]:
        """Whose offence it was; of those of which one may have done it, it is a suspicion. `moved`: who has an
        evaluator of its own because of it."""
        if self.culprit is not None:
            yield self.culprit, replace(offence, moved=self.culprit in moved)
        for sensor in self.suspects:
            yield sensor, replace(offence, kind="suspected", moved=sensor in moved)


def judge(
    page: PageView,
    flights: Mapping[int, str],
    numbers: Mapping[int, str],
    *,
    threads: Collection[int],
    dead: bool,
) -> Verdict:
    """From the page at the end of an evaluator. `flights`: sensor by tick in flight; `numbers`: sensor by its number;
    `threads`: Python's numbers of the threads known to have been at it (the one that crashed, those that kept running).

    Who signs the loop's step did it. Else it was in a thread: the one that is known, or the only one; else all that
    ran are suspects. With no thread at work, what blocked was a callback, which nobody signs: all in flight are
    suspects. A process that ended between steps, without a thread at work, blames nobody (`dead`): most likely it was
    killed from outside.
    """
    crashed_elsewhere = dead and threads
    if page.owner and not crashed_elsewhere:
        return _named(page.owner, flights, numbers)
    running = [thread for thread in page.threads if thread.owner in flights]
    at_it = [thread for thread in running if thread.ident in threads]
    if len(at_it) == 1:
        return _named(at_it[0].owner, flights, numbers)
    if page.owner:
        return _named(page.owner, flights, numbers)
    if len(running) == 1 and (dead or not threads):
        return _named(running[0].owner, flights, numbers)
    if running:
        return Verdict(suspects=tuple(flights[thread.owner] for thread in at_it or running))
    return Verdict() if dead else Verdict(suspects=tuple(flights.values()))


def _named(owner: int, flights: Mapping[int, str], numbers: Mapping[int, str]) -> Verdict:
    if owner & BACKGROUND:
        return Verdict(culprit=numbers.get(owner & ~BACKGROUND))
    return Verdict(culprit=flights.get(owner), tick=owner if owner in flights else None)


@dataclass
class Suspicions:
    """How often each sensor was in flight when an evaluator stalled for no known reason: the guilty one always was."""

    counts: dict[str, int] = field(default_factory=dict[str, int])

    def most(self, suspects: Collection[str]) -> tuple[str, ...]:
        """Count these, and return those to be set apart now: all if they are few, else those counted most often."""
        for sensor in suspects:
            self.counts[sensor] = self.counts.get(sensor, 0) + 1
        if len(suspects) <= MAX_SUSPECTS:
            return tuple(suspects)
        return tuple(sorted(suspects, key=lambda sensor: (-self.counts[sensor], sensor))[:MAX_SUSPECTS])


def struck_end(order: TickOrder, message: str, offence: Offence) -> TickEnd:
    """The end of the look that cost its evaluator."""
    ended, struck = offence.kind == "ended", offence.kind != "overdue"
    error = TickError("EvaluatorEnded" if ended else "TimeoutError", message, offence.stack)
    return TickEnd(order.tick_id, order.sensor, "failed" if ended else "timed_out", error=error, struck=struck)
