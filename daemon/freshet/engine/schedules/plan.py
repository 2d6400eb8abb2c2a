"""Which ticks of a schedule fire, which are skipped and why, and when to look again.

A pure function of the schedule, what was decided before, and now. Every tick is decided once: it fires or it is
skipped, in the order of time. A tick is never early, and a clock that steps backward fires nothing again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from freshet.definitions.instants import Times
from freshet.definitions.schedule import ScheduleSpec

__all__ = ["GRACE", "Plan", "ScheduleState", "SkipReason", "Skipped", "anchor", "delay_of", "plan"]

GRACE = 5.0
"""Seconds by which a tick may be late while the daemon is up, and yet is no misfire."""

_PIECE = 10_000
"""The most ticks that one plan fires; the next plan follows at once."""

SkipReason = Literal["misfire", "max_late", "max_catch_up"]
"""Why a plan leaves ticks out. (What the commit leaves out besides is recorded as `overlap`.)"""


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """What is remembered of a schedule. `decided`: every tick up to here (a nominal instant) has been decided under
    `version`; at first it is `anchored_at`, when the version came into force."""

    version: str
    anchored_at: float
    decided: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """`count` ticks in a row, from the nominal instant `first` to `last`, did not fire.

    `misfire`: they passed while no one looked, and the policy leaves them out; `max_late`: they would have been later
    than allowed; `max_catch_up`: there were more than are caught up.
    """

    first: float
    last: float
    count: int
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Plan:
    """A decision. `fire`: nominal instants, oldest first. `state` is to be stored with it in one transaction.
    `next`: the nominal instant to come, None if there is none; `due`: when to plan again (the firing delayed by the
    jitter, or now where more has to fire than one plan takes)."""

    fire: tuple[float, ...]
    skipped: tuple[Skipped, ...]
    state: ScheduleState
    next: float | None
    due: float | None


def delay_of(spec: ScheduleSpec) -> float:
    """Seconds by which every tick of a schedule fires later than its nominal instant: in [0, jitter), by its name."""
    return spec.delay


def anchor(spec: ScheduleSpec, now: float) -> ScheduleState:
    """The state of a schedule that comes into force now: nothing of the past fires, nor a tick at this very instant."""
    return ScheduleState(spec.version, now, now)


def plan(
    spec: ScheduleSpec,
    state: ScheduleState | None,
    now: float,
    *,
    watching_since: float = float("-inf"),
    grace: float = GRACE,
) -> Plan:
    """Decide every tick that is due at `now`. `spec` is resolved: its zone is known.

    `state` None, or of another version (the cron text, interval or zone was edited): the schedule is anchored at `now`.

    A tick counts as missed, so that the misfire policy decides, if it was due before `watching_since` (the daemon was
    not up) or more than `grace` seconds ago (the machine slept, or the clock was put forward). Other ticks fire,
    several in a row if need be. `max_late` holds for both. Where ticks that were not missed fire as well, they are
    later than any missed one, and `latest` fires none of those.
    """
    if state is None or state.version != spec.version:
        return _to_come(anchor(spec, now), spec.times.after(now), delay_of(spec))
    times, delay = spec.times, delay_of(spec)
    first = times.after(state.decided)
    if first is None or first + delay > now:
        return _to_come(state, first, delay)
    second = times.after(first)
    missed = _just_below(max(watching_since, now - grace))
    if second is None or second + delay > now:  # one tick is due: nearly always
        reason = _reason(spec, first + delay, missed, now)
        decided = ScheduleState(state.version, state.anchored_at, first)
        if reason is None:
            return _to_come(decided, second, delay, fire=(first,))
        return _to_come(decided, second, delay, skipped=(Skipped(first, first, 1, reason),))
    return _several(spec, state, now, missed)


def _reason(spec: ScheduleSpec, due: float, missed: float, now: float) -> SkipReason | None:
    """Why a tick that stands alone does not fire; None if it does."""
    if spec.max_late is not None and now - due > spec.max_late:
        return "max_late"
    return "misfire" if due <= missed and spec.misfire == "skip" else None


def _several(spec: ScheduleSpec, state: ScheduleState, now: float, missed: float) -> Plan:
    times, delay = spec.times, delay_of(spec)
    last = times.latest(_nominal(times, now, delay), state.decided)
    assert last is not None, "several are due"
    # The two borders in the time of nominal instants: what lies at or below them is missed, or too late at all.
    missed_until = min(last, _nominal(times, missed, delay))
    too_late = None if spec.max_late is None else _nominal(times, _just_below(now - spec.max_late), delay)
    start = state.decided if too_late is None else max(state.decided, min(too_late, last))
    skipped = _range(times, state.decided, start, "max_late")
    caught = _caught_up(spec, times, start, missed_until, last)
    if missed_until > start:
        reason: SkipReason = "max_catch_up" if spec.misfire == "all" else "misfire"
        skipped += _range(times, start, missed_until if not caught else _just_below(caught[0]), reason)
        start = missed_until
    fire = caught + tuple(islice(_until(times, start, last), _PIECE - len(caught) + 1))
    if len(fire) > _PIECE:
        return _partly(state, skipped, fire, now)
    decided = ScheduleState(state.version, state.anchored_at, last)
    return _to_come(decided, times.after(last), delay, fire, skipped)


def _caught_up(spec: ScheduleSpec, times: Times, start: float, missed_until: float, last: float) -> tuple[float, ...]:
    """The missed ticks in (start, missed_until] that fire all the same, oldest first."""
    if spec.misfire == "skip" or missed_until <= start:
        return ()
    if spec.misfire == "latest":
        newest = times.latest(missed_until, start)
        return (newest,) if newest is not None and newest == last else ()
    return tuple(islice(times.backward(missed_until, start), spec.max_catch_up))[::-1]


def _range(times: Times, after: float, until: float, reason: SkipReason) -> tuple[Skipped, ...]:
    """The ticks in (after, until] as one record, if there are any."""
    last = times.latest(until, after) if until > after else None
    if last is None:
        return ()
    first = times.after(after)
    assert first is not None, "there is a last one"
    return (Skipped(first, last, times.count(after, last), reason),)


def _until(times: Times, after: float, last: float) -> Iterator[float]:
    for instant in times.instants(after):
        if instant > last:
            break
        yield instant


def _to_come(
    state: ScheduleState,
    following: float | None,
    delay: float,
    fire: tuple[float, ...] = (),
    skipped: tuple[Skipped, ...] = (),
) -> Plan:
    return Plan(fire, skipped, state, following, None if following is None else following + delay)


def _partly(state: ScheduleState, skipped: tuple[Skipped, ...], fire: tuple[float, ...], now: float) -> Plan:
    """The oldest only; the others are due at once."""
    *taken, following = fire
    return Plan(tuple(taken), skipped, ScheduleState(state.version, state.anchored_at, taken[-1]), following, now)


def _nominal(times: Times, due: float, delay: float) -> float:
    """Up to which nominal instant ticks are due at `due`: those for which instant + delay <= due, as floats add up, so
    that what the heap says is due is due here."""
    found = due - delay
    if delay == 0:
        return found
    ahead = times.after(found)
    if ahead is not None and ahead + delay <= due:
        return ahead
    behind = times.latest(found, found - 1)
    return found if behind is None or behind + delay <= due else _just_below(behind)


def _just_below(instant: float) -> float:
    return math.nextafter(instant, -math.inf)
