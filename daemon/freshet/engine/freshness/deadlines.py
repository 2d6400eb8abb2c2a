"""What a policy says of a baseline: functions of (policy, baseline, now)."""

from __future__ import annotations

from typing import Literal

from freshet.definitions.freshness import FreshnessSpec

__all__ = ["State", "lapse_deadline", "next_deadline", "state_at", "warn_deadline"]

State = Literal["fresh", "warn", "lapsed"]


def lapse_deadline(policy: FreshnessSpec, baseline_at: float) -> float:
    """From this moment on the asset has lapsed."""
    return baseline_at + policy.within


def warn_deadline(policy: FreshnessSpec, baseline_at: float) -> float | None:
    """From this moment on it warns; None where the policy gives no warning."""
    return None if policy.warn is None else baseline_at + policy.warn


def state_at(policy: FreshnessSpec, baseline_at: float, now: float, state: State = "fresh") -> State:
    """The state at `now` of what was in `state`. Within one episode it only gets worse: neither a clock that steps
    back nor a longer policy makes fresh again what has lapsed; a materialization does."""
    warn = warn_deadline(policy, baseline_at)
    if state == "lapsed" or now >= lapse_deadline(policy, baseline_at):
        return "lapsed"
    return "warn" if state == "warn" or (warn is not None and now >= warn) else "fresh"


def next_deadline(policy: FreshnessSpec, baseline_at: float, state: State) -> float | None:
    """When the state changes next if nothing is materialized; None once it has lapsed."""
    if state == "lapsed":
        return None
    warn = warn_deadline(policy, baseline_at) if state == "fresh" else None
    return lapse_deadline(policy, baseline_at) if warn is None else warn
