"""From what was asked for to what can be admitted: names resolved, checked, put in order. Pure.

Every refusal is a `FreshetError` that says what was found and what is known.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from freshet.definitions.asset import AssetSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.job import JobSpec
from freshet.definitions.mapping import All, Identity, Last, Mapping
from freshet.definitions.names import check_key, nearest_hint
from freshet.definitions.outcome import Json
from freshet.definitions.partitions import (
    DynamicPartitions,
    MultiPartitions,
    PartitionsSpec,
    StaticPartitions,
    TimePartitions,
)
from freshet.definitions.schedule import ScheduleSpec
from freshet.engine.parameters import check_params
from freshet.engine.partitions.refs import partition_ref
from freshet.engine.steps import steps_of
from freshet.errors import Conflict, UnknownName
from freshet.executors.base import RequestedRun
from freshet.store.records import InputNeed, PartitionDelta, ReportedMaterialization, RunToAdmit, StepToAdmit

__all__ = [
    "SCHEDULED_TIME",
    "call_job",
    "check_makable",
    "check_partitions",
    "check_reports",
    "closed_keys",
    "find_asset",
    "input_needs",
    "run_of_assets",
    "scheduled_runs",
    "sensor_run",
    "window_key",
]

SCHEDULED_TIME = "freshet/scheduled_time"
"""The tag of a scheduled run that holds its nominal instant."""


def find_asset(definitions: Definitions, name: str) -> AssetSpec:
    """The asset of that name, or `UnknownName` with the nearest."""
    spec = definitions.asset.get(name)
    if spec is None:
        raise UnknownName(f"there is no asset {name!r}", hint=nearest_hint(name, definitions.asset))
    return spec


def check_makable(spec: AssetSpec) -> None:
    """Raise `Conflict` for an asset that no run makes."""
    if spec.external:
        said = f"the asset {spec.name!r} is external: no run makes it"
        raise Conflict(said, hint=f"freshet report {spec.name} says that it was made")


def input_needs(definitions: Definitions, names: Iterable[str]) -> dict[str, tuple[InputNeed, ...]]:
    """For each asset or check: the assets whose values its function takes, and how their partitions are found."""
    needs: dict[str, tuple[InputNeed, ...]] = {}
    for name in names:
        spec = definitions.stepped(name)
        if spec is None or name in needs:
            continue
        taken: list[InputNeed] = []
        for dep in spec.deps:
            if dep.argument is None:
                continue
            above = definitions.asset[dep.asset].partitions
            found = _found_by(definitions.mapping(spec, dep), above, spec.partitions)
            taken.append(InputNeed(dep.asset, found, above.name if above else None))
        needs[name] = tuple(taken)
    return needs


def _found_by(
    mapping: Mapping, above: PartitionsSpec | None, below: PartitionsSpec | None
) -> Literal["identity", "all", "last", "some"]:
    """How the store finds an upstream's partitions; `some` where only the engine can name them."""
    if above is None or (isinstance(mapping, Identity) and below is not None and above.name == below.name):
        return "identity"
    if isinstance(mapping, All):
        return "all"
    if isinstance(mapping, Last) and isinstance(above, DynamicPartitions | MultiPartitions):
        return "last"  # the highest number; of a list it is the last that is written, in time the last window
    return "some"


def sensor_run(
    definitions: Definitions, request: RequestedRun, *, sensor: str, origin: str, now: float, check: bool = True
) -> RunToAdmit:
    """A request of a sensor, or of a schedule's body, resolved against the definitions in force. `check`: its
    parameters must be the job's; not those of one among several requests that become one run, nor a schedule's own,
    which were checked when it was loaded."""
    kind = "schedule" if sensor in definitions.schedule else "sensor"
    asking = definitions.sensor.get(sensor) or definitions.schedule.get(sensor)
    target = request.target or (None if asking is None else asking.target)
    if target is None:
        raise UnknownName(
            f"{kind} {sensor!r} asked for a run without a target", hint=f"give the {kind} or the RunRequest a target="
        )
    if target in definitions.job:
        if request.partition is not None:
            raise Conflict(f"the job {target!r} has no partitions", hint="leave partition= out of the RunRequest")
        if check:
            check_params(definitions.job[target], request.params, by="request")
        return RunToAdmit(
            kind="job",
            target=target,
            steps=(StepToAdmit(target),),
            origin=origin,
            run_key=request.run_key,
            params=request.params,
            tags={**definitions.job[target].tags, **request.tags},
            priority=request.priority + definitions.job[target].priority,
            **_of_job(definitions.job[target]),
        )
    if target not in definitions.asset:
        raise UnknownName(
            f"{kind} {sensor!r} asked for {target!r}, which is no asset and no job",
            hint=nearest_hint(target, {*definitions.asset, *definitions.job}),
        )
    return run_of_assets(
        definitions,
        (target,),
        key=request.partition,
        origin=origin,
        now=now,
        run_key=request.run_key,
        params=request.params,
        tags=request.tags,
        priority=request.priority,
    )


def scheduled_runs(definitions: Definitions, spec: ScheduleSpec, nominal: float) -> tuple[RunToAdmit, ...]:
    """The runs that a schedule without a body asks for at one of its instants: of an asset partitioned in time, for
    the partition that the instant closed (none, where it closed none); where another dimension is a list of keys, one
    for each of them."""
    target = spec.target
    assert target is not None, "a schedule without a body has a target"
    tags = {SCHEDULED_TIME: datetime.fromtimestamp(nominal, UTC).isoformat()}
    request = RequestedRun(target, None, None, params=dict(spec.params), tags=tags)
    partitions = definitions.asset[target].partitions if target in definitions.asset else None
    keys: Iterable[str | None] = (None,) if partitions is None else closed_keys(partitions, nominal)
    return tuple(
        sensor_run(
            definitions,
            replace(request, partition=key),
            sensor=spec.name,
            origin=f"schedule:{spec.name}",
            now=nominal,
            check=False,
        )
        for key in keys
    )


def closed_keys(partitions: PartitionsSpec, instant: float) -> tuple[str, ...]:
    """The partitions that an instant closes, as far as the definitions tell them."""
    match partitions:
        case TimePartitions():
            closed = partitions.closed_by(instant)
            return () if closed is None else (partitions.key(closed),)
        case StaticPartitions():
            return partitions.keys
        case MultiPartitions():
            sides = [closed_keys(one.set, instant) for one in partitions.dimensions]
            names = partitions.names
            return tuple(partitions.key(dict(zip(names, keys, strict=True))) for keys in itertools.product(*sides))
        case DynamicPartitions():
            return ()


def run_of_assets(
    definitions: Definitions,
    names: Sequence[str],
    *,
    key: str | None,
    origin: str,
    now: float,
    checks: Sequence[str] = (),
    run_key: str | None = None,
    params: dict[str, Json] | None = None,
    tags: dict[str, str] | None = None,
    priority: int = 0,
    instead: str = "",
) -> RunToAdmit:
    """One run for assets that stand in dependency order.

    Those with partitions must share one set and need `key`, which must be live at `now`; the others run without a
    partition. `checks`: steps of checks (`Definitions.check`) that go without their asset's. `instead`: a remedy for
    what is too much for one run.
    """
    specs = [find_asset(definitions, name) for name in names]
    for spec in specs:
        check_makable(spec)
    alone = [definitions.check[one] for one in checks]
    looked_at = [definitions.asset[one.asset] for one in alone if not one.whole]
    sets = {spec.partitions.name: spec for spec in (*specs, *looked_at) if spec.partitions is not None}
    specs = specs or [definitions.asset[alone[-1].asset]]
    if len(sets) > 1:
        first, second = list(sets.values())[:2]
        raise Conflict(
            f"{first.name!r} and {second.name!r} have different partitions ({_kind_of(first)} and {_kind_of(second)})",
            hint=instead
            or f"freshet backfill {specs[-1].name} --partitions {key or 'A..B'} --upstream makes them in order",
        )
    set_name, owner = next(iter(sets.items()), (None, None))
    if owner is not None and key is None:
        said = f"the asset {owner.name!r} is partitioned by {_kind_of(owner)}"
        raise Conflict(said, hint="name a partition (--partition KEY)" + (f"; or {instead}" if instead else ""))
    if owner is None and key is not None:
        raise Conflict(f"the asset {specs[0].name!r} has no partitions", hint="leave the partition out")
    partitions = None if owner is None else owner.partitions
    ref = None if key is None or partitions is None else partition_ref(partitions, key, now, _quoted(owner))
    return RunToAdmit(
        kind="asset",
        target=specs[-1].name,
        steps=steps_of(definitions, names, partitioned=key is not None, checks=checks),
        origin=origin,
        set=set_name,
        key=None if ref is None else ref.key,
        partition=None if ref is None else ref.number,
        parts=() if ref is None else ref.parts,
        run_key=run_key,
        params=params or {},
        tags={**specs[-1].tags, **(tags or {})},
        priority=priority + max(spec.priority for spec in specs),
        policy="allow" if specs[-1].overlap == "queue" else specs[-1].overlap,
    )


def _quoted(owner: AssetSpec | None) -> str:
    return "" if owner is None else repr(owner.name)


def _kind_of(spec: AssetSpec) -> str:
    """The name of its set; where nobody gave it one, what it is made of."""
    match spec.partitions:
        case StaticPartitions(made_up=True, keys=keys):
            return ", ".join(map(repr, keys[:3])) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        case MultiPartitions(made_up=True, names=names):
            return " and ".join(names)
        case TimePartitions(made_up=True, cadence=cadence):
            return repr(cadence)
        case other:
            return repr(None if other is None else other.name)


def call_job(
    definitions: Definitions, name: str, params: dict[str, Json], *, priority: int, tags: dict[str, str]
) -> RunToAdmit:
    """One call of a job. Raises `UnknownName` and `Conflict` for parameters that it does not take."""
    spec = definitions.job.get(name)
    if spec is None:
        raise UnknownName(f"there is no job {name!r}", hint=nearest_hint(name, definitions.job))
    check_params(spec, params, by="hand")
    return RunToAdmit(
        kind="job",
        target=name,
        steps=(StepToAdmit(name),),
        origin="manual",
        params=params,
        tags={**spec.tags, **tags},
        priority=priority + spec.priority,
        **_of_job(spec),
    )


def _of_job(spec: JobSpec) -> dict[str, Any]:
    """What `overlap` says of a run. One that goes alone never begins with its commit: the queue knows what is under
    way."""
    alone = spec.overlap != "allow"
    return {"policy": spec.overlap if spec.overlap != "queue" else "allow", "held": True} if alone else {}


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


def check_reports(
    definitions: Definitions, reports: Iterable[ReportedMaterialization], now: float
) -> tuple[ReportedMaterialization, ...]:
    """The reports, with their partitions resolved. Raises unless each names an asset, and a partition exactly where the
    asset has them."""
    return tuple(_check_report(definitions, report, now) for report in reports)


def _check_report(definitions: Definitions, report: ReportedMaterialization, now: float) -> ReportedMaterialization:
    spec = find_asset(definitions, report.asset)
    if spec.partitions is None and report.key is None:
        return report
    if spec.partitions is None or report.key is None:
        problem, hint = "has no partitions", "leave partition= (--partition) out"
        if spec.partitions is not None:
            problem, hint = "is partitioned; the report names no partition", "name it: partition= (--partition KEY)"
        raise Conflict(f"a Report for the asset {report.asset!r}, which {problem}", hint=hint)
    ref = partition_ref(spec.partitions, report.key, now, repr(spec.name))
    return replace(report, key=ref.key, number=ref.number, parts=ref.parts)


def window_key(definitions: Definitions, set: str | None, number: int) -> str | None:
    """The key of a window of time, which may never have been used; None for sets whose keys are the store's."""
    spec = None if set is None else definitions.partition_set.get(set)
    return spec.key(number) if isinstance(spec, TimePartitions) else None
