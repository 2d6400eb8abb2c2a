"""What a run request leaves out, filled from the sensor's templates. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from freshet.definitions.flow import Flow
from freshet.definitions.graph import Definitions
from freshet.definitions.names import check_key
from freshet.definitions.outcome import Json
from freshet.definitions.sensor import SensorSpec
from freshet.definitions.template import fill_text, fill_value
from freshet.errors import FreshetError
from freshet.executors.base import DeliveryEnd, RequestedRun, TickEnd
from freshet.store.records import PartitionDelta

__all__ = ["filled", "filled_run"]

_Metadata = Mapping[tuple[str, str], dict[str, Json]]


def filled(definitions: Definitions, spec: SensorSpec, end: TickEnd) -> TickEnd:
    """The outcome with what its requests leave out. A delivery whose templates cannot be filled has failed.

    Raises `FreshetError` that names the template where it belongs to no delivery.
    """
    if not spec.flow.fills:
        return end
    runs = _filled(definitions, spec, end.runs, end.partitions)
    return replace(end, runs=runs, deliveries=tuple(_delivery(definitions, spec, one) for one in end.deliveries))


def _delivery(definitions: Definitions, spec: SensorSpec, one: DeliveryEnd) -> DeliveryEnd:
    try:
        return replace(one, runs=_filled(definitions, spec, one.runs, one.partitions))
    except FreshetError as error:
        return replace(one, outcome="failed", reason=str(error), runs=(), partitions=(), reports=())


def _filled(
    definitions: Definitions, spec: SensorSpec, runs: Sequence[RequestedRun], deltas: Sequence[PartitionDelta]
) -> tuple[RequestedRun, ...]:
    if not runs:
        return ()
    added = {(delta.set, key): metadata for delta in deltas for key, metadata in delta.add}
    return tuple(filled_run(definitions, spec, run, added) for run in runs)


def filled_run(definitions: Definitions, spec: SensorSpec, run: RequestedRun, added: _Metadata) -> RequestedRun:
    """One request. `added`: by set and key, the metadata of the partitions that come with it.

    First the partition, which may be made of params and tags; then params and run key, which may be made of it and of
    its metadata, too. Raises `Conflict` or `PartitionKeyError`.
    """
    flow: Flow = spec.flow
    target = run.target or spec.target
    scope: dict[str, Json] = {"target": target, "params": run.params, "tags": run.tags}
    partition = run.partition
    if partition is None and flow.partition is not None:
        partition = check_key(fill_text(flow.partition, scope, "partition"))
    if partition is not None:
        scope |= {"partition": partition, "metadata": _metadata(definitions, spec, target, partition, added)}
    params = run.params
    missing = {name: value for name, value in flow.params.items() if name not in params}
    if missing:
        params = {**params, **{name: fill_value(value, scope, f"params[{name!r}]") for name, value in missing.items()}}
    run_key = run.run_key
    if run_key is None and flow.run_key is not None:
        run_key = fill_text(flow.run_key, {**scope, "params": params}, "run_key")
    return replace(run, partition=partition, params=params, run_key=run_key)


def _metadata(
    definitions: Definitions, spec: SensorSpec, target: str | None, key: str, added: _Metadata
) -> dict[str, Json]:
    asset = definitions.asset.get(target or "")
    own = asset.partitions.name if asset is not None and asset.partitions is not None else spec.partitions
    return added.get((own or "", key), {})
