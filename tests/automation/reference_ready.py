"""The reference's `WhenDepsReady`, one partition at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.automation.reference_facts import up_to

from freshet.definitions.condition import (
    AllDepsMatch,
    AnyDepsMatch,
    AssetMatches,
    AutomationCondition,
    Selection,
    WhenDepsReady,
)

if TYPE_CHECKING:
    from tests.automation.reference_look import Pass, Path

__all__ = ["Readiness", "reacts"]


def looking(condition: AutomationCondition) -> list[AnyDepsMatch | AllDepsMatch]:
    """All that look at dependencies."""
    own = [condition] if isinstance(condition, AnyDepsMatch | AllDepsMatch) else []
    return own + [one for child in condition.children() for one in looking(child)]


def names_in(condition: AutomationCondition) -> set[str]:
    """The assets that it names."""
    own = {condition.asset} if isinstance(condition, AssetMatches) else set[str]()
    return own.union(*map(names_in, condition.children()))


def reacts(condition: AutomationCondition) -> bool:
    """Whether an update above can make it true."""
    if isinstance(condition, AnyDepsMatch | AllDepsMatch | AssetMatches):
        return "newly_updated" in str(condition) or "data_version_changed" in str(condition)
    return any(map(reacts, condition.children()))


class Readiness:
    """`WhenDepsReady`, one partition at a time."""

    def __init__(self, one_pass: Pass, condition: WhenDepsReady, path: Path, asset: str) -> None:
        self.one_pass = one_pass
        self.reference = one_pass.reference
        self.facts = one_pass.facts
        self.condition = condition
        self.path = path
        self.asset = asset

    def true(self, asked_for: set[int]) -> set[int]:
        now, max_wait = self.one_pass.now, self.condition.max_wait
        if max_wait is None:
            return {p for p in asked_for if not self.hard(p) and not self.soft(p)}
        wait = self.one_pass.numbers(self.condition, self.path, "wait")
        for p in set(wait) - asked_for:
            del wait[p]
        unquiet = set[int]() if self.condition.after_lapsed else self.unquiet(asked_for, max_wait)
        found: set[int] = set()
        for p in asked_for:
            if self.hard(p):
                continue
            if self.soft(p) or p in unquiet:
                wait.setdefault(p, up_to(now + max_wait, max_wait / 64))
                if wait[p] > now:
                    continue
            found.add(p)
        return found

    def hard(self, p: int) -> bool:
        for dep in self.reference.chosen(self.asset, self.condition.deps):
            if not self.reference.counts(self.asset, dep, p):
                continue
            named = self.reference.named(self.asset, dep, p)
            there = {u for u in named if self.reference.usable((dep.asset, u))}
            if not there and not (dep.same and (dep.asset, p) in self.one_pass.being_asked):
                return True
            if not dep.single:
                for u in named - there:
                    if not self.coming(dep.asset, u) and not self.stuck(dep.asset, u):
                        return True
        return False

    def soft(self, p: int) -> bool:
        for dep in self.reference.chosen(self.asset, self.condition.deps):
            for u in self.reference.named(self.asset, dep, p):
                place = (dep.asset, u)
                if dep.same and place in self.one_pass.being_asked:
                    continue
                if self.reference.flying(place):
                    return True
                if self.coming(*place):
                    return True
        return self.condition.after_lapsed and self.behind_refresh(p)

    def behind_refresh(self, p: int) -> bool:
        asked = self.one_pass.being_asked
        shares = any(dep.same and (dep.asset, p) in asked for dep in self.reference.deps(self.asset))
        for source in self.reference.sources(self.asset):
            moving = {place for place in self.facts.in_progress | self.facts.asked if place[0] == source}
            if (source, 0) in self.facts.lapsed:
                held = bool(moving)
            else:
                held = self.reference.leads(self.asset, p, {place for place in moving & self.facts.lapsed if place[1]})
            same_set = self.reference.set_of(source) == self.reference.set_of(self.asset)
            if held and not (shares and same_set and (source, p) in asked):
                return True
        return False

    def coming(self, asset: str, p: int) -> bool:
        """It is going to be made without anyone asking, or is being made."""
        known = self.one_pass.coming
        if (asset, p) not in known:
            known[asset, p] = self.reference.flying((asset, p)) or self._below_motion(asset, p)
        return known[asset, p]

    def _below_motion(self, asset: str, p: int) -> bool:
        automation = self.reference.condition(asset)
        if automation is None or ((asset, p) in self.facts.materialized and not reacts(automation)):
            return False
        followed, names = [one.deps for one in looking(automation)], names_in(automation) - {asset}
        if not followed and not names_in(automation):
            followed = [Selection()]
        deps = [dep for one in followed for dep in self.reference.chosen(asset, one)]
        deps += [self.reference.by_name(asset, name) for name in names]
        return any(self.coming(dep.asset, u) for dep in deps for u in self.reference.named(asset, dep, p))

    def stuck(self, asset: str, p: int) -> bool:
        """It failed for good, is held by its blocking checks, or is missing because something above it is so."""
        known, place = self.one_pass.stuck, (asset, p)
        if place not in known:
            known[place] = not self.reference.flying(place) and (
                place in self.facts.failed
                or place in self.facts.held
                or (place not in self.facts.materialized and self._below_failure(asset, p))
            )
        return known[place]

    def _below_failure(self, asset: str, p: int) -> bool:
        for dep in self.reference.deps(asset):
            named = self.reference.named(asset, dep, p)
            if not dep.single and any(self.reference.usable((dep.asset, u)) for u in named):
                continue
            if any(self.stuck(dep.asset, u) for u in named):
                return True
        return False

    def unquiet(self, asked_for: set[int], max_wait: float) -> set[int]:
        if all(dep.single for dep in self.reference.deps(self.asset)):
            return set()
        several = [dep for dep in self.reference.chosen(self.asset, self.condition.deps) if not dep.single]
        now, news = self.one_pass.now, self.one_pass.news
        began = self.one_pass.numbers(self.condition, self.path, "began")
        level = self.one_pass.numbers(self.condition, self.path, "level")
        quiet = self.one_pass.numbers(self.condition, self.path, "quiet")
        live = self.reference.live(self.asset)
        recent = {p for p in live if p in began and now <= began[p] + 2 * max_wait}
        for p in live:
            if (self.asset, p) in news.started:
                level[p] = min(level[p] + 1, 4) if p in recent else 0
                began[p] = up_to(now, max_wait / 16)
        for p in set(quiet) - asked_for:
            del quiet[p]
        for p in recent & asked_for:
            named = {(dep.asset, u) for dep in several for u in self.reference.named(self.asset, dep, p)}
            if named & news.arrived:
                time = max_wait / 64 * 2 ** level[p]
                quiet[p] = up_to(now + time, time / 4)
        return {p for p in asked_for if quiet.get(p, 0) > now}
