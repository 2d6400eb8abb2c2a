"""The reference's look at one asset: its whole tree, over all partitions."""

from __future__ import annotations

from tests.automation.reference_facts import News, Path, Place, World, up_to
from tests.automation.reference_ready import Readiness
from tests.automation.reference_timed import timed

from freshet.definitions.condition import (
    AllDepsMatch,
    And,
    AnyDepsMatch,
    AssetMatches,
    AutomationCondition,
    Batch,
    CheckIs,
    ChecksMatch,
    CronTickPassed,
    Debounce,
    ExecutedWithTags,
    InLatestTimeWindow,
    LapseUnserved,
    NewlyTrue,
    Not,
    Operand,
    Or,
    Recently,
    Since,
    WhenDepsReady,
)

__all__ = ["Pass", "Path"]


class Pass:
    """One evaluation of one asset's whole tree."""

    def __init__(
        self,
        reference: World,
        asset: str,
        news: News,
        *,
        pulsing: bool,
        first: bool,
        ticked: set[str],
    ) -> None:
        self.reference = reference
        self.facts = reference.facts
        self.root = asset
        self.news = news if pulsing else News(news.now, news.at)
        self.now = news.now
        self.at = news.at
        self.being_asked = news.asked if pulsing else set[Place]()
        self.pulsing = pulsing
        self.first = first
        self.ticked = ticked if pulsing else set[str]()
        self.done: dict[tuple[str, Path], set[int]] = {}
        self.coming: dict[tuple[str, int], bool] = {}
        self.stuck: dict[tuple[str, int], bool] = {}

    def bits(self, condition: AutomationCondition, path: Path, which: str = "") -> set[int]:
        return self.reference.held.bits.setdefault((self.root, path, bare(condition), which), set())

    def numbers(self, condition: AutomationCondition, path: Path, which: str) -> dict[int, float]:
        return self.reference.held.numbers.setdefault((self.root, path, bare(condition), which), {})

    def risen(self, condition: AutomationCondition, true: set[int]) -> set[int]:
        before, marks = self.bits(condition, (), "root"), self.bits(condition, (), "marks")
        risen = true - before
        before.clear()
        before.update(true)
        live = self.reference.live(self.root)
        marks -= {p for p in live if (self.root, p) in self.news.handled}
        free = {p for p in marks & live if not self.reference.flying((self.root, p))}
        marks -= free
        for p in risen:
            place = (self.root, p)
            if place in self.facts.in_progress and place not in self.facts.queued and place not in self.facts.asked:
                marks.add(p)
        return risen | free

    def true(self, condition: AutomationCondition, path: Path) -> set[int]:
        """The live partitions of the scope's asset of which it is true."""
        key = (bare(condition), path)
        if key not in self.done:
            self.done[key] = self._true(condition, path)
        return set(self.done[key])

    def _true(self, condition: AutomationCondition, path: Path) -> set[int]:
        asset = path[-1] if path else self.root
        live = set(self.reference.live(asset))
        match condition:
            case Operand():
                return {p for p in live if self.operand(condition.kind, asset, p, path)}
            case And():
                parts = [self.true(part, path) for part in condition.operands]
                return live.intersection(*parts)
            case Or():
                return set[int]().union(*[self.true(part, path) for part in condition.operands])
            case Not():
                return live - self.true(condition.operand, path)
            case Since():
                trigger, reset = self.true(condition.trigger, path), self.true(condition.reset, path)
                latch = self.bits(condition, path)
                latch |= trigger
                latch -= reset
                return latch & live
            case NewlyTrue():
                value, before = self.true(condition.operand, path), self.bits(condition, path)
                risen = value - before
                before.clear()
                before.update(value)
                return risen
            case AnyDepsMatch() | AllDepsMatch():
                return self.deps_match(condition, path, asset)
            case AssetMatches():
                above = self.true(condition.operand, (*path, condition.asset))
                dep = self.reference.by_name(asset, condition.asset)
                return {p for p in live if above & self.reference.named(asset, dep, p)}
            case WhenDepsReady():
                return Readiness(self, condition, path, asset).true(self.true(condition.operand, path))
            case Recently() | Debounce() | Batch():
                return timed(self, condition, path, asset)
            case LapseUnserved():
                return self.lapse(condition, path, asset)
            case CronTickPassed():
                return live if str(condition) in self.ticked else set()
            case CheckIs() | ChecksMatch():
                return {p for p in live if self.reference.found(condition, asset, p)}
            case ExecutedWithTags():
                tagged = self.bits(condition, path)
                for p in live & {number for name, number in self.news.updated if name == asset}:
                    tags = self.news.tags[asset, p]
                    had = set(condition.keys) <= set(tags) and set(condition.values) <= set(tags.items())
                    (tagged.add if had else tagged.discard)(p)
                return tagged & live
            case InLatestTimeWindow():
                return {p for p in live if self.reference.is_latest(asset, p, condition.lookback)}
            case _:
                raise AssertionError(condition)

    def deps_match(self, condition: AnyDepsMatch | AllDepsMatch, path: Path, asset: str) -> set[int]:
        live, world = set(self.reference.live(asset)), self.reference
        some, every = set[int](), set(live)
        for dep in world.chosen(asset, condition.deps):
            above = self.true(condition.operand, (*path, dep.asset))
            having = {p for p in live if world.counts(asset, dep, p)}
            matched = {p for p in having if above & world.named(asset, dep, p)}
            some |= matched
            every -= having - matched
        return some if isinstance(condition, AnyDepsMatch) else every

    def operand(self, kind: str, asset: str, p: int, path: Path) -> bool:
        facts, news, place = self.facts, self.news, (asset, p)
        match kind:
            case "missing":
                return not self.reference.usable(place) if path else place not in facts.materialized
            case "in_progress":
                return self.reference.flying(place) if path else place in facts.in_progress
            case "execution_failed":
                return place in facts.failed
            case "newly_updated":
                return place in (news.arrived if path else news.updated)
            case "newly_requested":
                return place in news.requested
            case "newly_missing":
                return (place in news.added or (self.first and self.pulsing)) and place not in facts.materialized
            case "newly_handled":
                return place in news.handled
            case "will_be_requested":
                return bool(path) and self.shares(path) and place in news.asked
            case "freshness_passed":
                return self.reference.promised(asset, p) and not self.reference.marked(
                    asset, p, facts.lapsed | facts.warned
                )
            case "freshness_lapsed":
                return self.reference.marked(asset, p, facts.lapsed)
            case "freshness_warned":
                return self.reference.marked(asset, p, facts.warned)
            case "upstream_lapsed":
                return self.reference.below(asset, p, facts.lapsed)
            case "initial_evaluation":
                return self.first and self.pulsing
            case "code_version_changed":
                return asset in news.recoded
            case "data_version_changed":
                return place in (news.arrived_anew if path else news.changed)
            case _:
                raise AssertionError(kind)

    def shares(self, path: Path) -> bool:
        asset = self.root
        for upstream in path:
            if not any(dep.same and dep.asset == upstream for dep in self.reference.deps(asset)):
                return False
            asset = upstream
        return True

    def lapse(self, condition: LapseUnserved, path: Path, asset: str) -> set[int]:
        up, trying = self.bits(condition, path, "up"), self.bits(condition, path, "trying")
        tries, retry = self.numbers(condition, path, "tries"), self.numbers(condition, path, "retry")
        facts, news, live = self.facts, self.news, self.reference.live(asset)
        own = {p for p in live if self.reference.marked(asset, p, facts.lapsed)}
        for p in live:
            place = (asset, p)
            if place in news.started and p in own | up:
                trying.add(p)
            if place in news.updated:
                if p in trying or place in news.reported:
                    up.discard(p)
                trying.discard(p)
                tries.pop(p, None)
                retry.pop(p, None)
            if place in news.failed and p in trying:
                trying.discard(p)
                count = tries.get(p, 0)
                tries[p] = min(count + 1, condition.attempts)
                retry[p] = up_to(self.now + condition.delay * 2**count, condition.delay / 64)
            if place in news.canceled and p in trying | up | own:
                trying.discard(p)
                up.discard(p)
                tries[p] = condition.attempts
        begun = news.lapsed | (facts.lapsed if self.first and self.pulsing else set[Place]())
        for p in live:
            above = self.reference.below(asset, p, begun)
            if above or self.reference.marked(asset, p, news.lapsed):
                tries.pop(p, None)
                retry.pop(p, None)
            if above:
                up.add(p)
                trying.discard(p)
        open_ = (own | up) & live
        return {p for p in open_ if tries.get(p, 0) < condition.attempts and retry.get(p, 0) <= self.now}


def bare(condition: AutomationCondition) -> str:
    """The expression without its labels."""
    text = str(condition)
    times = [getattr(condition, name, None) for name in ("max_wait", "delay", "within", "quiet")]
    if any(times):
        text += repr(times)
    return text
