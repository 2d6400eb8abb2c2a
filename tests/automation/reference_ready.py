"""The reference's `WhenDepsReady`, one partition at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.automation.reference_facts import up_to

from freshet.definitions.condition import WhenDepsReady

if TYPE_CHECKING:
    from tests.automation.reference_look import Pass, Path

__all__ = ["Readiness"]


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
        for upstream, kind in self.reference.deps(self.asset):
            named = self.reference.mapped(upstream, kind, p)
            there = {u for u in named if (upstream, u) in self.facts.materialized}
            if kind == "same":
                if not there and (upstream, p) not in self.one_pass.being_asked:
                    return True
            elif not there:
                return True
            elif kind == "all":
                for u in named - there:
                    if not self.coming(upstream, u) and not self.stuck(upstream, u):
                        return True
        return False

    def soft(self, p: int) -> bool:
        for upstream, kind in self.reference.deps(self.asset):
            for u in self.reference.mapped(upstream, kind, p):
                place = (upstream, u)
                if kind == "same" and place in self.one_pass.being_asked:
                    continue
                if self.reference.flying(place):
                    return True
                if kind == "all" and place not in self.facts.materialized and self.coming(upstream, u):
                    return True
        return self.condition.after_lapsed and self.behind_refresh(p)

    def behind_refresh(self, p: int) -> bool:
        asked = self.one_pass.being_asked
        shares = any(kind == "same" and (upstream, p) in asked for upstream, kind in self.reference.deps(self.asset))
        for source in self.reference.sources(self.asset) & self.facts.lapsed:
            moving = {u for a, u in self.facts.in_progress | self.facts.asked if a == source}
            same_set = self.reference.set_of(source) == self.reference.set_of(self.asset)
            if moving and not (shares and same_set and (source, p) in asked):
                return True
        return False

    def coming(self, asset: str, p: int) -> bool:
        """A missing partition will be made without anyone asking."""
        if self.reference.flying((asset, p)):
            return True
        if self.reference.definitions.asset[asset].automation is None:
            return False
        for upstream, kind in self.reference.deps(asset):
            for u in self.reference.mapped(upstream, kind, p):
                if self.reference.flying((upstream, u)):
                    return True
                if (upstream, u) not in self.facts.materialized and self.coming(upstream, u):
                    return True
        return False

    def stuck(self, asset: str, p: int) -> bool:
        """It failed for good, or is missing because something above it did."""
        if self.reference.flying((asset, p)):
            return False
        if (asset, p) in self.facts.failed:
            return True
        if (asset, p) in self.facts.materialized:
            return False
        for upstream, kind in self.reference.deps(asset):
            named = self.reference.mapped(upstream, kind, p)
            if kind == "all" and any((upstream, u) in self.facts.materialized for u in named):
                continue
            if any(self.stuck(upstream, u) for u in named):
                return True
        return False

    def unquiet(self, asked_for: set[int], max_wait: float) -> set[int]:
        several = [upstream for upstream, kind in self.reference.deps(self.asset) if kind == "all"]
        if not several:
            return set()
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
        if any(upstream in several for upstream, _ in news.updated):
            for p in recent & asked_for:
                time = max_wait / 64 * 2 ** level[p]
                quiet[p] = up_to(now + time, time / 4)
        return {p for p in asked_for if quiet.get(p, 0) > now}
