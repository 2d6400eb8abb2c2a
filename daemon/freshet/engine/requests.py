"""From what was asked for to what can be admitted: names resolved, checked, put in order. Pure.

Every refusal is a `FreshetError` that says what was found and what is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from freshet.definitions.asset import AssetSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.names import check_key, nearest_hint
from freshet.definitions.outcome import Json
from freshet.definitions.partitions import PartitionsSpec, TimePartitions
from freshet.definitions.schedule import ScheduleSpec
from freshet.errors import Conflict, FreshetError, PartitionKeyError, UnknownName
from freshet.executors.base import RequestedRun
from freshet.store.records import InputNeed, PartitionDelta, ReportedMaterialization, RunToAdmit, StepToAdmit

__all__ = [
    "call_job",
    "check_partitions",
    "check_reports",
    "find_asset",
    "input_needs",
    "run_of_assets",
    "scheduled_run",
    "sensor_run",
    "steps_of",
]


def find_asset(definitions: Definitions, name: str) -> AssetSpec:
    """The asset of that name, or `UnknownName` with the nearest."""
    spec = definitions.asset.get(name)
    if spec is None:
        raise UnknownName(f"there is no asset {name!r}", hint=nearest_hint(name, definitions.asset))
    return spec


def steps_of(definitions: Definitions, names: Sequence[str], *, partitioned: bool) -> tuple[StepToAdmit, ...]:
    """Steps for assets that stand in dependency order, each after those of its upstreams that are among them."""
    position = {name: index for index, name in enumerate(names)}
    steps: list[StepToAdmit] = []
    for name in names:
        spec = definitions.asset[name]
        needs = sorted(position[dep.asset] for dep in spec.deps if dep.asset in position)
        steps.append(StepToAdmit(name, tuple(needs), partitioned and spec.partitions is not None))
    return tuple(steps)


def input_needs(definitions: Definitions, names: Iterable[str]) -> dict[str, tuple[InputNeed, ...]]:
    """For each asset: the upstreams whose values its function takes, and how their partitions are found."""
    needs: dict[str, tuple[InputNeed, ...]] = {}
    for name in names:
        spec = definitions.asset.get(name)
        if spec is None or name in needs:
            continue
        taken: list[InputNeed] = []
        for dep in spec.deps:
            if dep.argument is None:
                continue
            above = definitions.asset[dep.asset].partitions
            taken.append(InputNeed(dep.asset, definitions.reach(spec, dep), above.name if above else None))
        needs[name] = tuple(taken)
    return needs


def sensor_run(definitions: Definitions, request: RequestedRun, *, sensor: str, origin: str) -> RunToAdmit:
    """A sensor's request, resolved against the definitions in force."""
    asking = definitions.sensor.get(sensor) or definitions.schedule.get(sensor)
    target = request.target or (None if asking is None else asking.target)
    if target is None:
        raise UnknownName(
            f"sensor {sensor!r} asked for a run without a target", hint="give the sensor or the RunRequest a target="
        )
    if target in definitions.job:
        if request.partition is not None:
            raise Conflict(f"the job {target!r} has no partitions", hint="leave partition= out of the RunRequest")
        return RunToAdmit(
            kind="job",
            target=target,
            steps=(StepToAdmit(target),),
            origin=origin,
            run_key=request.run_key,
            params=request.params,
            tags={**definitions.job[target].tags, **request.tags},
            priority=request.priority + definitions.job[target].priority,
        )
    if target not in definitions.asset:
        raise UnknownName(
            f"sensor {sensor!r} asked for {target!r}, which is no asset and no job",
            hint=nearest_hint(target, {*definitions.asset, *definitions.job}),
        )
    return run_of_assets(
        definitions,
        (target,),
        key=request.partition,
        origin=origin,
        run_key=request.run_key,
        params=request.params,
        tags=request.tags,
        priority=request.priority,
    )


def scheduled_run(definitions: Definitions, spec: ScheduleSpec, nominal: float) -> RunToAdmit:
    """The run that a schedule without a body asks for at one of its instants: of an asset partitioned in time, for
    the partition that the instant closed."""
    target = spec.target
    assert target is not None, "a schedule without a body has a target"
    tags = {"freshet/scheduled_time": datetime.fromtimestamp(nominal, UTC).isoformat()}
    request = RequestedRun(target, None, None, params=dict(spec.params), tags=tags)
    partitions = definitions.asset[target].partitions if target in definitions.asset else None
    if isinstance(partitions, TimePartitions):
        closed = partitions.closed_by(nominal)
        request = replace(request, partition=partitions.key(closed if closed is not None else partitions.first))
    return sensor_run(definitions, request, sensor=spec.name, origin=f"schedule:{spec.name}")


def run_of_assets(
    definitions: Definitions,
    names: Sequence[str],
    *,
    key: str | None,
    origin: str,
    run_key: str | None = None,
    params: dict[str, Json] | None = None,
    tags: dict[str, str] | None = None,
    priority: int = 0,
) -> RunToAdmit:
    """One run for assets that stand in dependency order.

    Those with partitions must share one set and need `key`; the others run without a partition.
    """
    specs = [find_asset(definitions, name) for name in names]
    sets = {spec.partitions.name: spec for spec in specs if spec.partitions is not None}
    if len(sets) > 1:
        (one, first), (two, second) = list(sets.items())[:2]
        raise Conflict(
            f"{first.name!r} and {second.name!r} have different partitions ({one!r} and {two!r})",
            hint="materialize them one after the other",
        )
    set_name, owner = next(iter(sets.items()), (None, None))
    if owner is not None and key is None:
        raise Conflict(
            f"the asset {owner.name!r} is partitioned by {set_name!r}", hint="name a partition (--partition KEY)"
        )
    if owner is None and key is not None:
        raise Conflict(f"the asset {names[0]!r} has no partitions", hint="leave the partition out")
    return RunToAdmit(
        kind="asset",
        target=names[-1],
        steps=steps_of(definitions, names, partitioned=key is not None),
        origin=origin,
        set=set_name,
        key=None if key is None else check_key(key),
        partition=None if key is None or owner is None else _number_of(owner.partitions, key),
        run_key=run_key,
        params=params or {},
        tags={**specs[-1].tags, **(tags or {})},
        priority=priority + max(spec.priority for spec in specs),
    )


def _number_of(partitions: PartitionsSpec | None, key: str) -> int | None:
    """The number of a window of time; None for sets whose numbers are the store's."""
    if not isinstance(partitions, TimePartitions):
        return None
    number = partitions.number(key)
    if number < partitions.first:
        raise PartitionKeyError(
            f"the partition {key!r} lies before the start of {partitions.name!r}",
            hint=f"the first is {partitions.key(partitions.first)!r}",
        )
    return number


def call_job(
    definitions: Definitions, name: str, params: dict[str, Json], *, priority: int, tags: dict[str, str]
) -> RunToAdmit:
    """One call of a job. Unknown and missing parameters are refused here; their types are checked before user code."""
    spec = definitions.job.get(name)
    if spec is None:
        raise UnknownName(f"there is no job {name!r}", hint=nearest_hint(name, definitions.job))
    known: dict[str, Json] = spec.parameters.get("properties", {})
    for given in params:
        if given not in known:
            raise UnknownName(f"the job {name!r} has no parameter {given!r}", hint=nearest_hint(given, known))
    for required in spec.parameters.get("required", []):
        if required not in params:
            raise Conflict(
                f"the job {name!r} needs the parameter {required!r}", hint=f"give it: --param {required}=..."
            )
    return RunToAdmit(
        kind="job",
        target=name,
        steps=(StepToAdmit(name),),
        origin="manual",
        params=params,
        tags={**spec.tags, **tags},
        priority=priority + spec.priority,
    )


def check_partitions(definitions: Definitions, delta: PartitionDelta) -> PartitionDelta:
    """Return `delta` if its set is a dynamic one, with all keys in their normal form."""
    known = definitions.partition_set.get(delta.set)
    if known is None:
        raise UnknownName(
            f"there is no partition set {delta.set!r}", hint=nearest_hint(delta.set, definitions.partition_set)
        )
    if known.kind != "dynamic":
        raise Conflict(f"the partitions of {delta.set!r} are fixed in the plugin", hint="edit StaticPartitions([...])")
    return PartitionDelta(
        set=delta.set,
        add=tuple((check_key(key), metadata) for key, metadata in delta.add),
        delete=tuple(check_key(key) for key in delta.delete),
    )


def check_reports(definitions: Definitions, reports: Iterable[ReportedMaterialization]) -> None:
    """Raise unless every report names an asset, and a partition exactly where the asset has them."""
    for report in reports:
        spec = find_asset(definitions, report.asset)
        if (spec.partitions is None) != (report.key is None):
            problem = (
                "has no partitions" if spec.partitions is None else "is partitioned; the report names no partition"
            )
            raise _at_fault(report.asset, problem)


def _at_fault(asset: str, problem: str) -> FreshetError:
    return Conflict(f"a Report for the asset {asset!r}, which {problem}", hint="mend Report(asset, partition=)")
