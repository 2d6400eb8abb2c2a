"""What `freshet check` warns of: definitions that are allowed, and do not do what they seem to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.condition import (
    AllDepsMatch,
    AnyDepsMatch,
    AssetMatches,
    AutomationCondition,
    LapseUnserved,
    Not,
    Operand,
    Or,
    Selection,
    Since,
)
from freshet.definitions.graph import Definitions
from freshet.definitions.listen import Listen
from freshet.definitions.mapping import gives_one
from freshet.definitions.names import nearest_hint
from freshet.definitions.sensor import SensorSpec
from freshet.errors import DefinitionError

__all__ = ["advice"]


_OWN = frozenset({"freshness_passed", "freshness_lapsed", "freshness_warned"})
_LAPSES = _OWN | {"upstream_lapsed"}
_PROMISED = frozenset({"freshness_lapsed", "freshness_warned", "freshness_restored"})
_REFRESHED = frozenset({"refresh_exhausted", "refresh_recovered"})
_POLICY = 'give one of them freshness=Freshness(within="1h")'


@dataclass(frozen=True, slots=True)
class _Asks:
    """What a condition asks of its own asset: operands about lapses, whether one is to be answered; the labels it
    chooses dependencies by; and whether it asks for what any dependency does, and for that of some of them."""

    kinds: frozenset[str]
    lapse: bool
    labels: frozenset[str]
    looks_up: bool
    chooses: bool

    def concern(self, spec: AssetSpec) -> bool:
        """Whether any of it might never come to the asset."""
        return bool(self.lapse or self.kinds or self.labels or self.chooses or (self.looks_up and not spec.deps))


def advice(definitions: Definitions) -> Iterator[DefinitionError]:
    """One for each asset or sensor that waits for a lapse where no promise can lapse, for each asset that waits for
    dependencies which it does not have, for each choice of dependencies
    by a group or tag that no asset has, for a policy for partitions that there are not, and for each parameter that is
    annotated as one value where its mapping gives several. `definitions` are valid, and resolved: their zones are
    known."""
    known: dict[int, _Asks] = {}  # by identity: assets share conditions
    for spec in definitions.assets:
        for dep in spec.deps:
            if dep.single is not None and (found := _several(definitions, spec, dep)) is not None:
                yield found
        if spec.freshness is not None and spec.freshness.per_partition and spec.partitions is None:
            said = "Freshness(per_partition=True) says nothing of an asset without partitions"
            yield _about(spec, said, "take per_partition=True out, or give the asset partitions=")
        if spec.automation is not None and id(spec.automation) not in known:
            known[id(spec.automation)] = _asks(spec.automation)
    labels = _labels(definitions) if any(one.labels for one in known.values()) else frozenset[str]()
    for spec in definitions.assets:
        if spec.automation is not None and (asks := known[id(spec.automation)]).concern(spec):
            yield from _idle(definitions, spec, asks, labels)
    for sensor in definitions.sensors:
        if sensor.listens is not None:
            yield from _deaf(definitions, sensor, sensor.listens, known)


def _idle(definitions: Definitions, spec: AssetSpec, asks: _Asks, labels: frozenset[str]) -> Iterator[DefinitionError]:
    """What of a condition never comes."""
    for kind in sorted(asks.kinds & _OWN) if spec.freshness is None else ():
        said = f"{kind}() never comes: it has no freshness policy"
        yield _about(spec, said, 'give it freshness=Freshness(within="1h")')
    above = "upstream_lapsed" in asks.kinds
    if above or asks.lapse:
        policies = {one for one in definitions.select([spec.name], upstream=True) if definitions.asset[one].freshness}
        if asks.lapse and not policies:
            said = "on_lapse() never comes: neither it nor an asset above it has a freshness policy"
            yield _about(spec, said, _POLICY)
        if above and not policies - {spec.name}:
            yield _about(spec, "upstream_lapsed() never comes: no asset above it has a freshness policy", _POLICY)
    for way in _ways(spec.automation) if asks.looks_up and spec.automation is not None else ():
        if (looks := _dead(definitions, spec, way)) is not None:
            said = "has no dependencies" if not spec.deps else "has no dependencies of those that it chooses"
            hint = 'give it deps=["upstream"], or name the asset: AutomationCondition.asset_matches("upstream", ...)'
            yield _about(spec, f"{looks} never comes: it {said}", hint)
    for label in sorted(asks.labels - labels):
        said = f"its condition allows or ignores {label!r}, which no asset has"
        yield _about(spec, said, nearest_hint(label, labels) or "no asset has a group or a tag")


def _ways(condition: AutomationCondition) -> Iterator[AutomationCondition]:
    """What it is the `|` of."""
    if isinstance(condition, Or):
        for one in condition.operands:
            yield from _ways(one)
    else:
        yield condition


def _dead(definitions: Definitions, spec: AssetSpec, condition: AutomationCondition) -> AnyDepsMatch | None:
    """What it would need of dependencies that there are not, if it can never be true for the lack of them."""
    match condition:
        case AnyDepsMatch(deps=deps):
            above = (definitions.asset[dep.asset] for dep in spec.deps)
            return None if any(deps.has(one.name, one.group, one.tags) for one in above) else condition
        case Or():
            found = [_dead(definitions, spec, one) for one in condition.operands]
            return None if None in found else found[0]
        case Since():
            return _dead(definitions, spec, condition.trigger)
        case Not() | AllDepsMatch() | AssetMatches():
            return None
        case _:
            found = [_dead(definitions, spec, one) for one in condition.children()]
            return next((one for one in found if one is not None), None)


def _deaf(
    definitions: Definitions, sensor: SensorSpec, listens: Listen, known: dict[int, _Asks]
) -> Iterator[DefinitionError]:
    """What a sensor listens to and never hears."""
    named = definitions.asset if listens.assets is None else definitions.asset.keys() & listens.assets  # not jobs
    heard = [definitions.asset[name] for name in named]
    for kinds, comes, lacks, hint in (
        (_PROMISED, any(one.freshness for one in heard), "has a freshness policy", _POLICY),
        (
            _REFRESHED,
            any(one.automation is not None and known[id(one.automation)].lapse for one in heard),
            "is refreshed by on_lapse()",
            "give one of them automation=AutomationCondition.on_lapse()",
        ),
    ):
        for kind in listens.types if not comes else ():
            if kind in kinds:
                said = f"sensor {sensor.name!r}: {kind} never comes: nothing that it listens to {lacks}"
                place = sensor.source
                file, line = (place.file, place.line) if place else (None, None)
                yield DefinitionError(said, hint=hint, file=file, line=line)


def _about(spec: AssetSpec, said: str, hint: str) -> DefinitionError:
    file, line = (spec.source.file, spec.source.line) if spec.source else (None, None)
    return DefinitionError(f"asset {spec.name!r}: {said}", hint=hint, file=file, line=line)


def _asks(condition: AutomationCondition) -> _Asks:
    kinds, labels, lapse, looks_up, chooses = set[str](), set[str](), False, False, False
    stack = [(condition, True)]
    while stack:
        one, own = stack.pop()
        if isinstance(one, Operand) and own and one.kind in _LAPSES:
            kinds.add(one.kind)
        lapse = lapse or isinstance(one, LapseUnserved)
        if isinstance(one, AnyDepsMatch):
            looks_up, chooses = True, chooses or one.deps != Selection()
        deps: object = getattr(one, "deps", None)
        if isinstance(deps, Selection):
            labels.update(name for name in (*(deps.allow or ()), *deps.ignore) if ":" in name)
        own = own and not isinstance(one, AnyDepsMatch | AllDepsMatch | AssetMatches)
        stack.extend((child, own) for child in one.children())
    return _Asks(frozenset(kinds), lapse, frozenset(labels), looks_up, chooses)


def _labels(definitions: Definitions) -> frozenset[str]:
    """The groups and tags of all assets, as conditions name them."""
    found = set[str]()
    for spec in definitions.assets:
        if spec.group is not None:
            found.add(f"group:{spec.group}")
        for key, value in spec.tags.items():
            found.update((f"tag:{key}", f"tag:{key}={value}"))
    return frozenset(found)


def _several(definitions: Definitions, spec: AssetSpec, dep: DepSpec) -> DefinitionError | None:
    mapping, above = definitions.mapping(spec, dep), definitions.asset[dep.asset].partitions
    if gives_one(mapping, above, spec.partitions):
        return None
    gives = "" if dep.mapping is None else f" by {type(mapping).__name__}()"
    return _about(
        spec,
        f"the parameter {dep.argument!r} is annotated as {dep.single}, and it is given the values of several "
        f"partitions of {dep.asset!r}{gives}, in a dict by key",
        f"write {dep.argument}: dict[str, {dep.single}], or name a mapping that gives one, such as Last()",
    )
