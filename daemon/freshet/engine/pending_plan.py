"""Which of the requests that wait become runs now, and when the next may. Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from freshet.definitions.flow import Flow
from freshet.store.records.pending import RequestGroup, WaitingRequest

__all__ = ["ONE_LINE", "Due", "PendingPlan", "group_of", "plan_pending"]

ONE_LINE: RequestGroup = ("", None)
"""The group of all requests where each becomes a run by itself."""


@dataclass(frozen=True, slots=True)
class Due:
    """Requests that become one run, in the order in which they came, and since when they may. `folded`: the last of
    them stands for all; else the run is for each of them."""

    group: RequestGroup
    requests: tuple[WaitingRequest, ...]
    at: float
    folded: bool


@dataclass(frozen=True, slots=True)
class PendingPlan:
    """What becomes runs now, in order, and when to look again; None: when more requests come."""

    now: tuple[Due, ...]
    again: float | None


def group_of(flow: Flow, target: str, key: str | None) -> RequestGroup:
    """The requests that a request waits with."""
    return (target, key) if flow.debounce is not None or flow.batch is not None else ONE_LINE


def plan_pending(
    flow: Flow,
    groups: Mapping[RequestGroup, Sequence[WaitingRequest]],
    begun: Sequence[float],
    now: float,
) -> PendingPlan:
    """What of the groups (each in the order of arrival) is due.

    `debounce`: once the last of a group came that long ago, it runs, and stands for all of them. `batch`: once `count`
    of a group wait, or the first waits `within`, or, with `debounce` too, none came for that long, they are one run.
    `throttle`: what is due runs in the order in which it fell due, as long as fewer than `count` of `begun` (when runs
    of before began, ascending) lie within `period`. What came or began later than `now`, before a step of the clock,
    counts as of now.
    """
    due: list[Due] = []
    later: list[float] = []
    for group, waiting in groups.items():
        if group == ONE_LINE:
            at = 0.0
            for one in waiting[: _room(flow, len(waiting))]:
                at = max(at, min(one.at, now))  # in the order of arrival, whatever the clock did
                due.append(Due(group, (one,), at, folded=False))
        else:
            made, again = _of_group(flow, group, waiting, now)
            due += made
            if again is not None:
                later.append(again)
    due.sort(key=lambda one: (one.at, one.requests[0].id))
    again = min(later, default=None)
    if flow.throttle is None or not due:
        return PendingPlan(tuple(due), again)
    count, period = flow.throttle.count, flow.throttle.period
    times = [min(at, now) for at in begun[-count:]]
    free = count - len(times) + sum(at + period <= now for at in times)
    if len(due) <= free:
        return PendingPlan(tuple(due), again)
    times = [at for at in times if at + period > now] + [now] * free
    return PendingPlan(tuple(due[:free]), times[len(times) - count] + period)


def _room(flow: Flow, waiting: int) -> int:
    """How many of a line are worth a look."""
    return waiting if flow.throttle is None else flow.throttle.count + 1


def _of_group(
    flow: Flow, group: RequestGroup, waiting: Sequence[WaitingRequest], now: float
) -> tuple[list[Due], float | None]:
    batch, debounce = flow.batch, flow.debounce
    if batch is None:
        at = _quiet(waiting, debounce or 0.0, now)
        return ([Due(group, tuple(waiting), at, folded=True)], None) if at <= now else ([], at)
    whole = len(waiting) // batch.count * batch.count
    due: list[Due] = []
    full = 0.0
    for start in range(0, whole, batch.count):
        chunk = tuple(waiting[start : start + batch.count])
        full = max(full, min(chunk[-1].at, now))
        due.append(Due(group, chunk, full, folded=False))
    rest = waiting[whole:]
    if not rest:
        return due, None
    at = min(rest[0].at, now) + batch.within
    if debounce is not None:
        at = min(at, _quiet(rest, debounce, now))
    if at <= now:
        return [*due, Due(group, tuple(rest), max(at, full), folded=False)], None
    return due, at


def _quiet(waiting: Sequence[WaitingRequest], debounce: float, now: float) -> float:
    return min(waiting[-1].at, now) + debounce
