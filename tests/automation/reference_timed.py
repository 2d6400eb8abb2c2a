"""The reference's `Recently`, `Debounce` and `Batch`, one partition at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.automation.reference_facts import up_to

from freshet.definitions.condition import (
    AllDepsMatch,
    And,
    AnyDepsMatch,
    AssetMatches,
    AutomationCondition,
    Batch,
    CronTickPassed,
    Debounce,
    NewlyTrue,
    Operand,
    Or,
    Recently,
    Since,
    WhenDepsReady,
)

if TYPE_CHECKING:
    from tests.automation.reference_facts import Dependency
    from tests.automation.reference_look import Pass, Path

__all__ = ["INSTANTS", "timed"]

INSTANTS = ("ends", "pause", "latest", "first")
"""What is held against the time of transactions."""
_MOMENTS = ("newly_", "will_be_requested", "initial_evaluation", "code_version_changed", "data_version_changed")


def timed(one_pass: Pass, condition: Recently | Debounce | Batch, path: Path, asset: str) -> set[int]:
    """The partitions of which it is true."""
    live, true = one_pass.reference.live(asset), one_pass.true(condition.operand, path)
    if isinstance(condition, Recently):
        return _recently(one_pass, condition, path, live, true)
    came = _came(one_pass, condition, path, asset, true)
    lasts, found = lasting(one_pass, condition.operand, path, asset), set[int]()
    for p in live:
        stays = p in true if p in lasts else None
        if isinstance(condition, Debounce):
            now = _debounced(one_pass, condition, path, p, came, stays)
        else:
            now = _full(one_pass, condition, path, p, came, stays)
        found |= {p} if now else set()
    return found


def _recently(one_pass: Pass, condition: Recently, path: Path, live: set[int], true: set[int]) -> set[int]:
    was, ends = one_pass.bits(condition, path, "was"), one_pass.numbers(condition, path, "ends")
    for p in live:
        if p in true or ends.get(p, math.inf) <= one_pass.at:
            ends.pop(p, None)
        if p in was and p not in true:
            ends[p] = up_to(one_pass.at + condition.within, condition.within / 64)
    was.clear()
    was.update(true)
    return true | set(ends)


def _came(one_pass: Pass, condition: Debounce | Batch, path: Path, asset: str, true: set[int]) -> set[int]:
    was = one_pass.bits(condition, path, "was")
    came = true - was
    was.clear()
    was.update(true)
    for trigger in awaited(condition.operand):
        came |= true & (one_pass.true(trigger, path) - lasting(one_pass, trigger, path, asset))
    return came


def _debounced(one_pass: Pass, condition: Debounce, path: Path, p: int, came: set[int], lasting: bool | None) -> bool:
    """`lasting`: whether the operand is true; None where it never is for longer than a moment."""
    pause, latest = (one_pass.numbers(condition, path, which) for which in ("pause", "latest"))
    over = min(pause.get(p, math.inf), latest.get(p, math.inf)) <= one_pass.at
    if over or lasting is False:
        pause.pop(p, None)
        latest.pop(p, None)
    if p in came and not over:
        if condition.max_wait is not None and p not in pause:
            latest[p] = up_to(one_pass.at + condition.max_wait, condition.max_wait / 64)
        pause[p] = up_to(one_pass.at + condition.quiet, condition.quiet / 64)
    return over if lasting is None else lasting and p not in pause


def _full(one_pass: Pass, condition: Batch, path: Path, p: int, came: set[int], lasting: bool | None) -> bool:
    count, first = (one_pass.numbers(condition, path, which) for which in ("count", "first"))
    over = first.get(p, math.inf) <= one_pass.at
    if over or lasting is False:
        count.pop(p, None)
        first.pop(p, None)
    full = False
    if p in came and not over:
        count[p] = count.get(p, 0) + 1
        if condition.within is not None:
            first.setdefault(p, up_to(one_pass.at + condition.within, condition.within / 64))
        full = count[p] == condition.count
        if full:
            del count[p]
            first.pop(p, None)
    return (over or full) if lasting is None else lasting and p not in count


def lasting(one_pass: Pass, condition: AutomationCondition, path: Path, asset: str) -> set[int]:
    """The partitions of which it may be true for longer than a moment."""
    live, world = set(one_pass.reference.live(asset)), one_pass.reference
    spans = _spans(condition)
    if len(spans) == 1:
        return live if spans == {"lasting"} else set()

    def leading(dep: Dependency) -> set[int]:
        above = lasting(one_pass, condition.children()[0], (*path, dep.asset), dep.asset)
        return {p for p in live if world.named(asset, dep, p) & above}

    match condition:
        case And():
            return live.intersection(*(lasting(one_pass, one, path, asset) for one in condition.operands))
        case Or():
            return set[int]().union(*(lasting(one_pass, one, path, asset) for one in condition.operands))
        case AllDepsMatch():
            found = live
            for dep in world.chosen(asset, condition.deps):
                found = found & leading(dep) | {p for p in found if not world.counts(asset, dep, p)}
            return found
        case AnyDepsMatch():
            return set[int]().union(*(leading(dep) for dep in world.chosen(asset, condition.deps)))
        case AssetMatches():
            return leading(world.by_name(asset, condition.asset))
        case _:
            return lasting(one_pass, condition.children()[0], path, asset)


def _spans(condition: AutomationCondition) -> set[str]:
    """For how long it may be true: for a moment, for longer, or now the one, now the other."""
    parts = [_spans(one) for one in condition.children()]
    if isinstance(condition, Operand):
        return {"moment" if condition.kind.startswith(_MOMENTS) else "lasting"}
    if isinstance(condition, And):
        return {"moment"} if {"moment"} in parts else set[str]().union(*parts) or {"lasting"}
    if isinstance(condition, Or):
        return {"lasting"} if {"lasting"} in parts else set[str]().union(*parts) or {"moment"}
    if isinstance(condition, AllDepsMatch):  # of none there is nothing that could end
        return parts[0] | {"lasting"}
    if isinstance(condition, AnyDepsMatch | AssetMatches | WhenDepsReady | Debounce | Batch):
        return parts[0]
    return {"moment" if isinstance(condition, CronTickPassed | NewlyTrue) else "lasting"}


def awaited(condition: AutomationCondition) -> list[AutomationCondition]:
    """What a `since` in it waits for, where that may last only for a moment."""
    if isinstance(condition, Since):
        spans = _spans(condition.trigger)
        own = [condition.trigger] if "moment" in spans else []
        return own + (awaited(condition.trigger) if "lasting" in spans else [])
    if isinstance(condition, And | Or | WhenDepsReady):
        return [one for child in condition.children() for one in awaited(child)]
    return []
