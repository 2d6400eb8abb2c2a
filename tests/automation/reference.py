"""The meaning of conditions, as slowly and plainly as possible: sets of partitions, everything from scratch.

Written from the documentation of the conditions alone; it shares no code with the evaluation under test.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from freshet.definitions.condition import (
    AllDepsMatch,
    And,
    AnyDepsMatch,
    AutomationCondition,
    LapseUnserved,
    NewlyTrue,
    Not,
    Operand,
    Or,
    Since,
    WhenDepsReady,
)
from freshet.definitions.graph import Definitions
from freshet.store.records import Event

Place = tuple[str, int]
Wave = tuple[tuple[str, ...], str | None, int]
Path = tuple[str, ...]


def up_to(value: float, grain: float) -> float:
    return math.ceil(value / grain) * grain


@dataclass
class Facts:
    materialized: set[Place] = field(default_factory=set[Place])
    failed: set[Place] = field(default_factory=set[Place])
    in_progress: set[Place] = field(default_factory=set[Place])
    queued: set[Place] = field(default_factory=set[Place])
    asked: set[Place] = field(default_factory=set[Place])
    lapsed: set[str] = field(default_factory=set[str])
    warned: set[str] = field(default_factory=set[str])
    live: dict[str, set[int]] = field(default_factory=dict[str, set[int]])


@dataclass
class News:
    """What one transaction did."""

    now: float
    updated: set[Place] = field(default_factory=set[Place])
    reported: set[Place] = field(default_factory=set[Place])
    requested: set[Place] = field(default_factory=set[Place])
    started: set[Place] = field(default_factory=set[Place])
    failed: set[Place] = field(default_factory=set[Place])
    canceled: set[Place] = field(default_factory=set[Place])
    handled: set[Place] = field(default_factory=set[Place])
    added: set[Place] = field(default_factory=set[Place])
    lapsed: set[str] = field(default_factory=set[str])
    asked: set[Place] = field(default_factory=set[Place])


@dataclass
class Held:
    """All memory. Keys: (asset with the condition, path of dependencies, expression, which)."""

    bits: dict[tuple[str, Path, str, str], set[int]] = field(default_factory=dict[tuple[str, Path, str, str], set[int]])
    numbers: dict[tuple[str, Path, str, str], dict[int, float]] = field(
        default_factory=dict[tuple[str, Path, str, str], dict[int, float]]
    )
    seen: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])


class Reference:
    def __init__(self, definitions: Definitions, live: dict[str, set[int]]) -> None:
        self.definitions = definitions
        self.facts = Facts(live={name: set(numbers) for name, numbers in live.items()})
        self.held = Held()

    # --- facts ------------------------------------------------------------------------------------------------

    def set_of(self, asset: str) -> str | None:
        partitions = self.definitions.asset[asset].partitions
        return None if partitions is None else partitions.name

    def live(self, asset: str) -> set[int]:
        name = self.set_of(asset)
        return {0} if name is None else self.facts.live.get(name, set())

    def newest(self, asset: str) -> set[int]:
        return {max(self.live(asset))} if self.live(asset) else set()

    def flying(self, place: Place) -> bool:
        return place in self.facts.in_progress or place in self.facts.asked

    def deps(self, asset: str) -> Iterator[tuple[str, str]]:
        """(upstream, kind): same, one, last or all."""
        spec = self.definitions.asset[asset]
        for dep in spec.deps:
            kind: str = self.definitions.mapping(spec, dep).kind
            if kind == "identity":
                kind = "same" if self.set_of(dep.asset) == self.set_of(asset) else "one"
            yield dep.asset, kind

    def mapped(self, upstream: str, kind: str, partition: int) -> set[int]:
        if kind == "same":
            return {partition} & self.live(upstream)
        if kind == "one":
            return {0}
        return self.newest(upstream) if kind == "last" else set(self.live(upstream))

    def sources(self, asset: str) -> set[str]:
        found: set[str] = set()
        for upstream, _ in self.deps(asset):
            if self.definitions.asset[upstream].freshness is not None:
                found.add(upstream)
            else:
                found |= self.sources(upstream)
        return found

    def restarted(self) -> None:
        """Whatever ran is queued again."""
        self.facts.queued = set(self.facts.in_progress)
        self.facts.asked = set()

    # --- a transaction ----------------------------------------------------------------------------------------

    def evaluate(self, events: Sequence[Event], now: float) -> set[Wave]:
        news = News(now)
        broken = {event.run_id for event in events if event.type == "failed"}
        for event in events:
            self._apply(event, news, broken)
        for asset in self.definitions.order:
            condition = self.definitions.asset[asset].automation
            if condition is not None:
                self._look(asset, condition, news)
        return self._waves(news.asked)

    def _apply(self, event: Event, news: News, broken: set[int | None]) -> None:
        facts, partition = self.facts, event.partition or 0
        if event.set is not None and event.type in ("partition_added", "partition_deleted"):
            live = facts.live.setdefault(event.set, set())
            members = [spec.name for spec in self.definitions.assets if self.set_of(spec.name) == event.set]
            if event.type == "partition_added":
                live.add(partition)
                news.added |= {(asset, partition) for asset in members}
            else:
                live.discard(partition)
                for asset in members:
                    facts.materialized.discard((asset, partition))
                    facts.failed.discard((asset, partition))
                    self._forget(asset, partition)
            return
        if event.asset is None:
            return
        place = (event.asset, partition)
        if event.type.startswith("freshness_"):
            facts.lapsed.discard(event.asset)
            facts.warned.discard(event.asset)
            if event.type == "freshness_lapsed":
                facts.lapsed.add(event.asset)
                news.lapsed.add(event.asset)
            elif event.type == "freshness_warned":
                facts.warned.add(event.asset)
            return
        if event.type == "requested" or (event.type == "started" and place not in facts.in_progress):
            news.requested.add(place)
        if event.type in ("requested", "started"):
            facts.asked.discard(place)
            facts.in_progress.add(place)
            if event.type == "requested":
                facts.queued.add(place)
            else:
                facts.queued.discard(place)
                news.started.add(place)
                news.handled.add(place)
            return
        alive = partition in self.live(event.asset)
        if event.type == "materialized" and alive:
            facts.materialized.add(place)
            facts.failed.discard(place)
            facts.lapsed.discard(event.asset)
            facts.warned.discard(event.asset)
            news.updated.add(place)
            if event.run_id is None:
                news.reported.add(place)
                news.handled.add(place)
        elif event.type == "failed" and alive:
            facts.failed.add(place)
            news.failed.add(place)
        elif event.type == "released":
            if event.run_id not in broken:
                news.canceled.add(place)
            if event.idle and place in facts.queued:
                news.handled.add(place)
        if event.idle:
            facts.in_progress.discard(place)
            facts.queued.discard(place)

    def _forget(self, asset: str, partition: int) -> None:
        for (owner, path, _, _), bits in self.held.bits.items():
            if (path[-1] if path else owner) == asset:
                bits.discard(partition)
        for (owner, path, _, _), numbers in self.held.numbers.items():
            if (path[-1] if path else owner) == asset:
                numbers.pop(partition, None)

    # --- a look -----------------------------------------------------------------------------------------------

    def _look(self, asset: str, condition: AutomationCondition, news: News) -> None:
        first = (asset, repr(condition)) not in self.held.seen
        asked: set[int] = set()
        for number in range(8):
            before = copy.deepcopy((self.held.bits, self.held.numbers))
            one_pass = Pass(self, asset, news, pulsing=number == 0, first=first, asked=asked)
            true = one_pass.true(condition, ())
            risen = true if guarded(condition) else one_pass.risen(condition, true)
            fresh = {p for p in risen if not self.flying((asset, p))}
            asked |= fresh
            self.facts.asked |= {(asset, p) for p in fresh}
            if number and _same(before, (self.held.bits, self.held.numbers)):
                break
        news.asked |= {(asset, p) for p in asked}
        self.held.seen.add((asset, repr(condition)))

    # --- runs -------------------------------------------------------------------------------------------------

    def _waves(self, asked: Iterable[Place]) -> set[Wave]:
        places = set(asked)
        waves: set[Wave] = set()
        while places:
            group, stack = set[Place](), [places.pop()]
            while stack:
                asset, partition = place = stack.pop()
                group.add(place)
                for other in list(places):
                    if other[1] == partition and self._adjacent(asset, other[0]):
                        places.discard(other)
                        stack.append(other)
            names = sorted({name for name, _ in group}, key=self.definitions.position.__getitem__)
            partition = next(iter(group))[1]
            waves.add((tuple(names), self.set_of(names[0]), partition))
        return waves

    def _adjacent(self, one: str, other: str) -> bool:
        return (one, "same") in self.deps(other) or (other, "same") in self.deps(one)


def _same(before: tuple[object, object], after: tuple[object, object]) -> bool:
    def filled(memory: object) -> dict[object, object]:
        assert isinstance(memory, dict)
        return {key: value for key, value in memory.items() if value}  # pyright: ignore[reportUnknownVariableType]

    return filled(before[0]) == filled(after[0]) and filled(before[1]) == filled(after[1])


def guarded(condition: AutomationCondition) -> bool:
    """True only of what is not in progress."""
    if isinstance(condition, And):
        return any(
            guarded(part)
            or (isinstance(part, Not) and isinstance(part.operand, Operand) and part.operand.kind == "in_progress")
            for part in condition.operands
        )
    return isinstance(condition, Or) and all(guarded(part) for part in condition.operands)


class Pass:
    """One evaluation of one asset's whole tree."""

    def __init__(
        self, reference: Reference, asset: str, news: News, *, pulsing: bool, first: bool, asked: set[int]
    ) -> None:
        self.reference = reference
        self.facts = reference.facts
        self.root = asset
        self.news = news if pulsing else News(news.now)
        self.now = news.now
        self.being_asked = news.asked
        self.pulsing = pulsing
        self.first = first
        self.asked = set(asked)
        self.done: dict[tuple[str, Path], set[int]] = {}

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
                found: list[set[int]] = []
                for upstream, kind in self.reference.deps(asset):
                    above = self.true(condition.operand, (*path, upstream))
                    found.append({p for p in live if above & self.reference.mapped(upstream, kind, p)})
                if isinstance(condition, AnyDepsMatch):
                    return set[int]().union(*found)
                return live.intersection(*found)
            case WhenDepsReady():
                return Readiness(self, condition, path, asset).true(self.true(condition.operand, path))
            case LapseUnserved():
                return self.lapse(condition, path, asset)
            case _:
                raise AssertionError(condition)

    def operand(self, kind: str, asset: str, p: int, path: Path) -> bool:
        facts, news, place = self.facts, self.news, (asset, p)
        marked = p in self.reference.newest(asset)
        match kind:
            case "missing":
                return place not in facts.materialized
            case "in_progress":
                return self.reference.flying(place) and (bool(path) or p not in self.asked)
            case "execution_failed":
                return place in facts.failed
            case "newly_updated":
                return place in news.updated
            case "newly_requested":
                return place in news.requested
            case "newly_missing":
                return (place in news.added or (self.first and self.pulsing)) and place not in facts.materialized
            case "newly_handled":
                return place in news.handled
            case "will_be_requested":
                return bool(path) and self.shares(path) and place in news.asked
            case "freshness_lapsed":
                return asset in facts.lapsed and marked
            case "freshness_warned":
                return asset in facts.warned and marked
            case "upstream_lapsed":
                return marked and bool(self.reference.sources(asset) & facts.lapsed)
            case "initial_evaluation":
                return self.first and self.pulsing
            case _:
                raise AssertionError(kind)

    def shares(self, path: Path) -> bool:
        asset = self.root
        for upstream in path:
            if (upstream, "same") not in self.reference.deps(asset):
                return False
            asset = upstream
        return True

    def lapse(self, condition: LapseUnserved, path: Path, asset: str) -> set[int]:
        up, trying = self.bits(condition, path, "up"), self.bits(condition, path, "trying")
        tries, retry = self.numbers(condition, path, "tries"), self.numbers(condition, path, "retry")
        facts, news, live = self.facts, self.news, self.reference.live(asset)
        own = self.reference.newest(asset) if asset in facts.lapsed else set[int]()
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
        sources = self.reference.sources(asset)
        above = bool(sources & news.lapsed) or (self.first and self.pulsing and bool(sources & facts.lapsed))
        if above or asset in news.lapsed:
            for p in self.reference.newest(asset):
                tries.pop(p, None)
                retry.pop(p, None)
                if above:
                    up.add(p)
                    trying.discard(p)
        open_ = (own | up) & live
        return {p for p in open_ if tries.get(p, 0) < condition.attempts and retry.get(p, 0) <= self.now}


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


def bare(condition: AutomationCondition) -> str:
    """The expression without its labels."""
    text = str(condition)
    if isinstance(condition, (WhenDepsReady, LapseUnserved)):
        text += repr((getattr(condition, "max_wait", None), getattr(condition, "delay", None)))
    return text
