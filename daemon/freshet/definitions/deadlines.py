"""What a freshness policy says of a baseline: functions of (policy, baseline, now)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.instants import CronTimes

__all__ = [
    "FreshState",
    "Standing",
    "counts_from",
    "lapse_deadline",
    "next_deadline",
    "state_at",
    "warn_deadline",
    "when_made",
]

FreshState = Literal["fresh", "warn", "lapsed"]

_FIRST = 0.0
"""Cron texts reach back to 1970; a report may speak of a time before there were calendars."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where something under a policy stands. `made_at`: of what is known last, `since` before anything is; `counts`:
    the moment from which the next deadline follows (`counts_from`)."""

    since: float
    made: bool
    made_at: float
    counts: float
    state: FreshState


def counts_from(policy: FreshnessSpec, made_at: float, begun: float, since: float) -> float:
    """From which moment on the deadline of a materialization counts: with `within` from its commit; with a cron text
    the deadline is the first instant later than this, for which it was begun too early."""
    return made_at if policy.cron is None else max(begun + (policy.window or 0.0), since)


def lapse_deadline(policy: FreshnessSpec, counts: float) -> float | None:
    """From this moment on it has lapsed; None where no instant comes any more."""
    if policy.cron is None:
        return counts + (policy.within or 0.0)
    try:
        return CronTimes(policy.cron, policy.timezone or "UTC").after(max(counts, _FIRST))
    except OverflowError:
        return None


def warn_deadline(policy: FreshnessSpec, counts: float) -> float | None:
    """From this moment on it warns; None where the policy gives no warning."""
    if policy.warn is None:
        return None
    if policy.cron is None:
        return counts + policy.warn
    lapse = lapse_deadline(policy, counts)
    return None if lapse is None else lapse - policy.warn


def state_at(policy: FreshnessSpec, counts: float, now: float, state: FreshState = "fresh") -> FreshState:
    """The state at `now` of what was in `state`. Within one episode it only gets worse: neither a clock that steps
    back nor a longer policy makes fresh again what has lapsed; a materialization does."""
    if state == "lapsed":
        return "lapsed"
    lapse = lapse_deadline(policy, counts)
    if lapse is not None and now >= lapse:
        return "lapsed"
    warn = warn_deadline(policy, counts)
    return "warn" if state == "warn" or (warn is not None and now >= warn) else "fresh"


def next_deadline(policy: FreshnessSpec, counts: float, state: FreshState) -> float | None:
    """When the state changes next if nothing is materialized; None once it has lapsed."""
    if state == "lapsed":
        return None
    warn = warn_deadline(policy, counts) if state == "fresh" else None
    return lapse_deadline(policy, counts) if warn is None else warn


def when_made(
    policy: FreshnessSpec, before: Standing, *, made_at: float, begun: float, told: bool, now: float
) -> Standing | None:
    """Where it stands after a materialization that commits at `now`. `told`: by a report that said when; it counts
    only if that is later than what is known: else None. What commits without saying when always counts, also where the
    clock has stepped back.

    It ends a warning or a lapse unless it is too old itself: a report of long ago, or (with a cron text) work that was
    begun before the window of the deadline it missed.
    """
    counts = counts_from(policy, made_at, begun, before.since)
    if before.made:
        if told and counts <= before.counts:
            return None
        made_at, counts = max(made_at, before.made_at), max(counts, before.counts)
    fresh = state_at(policy, counts, now)
    ended = fresh == "fresh" or (before.state == "lapsed" and fresh == "warn")
    return Standing(before.since, True, made_at, counts, "fresh" if ended else before.state)
