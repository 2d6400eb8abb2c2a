"""The reference's facts and memory: sets of partitions, and what one transaction does to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.automation.plant_sets import dynamic_key
from tests.automation.reference_keys import depends, unnamed

from freshet.definitions.condition import (
    And,
    AnyDownstreamConditions,
    AutomationCondition,
    CheckIs,
    ChecksMatch,
    Not,
    Or,
    Selection,
)
from freshet.definitions.graph import Definitions
from freshet.definitions.mapping import Identity, default_mapping, gives_one
from freshet.definitions.mapping import Mapping as PartitionMapping
from freshet.definitions.partitions import (
    DynamicPartitions,
    MultiPartitions,
    PartitionsSpec,
    StaticPartitions,
    TimePartitions,
)
from freshet.store.records import Event, SetState

__all__ = ["Dependency", "Facts", "Held", "News", "Path", "Place", "World", "up_to"]

Place = tuple[str, int]
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
    held: set[Place] = field(default_factory=set[Place])
    results: dict[tuple[str, int, str], bool] = field(default_factory=dict[tuple[str, int, str], bool])
    lapsed: set[Place] = field(default_factory=set[Place])
    warned: set[Place] = field(default_factory=set[Place])
    live: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    added_by: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])


@dataclass
class News:
    """What one transaction did. `at`: when it was committed."""

    now: float
    at: float = 0.0
    updated: set[Place] = field(default_factory=set[Place])
    changed: set[Place] = field(default_factory=set[Place])
    withheld: set[Place] = field(default_factory=set[Place])
    cleared: set[Place] = field(default_factory=set[Place])
    cleared_anew: set[Place] = field(default_factory=set[Place])
    recoded: set[str] = field(default_factory=set[str])
    reported: set[Place] = field(default_factory=set[Place])
    requested: set[Place] = field(default_factory=set[Place])
    started: set[Place] = field(default_factory=set[Place])
    failed: set[Place] = field(default_factory=set[Place])
    canceled: set[Place] = field(default_factory=set[Place])
    handled: set[Place] = field(default_factory=set[Place])
    added: set[Place] = field(default_factory=set[Place])
    lapsed: set[Place] = field(default_factory=set[Place])
    asked: set[Place] = field(default_factory=set[Place])
    tags: dict[Place, dict[str, str]] = field(default_factory=dict[Place, dict[str, str]])

    @property
    def arrived(self) -> set[Place]:
        """What those below hear of."""
        return (self.updated - self.withheld) | self.cleared

    @property
    def arrived_anew(self) -> set[Place]:
        """Of that, what they do not know."""
        return (self.changed - self.withheld) | self.cleared_anew


@dataclass
class Held:
    """All memory. Keys: (asset with the condition, path of dependencies, expression, which)."""

    bits: dict[tuple[str, Path, str, str], set[int]] = field(default_factory=dict[tuple[str, Path, str, str], set[int]])
    numbers: dict[tuple[str, Path, str, str], dict[int, float]] = field(
        default_factory=dict[tuple[str, Path, str, str], dict[int, float]]
    )
    seen: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def copy(self) -> Held:
        """Whatever becomes of this one."""
        bits = {key: set(value) for key, value in self.bits.items() if value}
        return Held(bits, {key: dict(value) for key, value in self.numbers.items() if value}, set(self.seen))


@dataclass(frozen=True)
class Dependency:
    """On `asset`. `same`: the same partition of the same set, so that one run can hold both. `single`: each partition
    depends on one of the upstream, rather than on several."""

    asset: str
    mapping: PartitionMapping
    same: bool
    single: bool


class World:
    """Facts, memory, and which partitions there are.

    A dependency that names one upstream partition (`single`) holds until that one is materialized, or asked for in this
    very evaluation along equal partitions; also where the one that it names is not live. One that names several holds
    while none of them is materialized, and while one was never tried, is on no way and not below a failure; one that
    failed is left out. A key that a `Static` names nothing for does not have that dependency at all: nothing holds it,
    and it counts neither for nor against `any_deps_match` and `all_deps_match`. The newest partition is the last key of
    a static list, the dynamic key that was added last, otherwise the highest number.
    """

    def __init__(self, definitions: Definitions, states: Mapping[str, SetState]) -> None:
        self.definitions = definitions
        self.facts = Facts(live={name: set(state.live) for name, state in states.items()})
        self.held = Held()
        self._static = {name: {number: key for key, number in state.keys.items()} for name, state in states.items()}
        self._combined: dict[str, dict[int, str]] = {}
        self._named: dict[tuple[str, str, int], set[int]] = {}
        self._gone: Mapping[str, set[int]] = {}
        self._gone_until = 0
        self._dependencies = {spec.name: self._deps(spec.name) for spec in definitions.assets}

    def redefine(self, definitions: Definitions) -> None:
        """Others over the same sets."""
        self.definitions = definitions
        self._named.clear()
        self._dependencies = {spec.name: self._deps(spec.name) for spec in definitions.assets}

    # --- questions ------------------------------------------------------------------------------------------------

    def set_of(self, asset: str) -> str | None:
        partitions = self.definitions.asset[asset].partitions
        return None if partitions is None else partitions.name

    def live(self, asset: str) -> set[int]:
        name = self.set_of(asset)
        return {0} if name is None else self.facts.live.get(name, set())

    def newest(self, asset: str) -> set[int]:
        spec = self.definitions.asset[asset].partitions
        return {0} if spec is None else self._newest(spec)

    def _newest(self, spec: PartitionsSpec) -> set[int]:
        live = self.facts.live.get(spec.name, set())
        if isinstance(spec, StaticPartitions):
            return {number for number in live if self.key(spec, number) == spec.keys[-1]}
        if isinstance(spec, DynamicPartitions):
            added = self.facts.added_by.get(spec.name, {})
            return {max(live, key=lambda number: (added.get(number, 0), number))} if live else set()
        return {max(live)} if live else set()

    def _newest_key(self, spec: PartitionsSpec) -> str | None:
        return next((self.key(spec, number) for number in self._newest(spec)), None)

    def key(self, spec: PartitionsSpec, number: int) -> str:
        match spec:
            case TimePartitions():
                return spec.key(number)
            case StaticPartitions():
                return self._static[spec.name][number]
            case MultiPartitions():
                return self._combined[spec.name][number]
            case _:
                return dynamic_key(number)

    def flying(self, place: Place) -> bool:
        return place in self.facts.in_progress or place in self.facts.asked

    def deps(self, asset: str) -> list[Dependency]:
        return self._dependencies[asset]

    def by_name(self, asset: str, name: str) -> Dependency:
        """Of an asset that a condition names: the dependency, or as one without a mapping would be."""
        known = next((dep for dep in self.deps(asset) if dep.asset == name), None)
        if known is not None:
            return known
        mapping = default_mapping(*(self.definitions.asset[one].partitions for one in (name, asset)))
        return Dependency(name, mapping, same=False, single=False)

    def chosen(self, asset: str, selection: Selection) -> list[Dependency]:
        """Those that a condition looks at."""

        def labels(name: str) -> set[str]:
            spec = self.definitions.asset[name]
            tags = {f"tag:{key}" for key in spec.tags} | {f"tag:{key}={value}" for key, value in spec.tags.items()}
            return {name, f"group:{spec.group}"} | tags

        return [
            dep
            for dep in self.deps(asset)
            if (selection.allow is None or labels(dep.asset) & set(selection.allow))
            and not labels(dep.asset) & set(selection.ignore)
        ]

    def condition(self, asset: str) -> AutomationCondition | None:
        """`any_downstream_conditions` is any of the conditions next below, or of those below that, where they say the
        same."""
        written = self.definitions.asset[asset].automation
        if written is None or "any_downstream_conditions" not in str(written):
            return written
        return _in_place(written, Or(tuple(self._below(asset))))

    def _below(self, asset: str) -> list[AutomationCondition]:
        found = list[AutomationCondition]()
        for name in self.definitions.downstream[asset]:
            condition = self.definitions.asset[name].automation
            if condition is not None and "any_downstream_conditions" in str(condition):
                found += self._below(name)
            elif condition is not None:
                found.append(condition)
        return list(dict.fromkeys(found))

    def is_latest(self, asset: str, p: int, lookback: float | None) -> bool:
        """Whether the windows of a partition end no more than so long before the latest that are live."""
        spec = self.definitions.asset[asset].partitions
        if isinstance(spec, TimePartitions):
            return self._recent(spec, self.key(spec, p), [self.key(spec, n) for n in self.live(asset)], lookback)
        if not isinstance(spec, MultiPartitions):
            return True
        own, others = spec.parse(self.key(spec, p)), [spec.parse(self.key(spec, n)) for n in self.live(asset)]
        return all(
            self._recent(one.set, own[one.name], [other[one.name] for other in others], lookback)
            for one in spec.dimensions
            if isinstance(one.set, TimePartitions)
        )

    @staticmethod
    def _recent(spec: TimePartitions, key: str, others: Iterable[str], lookback: float | None) -> bool:
        latest = max(spec.window(other).end for other in others)
        ended = spec.window(key).end
        return ended == latest or (lookback is not None and ended > latest - lookback)

    def _deps(self, asset: str) -> list[Dependency]:
        spec, found = self.definitions.asset[asset], list[Dependency]()
        for dep in spec.deps:
            mapping, above = self.definitions.mapping(spec, dep), self.definitions.asset[dep.asset].partitions
            same = isinstance(mapping, Identity) and self.set_of(dep.asset) == self.set_of(asset)
            found.append(Dependency(dep.asset, mapping, same, gives_one(mapping, above, spec.partitions)))
        return found

    def named(self, asset: str, dep: Dependency, partition: int) -> set[int]:
        """The live upstream partitions that a partition depends on."""
        place = (asset, dep.asset, partition)
        if place not in self._named:
            self._named[place] = self._find(asset, dep, partition)
        return self._named[place]

    def _find(self, asset: str, dep: Dependency, partition: int) -> set[int]:
        above, below = (self.definitions.asset[name].partitions for name in (dep.asset, asset))
        if above is None:
            return {0}
        if below is None:
            return self.newest(dep.asset) if dep.mapping.kind == "last" else set(self.live(dep.asset))
        key = self.key(below, partition)
        return {
            number
            for number in self.live(dep.asset)
            if depends(dep.mapping, above, below, self.key(above, number), key, self._newest_key)
        }

    def counts(self, asset: str, dep: Dependency, partition: int) -> bool:
        """Whether a partition has that dependency."""
        above, below = (self.definitions.asset[name].partitions for name in (dep.asset, asset))
        return below is None or not unnamed(dep.mapping, above, below, self.key(below, partition))

    def sources(self, asset: str) -> set[str]:
        found: set[str] = set()
        for dep in self.deps(asset):
            if self.definitions.asset[dep.asset].freshness is not None:
                found.add(dep.asset)
            else:
                found |= self.sources(dep.asset)
        return found

    def marked(self, asset: str, p: int, places: set[Place]) -> bool:
        """Whether a policy's state, 0 for that of a whole asset, is a partition's."""
        return ((asset, 0) in places and p in self.newest(asset)) or (p > 0 and (asset, p) in places)

    def promised(self, asset: str, p: int) -> bool:
        """Whether a policy is about a partition."""
        policy = self.definitions.asset[asset].freshness
        each = policy is not None and policy.per_partition and self.set_of(asset) is not None
        return policy is not None and (each or p in self.newest(asset))

    def below(self, asset: str, p: int, places: set[Place]) -> bool:
        """Whether a partition lies below any of these lapses: the newest below that of a whole asset, others where they
        depend on the one that lapsed."""
        whole = any((source, 0) in places for source in self.sources(asset))
        return (whole and p in self.newest(asset)) or self.leads(asset, p, {place for place in places if place[1]})

    def leads(self, asset: str, p: int, places: set[Place]) -> bool:
        """Whether a partition depends on any of these, directly or by ways past assets without a policy."""
        for dep in self.deps(asset) if places else ():
            for u in self.named(asset, dep, p):
                if self.definitions.asset[dep.asset].freshness is not None:
                    if (dep.asset, u) in places:
                        return True
                elif self.leads(dep.asset, u, places):
                    return True
        return False

    def restarted(
        self,
        live: Mapping[str, Iterable[int]],
        added_by: Mapping[str, Mapping[int, int]],
        gone: Mapping[str, set[int]],
        until: int,
    ) -> None:
        """Whatever ran is queued again. `live`: the partitions that are there; `gone`: those that are not, whatever
        events up to `until` say."""
        self._gone, self._gone_until = gone, until
        self.facts.queued = set(self.facts.in_progress)
        self.facts.live = {name: set(numbers) for name, numbers in live.items()}
        self.facts.added_by = {name: dict(txns) for name, txns in added_by.items()}
        self._named.clear()

    # --- a transaction ----------------------------------------------------------------------------------------

    def apply(self, event: Event, news: News, broken: set[int | None]) -> None:
        facts, partition = self.facts, event.partition or 0
        if event.set is not None and event.type in ("partition_added", "partition_deleted"):
            self._membership(event, event.set, news)
            return
        if event.asset not in self.definitions.asset or event.type == "rewired":
            return
        if event.type == "code_changed":
            news.recoded.add(event.asset)
            return
        place = (event.asset, partition)
        if event.type.startswith("check_"):
            self._check(event, place, news)
            return
        if event.type.startswith("freshness_"):
            self._freshness(place, event.type, news)
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
            facts.lapsed -= {(event.asset, 0), place}
            facts.warned -= {(event.asset, 0), place}
            news.updated.add(place)
            told: dict[str, Any] = event.data or {}
            news.tags[place] = told.get("tags", {})
            if "same" not in told:
                news.changed.add(place)
            for key in [key for key in facts.results if key[:2] == place]:
                del facts.results[key]
            self._hold(place, news, held="held" in told)
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

    def _hold(self, place: Place, news: News, *, held: bool) -> None:
        """What is downstream is not to hear of it, or may."""
        (self.facts.held.add if held else self.facts.held.discard)(place)
        (news.withheld.add if held else news.withheld.discard)(place)
        news.cleared.discard(place)
        news.cleared_anew.discard(place)

    def _check(self, event: Event, place: Place, news: News) -> None:
        """A check of partition 0 of a partitioned asset is of all of them together."""
        told: dict[str, Any] = event.data or {}
        whole = place[1] == 0 and self.set_of(place[0]) is not None
        if "stale" in told or (not whole and place[1] not in self.live(place[0])):
            return
        self.facts.results[*place, told["check"]] = event.type == "check_passed"
        if "held" in told or "cleared" in told:
            self._hold(place, news, held="held" in told)
        if "cleared" in told:
            news.cleared.add(place)
            if "same" not in told:
                news.cleared_anew.add(place)

    def found(self, condition: AutomationCondition, asset: str, p: int) -> bool:
        """What checks found of a partition, alone or together with all others."""
        partitioned = self.set_of(asset) is not None

        def said(name: str) -> set[bool]:
            places = {p, 0} if partitioned else {p}
            return {self.facts.results[asset, q, name] for q in places if (asset, q, name) in self.facts.results}

        declared = self.definitions.checks_of.get(asset, ())
        imported = {name for of, _, name in self.facts.results if of == asset and ":" in name and said(name)}
        match condition:
            case CheckIs(kind=kind, name=str(name)):
                return (kind == "check_passed") in said(name)
            case CheckIs(kind=kind):
                verdicts = [said(name) for name in {one.name for one in declared} | imported]
                if kind == "check_passed":
                    return bool(verdicts) and all(True in one for one in verdicts)
                return any(False in one for one in verdicts)
            case ChecksMatch(kind=kind, operand=operand, blocking_only=blocking):
                names = {one.name for one in declared if one.blocking or not blocking}
                true = [_of_check(operand, said(name)) for name in (names if blocking else names | imported)]
                return any(true) if kind == "any_checks_match" else all(true)
            case _:
                raise AssertionError(condition)

    def usable(self, place: Place) -> bool:
        """Materialized, and let through by its blocking checks."""
        return place in self.facts.materialized and place not in self.facts.held

    def _membership(self, event: Event, name: str, news: News) -> None:
        data: Any = event.data or {}
        numbers = set(data.get("numbers") or range(event.partition or 0, data.get("last", event.partition) + 1))
        live = self.facts.live.setdefault(name, set())
        members = [spec.name for spec in self.definitions.assets if self.set_of(spec.name) == name]
        self._named.clear()
        if event.type == "partition_added":
            added = self.facts.added_by.setdefault(name, {})
            added.update((number, event.txn) for number in numbers - live if added.get(number, 0) < event.txn)
            numbers -= self._gone.get(name, set()) if event.seq <= self._gone_until else set()
            live |= numbers
            news.added |= {(asset, number) for asset in members for number in numbers}
            if "place" in data:
                self._combined.setdefault(name, {})[event.partition or 0] = data["key"]
            return
        live -= numbers
        for place in {(asset, number) for asset in members for number in numbers}:
            checked = (news.withheld, news.cleared, news.cleared_anew)
            happened = (news.added, news.updated, news.changed, news.failed, *checked)
            facts = self.facts
            for places in (facts.materialized, facts.failed, facts.held, facts.lapsed, facts.warned, *happened):
                places.discard(place)
            for key in [key for key in self.facts.results if key[:2] == place]:
                del self.facts.results[key]
            self._forget(*place)

    def _freshness(self, place: Place, kind: str, news: News) -> None:
        self.facts.lapsed.discard(place)
        self.facts.warned.discard(place)
        if kind == "freshness_lapsed":
            self.facts.lapsed.add(place)
            news.lapsed.add(place)
        elif kind == "freshness_warned":
            self.facts.warned.add(place)

    def _forget(self, asset: str, partition: int) -> None:
        for (owner, path, _, _), bits in self.held.bits.items():
            if (path[-1] if path else owner) == asset:
                bits.discard(partition)
        for (owner, path, _, _), numbers in self.held.numbers.items():
            if (path[-1] if path else owner) == asset:
                numbers.pop(partition, None)


def _of_check(operand: AutomationCondition, said: set[bool]) -> bool:
    if isinstance(operand, And | Or):
        parts = [_of_check(part, said) for part in operand.operands]
        return all(parts) if isinstance(operand, And) else any(parts)
    if isinstance(operand, Not):
        return not _of_check(operand.operand, said)
    assert isinstance(operand, CheckIs)
    return (operand.kind == "check_passed") in said


def _in_place(condition: AutomationCondition, other: AutomationCondition) -> AutomationCondition:
    if isinstance(condition, AnyDownstreamConditions):
        return other
    return condition.with_children([_in_place(child, other) for child in condition.children()])
