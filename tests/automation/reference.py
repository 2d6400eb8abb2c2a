"""The meaning of conditions, as slowly and plainly as possible: sets of partitions, everything from scratch.

Written from the documentation of the conditions alone; it shares no code with the evaluation under test. What a
mapping means, and what it means where it names one partition or several, stands in `reference_facts.World`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tests.automation.reference_facts import News, Path, Place, World
from tests.automation.reference_look import Pass, bare
from tests.automation.reference_timed import INSTANTS

from freshet.definitions.condition import (
    AllDepsMatch,
    And,
    AnyDepsMatch,
    AssetMatches,
    AutomationCondition,
    CronTickPassed,
    Not,
    Operand,
    Or,
)
from freshet.store.records import Event

__all__ = ["Reference", "Wave"]

DEADLINES = ("wait", "quiet", "retry", "next")
Wave = tuple[tuple[str, ...], str | None, int]


class Reference(World):
    """All conditions."""

    def evaluate(self, events: Sequence[Event], now: float) -> set[Wave]:
        """Instants that passed before the transaction come first; later ones in an evaluation without events."""
        until = events[0].at if events else now
        ticked = self._ticked(until)
        if not events:
            return self._looks(News(now, now), ticked)
        early = bool(ticked) or any(when <= until for when in self._instants(live=True))
        before = self._looks(News(now, until), ticked) if early else set[Wave]()
        news = News(now, until)
        broken = {event.run_id for event in events if event.type == "failed"}
        for event in events:
            self.apply(event, news, broken)
        return before | self._looks(news, {})

    def _looks(self, news: News, ticked: dict[str, set[str]]) -> set[Wave]:
        for asset in self.definitions.order:
            condition = self.condition(asset)
            if condition is not None:
                self._look(asset, condition, news, ticked.get(asset, set()))
        return self._waves(news.asked)

    def _ticked(self, until: float) -> dict[str, set[str]]:
        """The cron texts of which an instant has come, by asset; the next one is waited for."""
        found: dict[str, set[str]] = {}
        for (asset, _, text, which), values in self.held.numbers.items():
            if which == "next" and values and values[0] <= until:
                found.setdefault(asset, set()).add(text)
                values[0] = _next(text, until)
        return found

    def _instants(self, *, live: bool = False) -> set[float]:
        """What is held against the time of transactions; `live`: of what is there."""
        return {
            when
            for (asset, path, _, which), values in self.held.numbers.items()
            if which in INSTANTS
            for partition, when in values.items()
            if not live or partition in self.live(path[-1] if path else asset)
        }

    def moments(self, now: float) -> tuple[set[float], set[float]]:
        """What anything waits for; and what it must be looked at for: what is asked for already has no need of it."""
        every, needed = set[float](), set[float]()
        for (asset, path, _, which), values in self.held.numbers.items():
            for partition, when in values.items() if which in DEADLINES else ():
                if when > now or which == "next":
                    every.add(when)
                    if path or not self.flying((asset, partition)):
                        needed.add(when)
        return every | self._instants(), needed | self._instants(live=True)

    # --- an edit ----------------------------------------------------------------------------------------------

    def prune(self) -> None:
        """What conditions still ask for, of whom they ask it, keeps what is remembered."""
        held = self.held
        held.bits = {key: value for key, value in held.bits.items() if self._wanted(*key)}
        held.numbers = {key: value for key, value in held.numbers.items() if self._wanted(*key)}
        held.seen = {(asset, text) for asset, text in held.seen if self._wanted(asset, (), text, "root")}

    def _wanted(self, asset: str, path: Path, text: str, which: str) -> bool:
        condition = self.condition(asset) if asset in self.definitions.asset else None
        if condition is None:
            return False
        if which in ("root", "marks"):
            return text == bare(condition)
        if which == "next":
            return text in _crons(condition)
        nodes, name = within(condition), asset
        for above in path:
            nodes = [one for node in nodes if self._sees(node, name, above) for one in within(node.children()[0])]
            name = above
        return text in map(bare, nodes)

    def _sees(self, node: AutomationCondition, asset: str, above: str) -> bool:
        if isinstance(node, AssetMatches):
            return node.asset == above
        if not isinstance(node, AnyDepsMatch | AllDepsMatch):
            return False
        return any(dep.asset == above for dep in self.chosen(asset, node.deps))

    # --- a look -----------------------------------------------------------------------------------------------

    def _look(self, asset: str, condition: AutomationCondition, news: News, ticked: set[str]) -> None:
        first = (asset, bare(condition)) not in self.held.seen
        asked: set[int] = set()
        for number in range(8):
            before = self._remembered(asset)
            one_pass = Pass(self, asset, news, pulsing=number == 0, first=first, ticked=ticked)
            kept, rising = set[int](), set[int]()
            for part in alternatives(condition):
                (kept if guarded(part) else rising).update(one_pass.true(part, ()))
            risen = kept if guarded(condition) else kept | one_pass.risen(condition, rising)
            fresh = {p for p in risen if not self.flying((asset, p))}
            asked |= fresh
            self.facts.asked |= {(asset, p) for p in fresh}
            if number and before == self._remembered(asset):
                break
        news.asked |= {(asset, p) for p in asked}
        self.held.seen.add((asset, bare(condition)))
        for text in _crons(condition) if first else ():
            self.held.numbers.setdefault((asset, (), text, "next"), {}).setdefault(0, _next(text, news.now))

    def _remembered(self, asset: str) -> tuple[object, object]:
        bits = {key: set(value) for key, value in self.held.bits.items() if key[0] == asset and value}
        numbers = {key: dict(value) for key, value in self.held.numbers.items() if key[0] == asset and value}
        return bits, numbers

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
        pairs = ((one, other), (other, one))
        return any(dep.same and dep.asset == above for above, below in pairs for dep in self.deps(below))


def within(condition: AutomationCondition) -> list[AutomationCondition]:
    """It and its parts, as far as they are about the same asset."""
    others = isinstance(condition, AnyDepsMatch | AllDepsMatch | AssetMatches)
    return [condition, *(one for part in condition.children() if not others for one in within(part))]


def _crons(condition: AutomationCondition) -> set[str]:
    own = {str(condition)} if isinstance(condition, CronTickPassed) else set[str]()
    return own.union(*map(_crons, condition.children()))


def _next(text: str, after: float) -> float:
    """Of `*/N * * * *`, where N divides 60: the next multiple of N minutes."""
    (minutes,) = re.findall(r"\*/(\d+) \* \* \* \*", text)
    return (after // (60 * int(minutes)) + 1) * 60 * int(minutes)


def alternatives(condition: AutomationCondition) -> list[AutomationCondition]:
    """What it is the `|` of."""
    if not isinstance(condition, Or):
        return [condition]
    return [one for part in condition.operands for one in alternatives(part)]


def guarded(condition: AutomationCondition) -> bool:
    """True only of what is not in progress."""
    if isinstance(condition, And):
        return any(
            guarded(part)
            or (isinstance(part, Not) and isinstance(part.operand, Operand) and part.operand.kind == "in_progress")
            for part in condition.operands
        )
    return isinstance(condition, Or) and all(guarded(part) for part in condition.operands)
