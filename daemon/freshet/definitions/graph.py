"""All definitions together, as the daemon holds them: plain data, validated as a whole."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.check import CheckSpec
from freshet.definitions.checking import check_problems
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.condition_check import condition_problems
from freshet.definitions.flow_check import external_target, target_problem
from freshet.definitions.job import JobSpec
from freshet.definitions.listen_check import listen_problems
from freshet.definitions.mapping import Mapping, default_mapping
from freshet.definitions.mapping_check import misfit
from freshet.definitions.names import nearest_hint
from freshet.definitions.partitions import (
    MultiPartitions,
    PartitionsSpec,
    resolved_set,
)
from freshet.definitions.pool import StepUse
from freshet.definitions.renames import renamed_twice
from freshet.definitions.schedule import ScheduleSpec
from freshet.definitions.schedule_check import schedule_problems
from freshet.definitions.sensor import SensorSpec
from freshet.definitions.source import Source
from freshet.definitions.uses import step_uses
from freshet.definitions.watched import watched
from freshet.errors import DefinitionError, GraphError, InvalidName

__all__ = ["Definitions", "validate"]


@dataclass(frozen=True)
class Definitions:
    """Everything the plugins declare. `version` is a hash of the files it was loaded from."""

    assets: tuple[AssetSpec, ...] = ()
    jobs: tuple[JobSpec, ...] = ()
    sensors: tuple[SensorSpec, ...] = ()
    partitions: tuple[PartitionsSpec, ...] = ()
    version: str = ""
    schedules: tuple[ScheduleSpec, ...] = ()
    checks: tuple[CheckSpec, ...] = ()

    def resolved(self, timezone: str) -> Definitions:
        """The same with the configuration's zone wherever a schedule or a partition set names none."""
        return replace(
            self,
            assets=tuple(_resolved_assets(self.assets, timezone)),
            partitions=tuple(resolved_set(one, timezone) for one in self.partitions),
            schedules=tuple(one.resolved(timezone) for one in self.schedules),
        )

    @cached_property
    def asset(self) -> dict[str, AssetSpec]:
        """Assets by name."""
        return {spec.name: spec for spec in self.assets}

    @cached_property
    def job(self) -> dict[str, JobSpec]:
        """Jobs by name."""
        return {spec.name: spec for spec in self.jobs}

    @cached_property
    def check(self) -> dict[str, CheckSpec]:
        """Checks by the name of their step."""
        return {spec.step: spec for spec in self.checks}

    @cached_property
    def checks_of(self) -> dict[str, tuple[CheckSpec, ...]]:
        """The checks of each asset that has any, in the order of their declaration."""
        found: dict[str, list[CheckSpec]] = {}
        for spec in self.checks:
            found.setdefault(spec.asset, []).append(spec)
        return {name: tuple(specs) for name, specs in found.items()}

    @cached_property
    def gates(self) -> dict[str, tuple[str, ...]]:
        """The names of the blocking checks of each asset that has any."""
        found = {name: tuple(one.name for one in specs if one.blocking) for name, specs in self.checks_of.items()}
        return {name: names for name, names in found.items() if names}

    def stepped(self, name: str) -> AssetSpec | None:
        """The asset of that name; of a check's step, what reads its inputs (see `CheckSpec.as_step`)."""
        return self.asset.get(name) or self._check_steps.get(name)

    @cached_property
    def _check_steps(self) -> dict[str, AssetSpec]:
        return {spec.step: spec.as_step(self.asset[spec.asset].partitions) for spec in self.checks}

    @cached_property
    def sensor(self) -> dict[str, SensorSpec]:
        """Sensors by name."""
        return {spec.name: spec for spec in self.sensors}

    @cached_property
    def schedule(self) -> dict[str, ScheduleSpec]:
        """Schedules by name."""
        return {spec.name: spec for spec in self.schedules}

    @property
    def evaluated(self) -> tuple[str, ...]:
        """The names that an evaluator is asked for: sensors, and schedules with a body."""
        bodies = (one.name for one in self.schedules if one.body)
        return (*(spec.name for spec in self.sensors), *bodies)

    @cached_property
    def partition_set(self) -> dict[str, PartitionsSpec]:
        """Partition sets by name, of assets and sensors alike, and those of their dimensions."""
        found = {spec.name: spec for spec in self.partitions}
        for asset in self.assets:
            if asset.partitions is not None:
                found.setdefault(asset.partitions.name, asset.partitions)
        several = [spec for spec in found.values() if isinstance(spec, MultiPartitions)]
        for one in (dimension.set for spec in several for dimension in spec.dimensions):
            found.setdefault(one.name, one)
        return found

    @cached_property
    def dimension_sets(self) -> frozenset[str]:
        """The names of the sets that others have as a dimension."""
        several = [spec for spec in self.partition_set.values() if isinstance(spec, MultiPartitions)]
        return frozenset(one.set.name for spec in several for one in spec.dimensions)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Asset names, each after its upstreams and after those that its condition names."""
        if not self.watched:
            return _ordered(self._predecessors)
        more = {name: [one for one in names if one != name] for name, names in self.watched.items()}
        return _ordered({name: [*above, *more.get(name, ())] for name, above in self._predecessors.items()})

    @cached_property
    def watched(self) -> dict[str, tuple[str, ...]]:
        """The assets that conditions name with `asset_matches`, by the asset that has the condition."""
        return watched(self.assets, lambda: _ordered(self._predecessors))

    @cached_property
    def position(self) -> dict[str, int]:
        """An asset's place in `order`."""
        return {name: index for index, name in enumerate(self.order)}

    @cached_property
    def depth(self) -> dict[str, int]:
        """How many assets lie above an asset on the longest way; 0 without upstreams. A check lies below its asset."""
        found: dict[str, int] = {}
        for name in self.order:
            found[name] = max((found[above] + 1 for above in self._predecessors[name]), default=0)
        for check in self.checks:
            found[check.step] = found[check.asset] + 1
        return found

    @cached_property
    def uses(self) -> dict[str, StepUse]:
        """What steps take that is not a worker alone, by the name of their asset or job."""
        return step_uses(self.assets, self.jobs)

    @cached_property
    def alone(self) -> frozenset[str]:
        """The assets of which no two runs make the same partition at once, and the jobs that run once at a time."""
        steps: tuple[AssetSpec | JobSpec, ...] = (*self.assets, *self.jobs)
        return frozenset(one.name for one in steps if one.overlap != "allow")

    @cached_property
    def downstream(self) -> dict[str, tuple[str, ...]]:
        """The assets that name an asset as their dependency, by its name."""
        found: dict[str, list[str]] = {spec.name: [] for spec in self.assets}
        for spec in self.assets:
            for dep in spec.deps:
                found[dep.asset].append(spec.name)
        return {name: tuple(names) for name, names in found.items()}

    @cached_property
    def _predecessors(self) -> dict[str, list[str]]:
        return {spec.name: [dep.asset for dep in spec.deps] for spec in self.assets}

    def mapping(self, downstream: AssetSpec, dep: DepSpec) -> Mapping:
        """The mapping in force between an asset and one of its upstreams."""
        return dep.mapping or default_mapping(self.asset[dep.asset].partitions, downstream.partitions)

    def looked_at(self, name: str) -> list[str]:
        """What an asset depends on, and what else its condition names."""
        return [*self._predecessors[name], *self.watched.get(name, ())]

    def select(self, names: Iterable[str], *, upstream: bool = False, downstream: bool = False) -> tuple[str, ...]:
        """`names` and, if asked, all above and below them, in dependency order."""
        chosen = set(names)
        if upstream:
            chosen |= self._reach(chosen, self._predecessors)
        if downstream:
            chosen |= self._reach(set(names), self.downstream)
        return tuple(sorted(chosen, key=self.position.__getitem__))

    @staticmethod
    def _reach(start: set[str], edges: dict[str, list[str]] | dict[str, tuple[str, ...]]) -> set[str]:
        seen, stack = set(start), list(start)
        while stack:
            for name in edges[stack.pop()]:
                if name not in seen:
                    seen.add(name)
                    stack.append(name)
        return seen


def _resolved_assets(assets: Iterable[AssetSpec], timezone: str) -> Iterator[AssetSpec]:
    """Each with the zone wherever it names none; equal conditions stay one object."""
    conditions: dict[int, AutomationCondition] = {}
    for spec in assets:
        condition, partitions, policy = spec.automation, spec.partitions, spec.freshness
        if condition is not None:
            found = conditions.get(id(condition))
            condition = conditions[id(condition)] = condition.resolved(timezone) if found is None else found
        if partitions is not None:
            partitions = resolved_set(partitions, timezone)
        if policy is not None and policy.cron is not None and policy.timezone is None:
            policy = replace(policy, timezone=timezone)
        same = condition is spec.automation and partitions is None and policy is spec.freshness
        yield spec if same else replace(spec, partitions=partitions, automation=condition, freshness=policy)


@dataclass
class _Taken:
    where: dict[str, Source | None] = field(default_factory=dict[str, Source | None])

    def claim(self, name: str, source: Source | None, what: str) -> DefinitionError | None:
        if name in self.where:
            return _at(
                InvalidName,
                source,
                f"{what} {name!r} is declared twice; first at {self.where[name]}",
                "rename one of them",
            )
        self.where[name] = source
        return None


def _ordered(predecessors: dict[str, list[str]]) -> tuple[str, ...]:
    """As `graphlib` orders them, which takes three times as long. Raises `graphlib.CycleError`."""
    below: dict[str, list[str]] = {}
    for name, above in predecessors.items():
        below.setdefault(name, [])
        for one in above:
            below.setdefault(one, []).append(name)
    missing = {name: len(above) for name, above in predecessors.items()}
    order = [name for name in below if not missing.get(name)]
    for name in order:  # it grows
        for one in below[name]:
            missing[one] -= 1
            if not missing[one]:
                order.append(one)
    if len(order) < len(below):
        graphlib.TopologicalSorter(predecessors).prepare()
    return tuple(order)


def _at(kind: type[DefinitionError], source: Source | None, message: str, hint: str) -> DefinitionError:
    return kind(message, hint=hint, file=source.file if source else None, line=source.line if source else None)


def validate(definitions: Definitions) -> list[DefinitionError]:
    """What is wrong with the definitions as a whole: names taken twice, unknown references, cycles.

    Each error names the place. An empty list means that `order` and `downstream` are safe to use.
    """
    problems = [*_names(definitions), *_references(definitions), *_scheduled(definitions)]
    problems += condition_problems(definitions.assets)
    problems += check_problems(definitions.checks, definitions.asset)
    if not problems:
        problems.extend(_cycles(definitions))
    return problems


def _names(definitions: Definitions) -> Iterable[DefinitionError]:
    targets, sensors, hooks = _Taken(), _Taken(), _Taken()
    for asset in definitions.assets:
        if problem := targets.claim(asset.name, asset.source, "asset"):
            yield problem
    for job in definitions.jobs:
        if problem := targets.claim(job.name, job.source, "job"):
            yield problem
    for spec in definitions.sensors:
        if problem := sensors.claim(spec.name, spec.source, "sensor"):
            yield problem
        if spec.intake is not None and (problem := hooks.claim(spec.intake.path, spec.source, "hook")):
            yield problem
    for schedule in definitions.schedules:
        if problem := sensors.claim(schedule.name, schedule.source, "schedule"):
            yield problem
    yield from renamed_twice(definitions.assets, definitions.sensors, definitions.schedules)
    sets: dict[str, PartitionsSpec] = {}
    declared = [*definitions.partitions, *(a.partitions for a in definitions.assets if a.partitions)]
    several = [spec for spec in declared if isinstance(spec, MultiPartitions)]
    told = set[str]()
    for one in [*declared, *(dimension.set for spec in several for dimension in spec.dimensions)]:
        if (first := sets.setdefault(one.name, one)) != one and one.name not in told:
            told.add(one.name)
            yield _at(
                InvalidName,
                one.source,
                f"the partition set {one.name!r} is declared in two ways; first at {first.source}",
                "name one differently, or declare it once (with its keep=, if it has one) and import it",
            )


def _references(definitions: Definitions) -> Iterable[DefinitionError]:
    assets, targets = definitions.asset, {*definitions.asset, *definitions.job}
    for spec in definitions.assets:
        for dep in spec.deps:
            if dep.asset not in assets:
                yield _at(
                    GraphError,
                    spec.source,
                    f"asset {spec.name!r} depends on {dep.asset!r}, which no plugin declares",
                    nearest_hint(dep.asset, assets),
                )
            elif (problem := _mapping_problem(definitions, spec, dep)) is not None:
                yield problem
            elif dep.argument is not None and assets[dep.asset].external:
                yield _valueless(spec, dep)
    for sensor in definitions.sensors:
        if sensor.target is not None and sensor.target not in targets:
            yield _at(
                GraphError,
                sensor.source,
                f"sensor {sensor.name!r} targets {sensor.target!r}, which no plugin declares",
                nearest_hint(sensor.target, targets),
            )
        elif found := (
            target_problem(definitions, sensor, sensor.target)
            or external_target(definitions, f"sensor {sensor.name!r}", sensor.target or "")
        ):
            yield _at(GraphError, sensor.source, *found)
    for sensor, said, hint in listen_problems(definitions):
        yield _at(GraphError, sensor.source, said, hint)


def _valueless(spec: AssetSpec, dep: DepSpec) -> DefinitionError:
    said = f"asset {spec.name!r} takes the value of {dep.asset!r}, which is external: it has none"
    hint = f'take the parameter {dep.argument!r} out and write deps=["{dep.asset}"]'
    return _at(GraphError, spec.source, said, hint)


def _mapping_problem(definitions: Definitions, spec: AssetSpec, dep: DepSpec) -> DefinitionError | None:
    above = definitions.asset[dep.asset].partitions
    if dep.mapping is None and above is None and spec.partitions is None:
        return None
    mapping = definitions.mapping(spec, dep)
    said, hint = misfit(mapping, above, spec.partitions)
    if not said:
        return None
    return _at(
        GraphError, spec.source, f"asset {spec.name!r}: {type(mapping).__name__}() to {dep.asset!r} {said}", hint
    )


def _scheduled(definitions: Definitions) -> Iterable[DefinitionError]:
    for schedule, said, hint in schedule_problems(definitions):
        yield _at(GraphError, schedule.source, said, hint)


def _cycles(definitions: Definitions) -> Iterable[DefinitionError]:
    try:
        _ = definitions.order
    except graphlib.CycleError as error:
        ring: list[str] = list(reversed(error.args[1]))
        spec = definitions.asset[ring[0]]
        hint = "take one of these dependencies out"
        if definitions.watched:
            hint += ", or what a condition names with asset_matches: an asset is looked at after that"
        yield _at(
            GraphError,
            spec.source,
            "the assets form a cycle: " + " -> ".join(ring),
            hint,
        )
