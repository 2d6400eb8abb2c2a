"""From what an evaluation said to what the store commits. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from freshet.definitions.flow import Flow
from freshet.definitions.flow_check import target_problem
from freshet.definitions.graph import Definitions
from freshet.engine.requests import check_partitions, check_reports, sensor_run
from freshet.engine.sensors import InFlight, TickTally
from freshet.errors import DefinitionError
from freshet.executors.base import RequestedRun, TickEnd
from freshet.store.records import Cause, RunToAdmit, TickCommit, TickerRow, TickResult
from freshet.store.records.pending import RequestToKeep

__all__ = ["asked_for", "has_effects", "tally", "tick_commit", "under"]


def has_effects(end: TickEnd, row: TickerRow) -> bool:
    """Whether an outcome needs a commit; a recovery from failure is an effect, and so is the end of a wait."""
    return bool(
        end.cursor_changed
        or end.runs
        or end.partitions
        or end.reports
        or end.deliveries
        or end.ledger.put
        or end.ledger.remove
        or row.failures
        or row.retry_at is not None
    )


def tick_commit(definitions: Definitions, row: TickerRow, flight: InFlight, end: TickEnd, *, now: float) -> TickCommit:
    """The commit of one outcome. Raises `FreshetError` where the sensor asked for what cannot be."""
    runs, pending = asked_for(definitions, row.name, end.runs, now, end.cause)
    return TickCommit(
        ticker=row.id,
        tick_id=end.tick_id,
        revision=flight.revision,
        started_at=flight.began,
        ended_at=now,
        cursor=end.cursor,
        cursor_changed=end.cursor_changed,
        ledger=end.ledger,
        partitions=tuple(check_partitions(definitions, delta) for delta in end.partitions),
        runs=runs,
        pending=pending,
        release=flight.release,
        reports=check_reports(definitions, end.reports, now),
        skip=end.skip,
        version=definitions.version,
        final=end.status != "checkpoint",
        deliveries=end.handled,
        depth=end.cause[0],
    )


def asked_for(
    definitions: Definitions, sensor: str, asked: Sequence[RequestedRun], now: float, cause: Cause = (0, None)
) -> tuple[tuple[RunToAdmit, ...], tuple[RequestToKeep, ...]]:
    """The runs that a sensor's requests are, or the requests that wait, as its options say. `cause`: of
    those that name none. Raises `FreshetError`."""
    spec = definitions.sensor.get(sensor)
    flow = Flow() if spec is None else spec.flow
    made = partial(sensor_run, definitions, sensor=sensor, origin=f"sensor:{sensor}", now=now, check=flow.batch is None)
    runs = tuple(_because(made(one), one.cause or cause) for one in asked)
    if spec is not None and flow.batch is not None:
        for target in {run.target for run in runs} - {spec.target}:
            if (problem := target_problem(definitions, spec, target)) is not None:
                raise DefinitionError(problem[0], hint=problem[1])
    runs = tuple(under(flow, run) for run in runs)
    if not flow.waits:
        return runs, ()
    keep = zip(runs, asked, strict=True)
    return (), tuple(RequestToKeep(run, one.params, one.tags, one.priority) for run, one in keep)


def _because(run: RunToAdmit, cause: Cause) -> RunToAdmit:
    return replace(run, depth=cause[0], cause=cause[1]) if cause[0] else run


def under(flow: Flow, run: RunToAdmit) -> RunToAdmit:
    """The run, under the sensor's `overlap`. One that queues never begins with its commit: only then is it known which
    is first."""
    if flow.overlap == "allow":
        return run
    queues = flow.overlap == "queue"
    return replace(run, overlap=flow.overlap, in_order=queues, held=queues or run.held)


def tally(report: TickTally, commit: TickCommit, result: TickResult) -> None:
    """Add one commit to what a tick by hand reports."""
    run_ids = {admission.request: admission.run_id for admission in result.admitted}
    report.runs.extend(
        {"run": run_ids.get(index), "target": run.target, "partition": run.key, "run_key": run.run_key}
        for index, run in enumerate(commit.runs)
        if index in run_ids
    )
    report.dropped.extend(
        {
            "target": one.target,
            "partition": one.key,
            "run_key": one.run_key or None,
            "held_by": one.run_id,
            "reason": one.reason,
        }
        for one in result.dropped
    )
    report.pending.extend({"request": one.id, "target": one.target, "partition": one.key} for one in result.pending)
    report.partitions.extend(
        {"set": delta.set, "add": [key for key, _ in delta.add], "delete": list(delta.delete)}
        for delta in commit.partitions
    )
    report.reports.extend({"asset": one.asset, "partition": one.key} for one in commit.reports)
    report.ledger_added += len(commit.ledger.put)
    report.ledger_removed += len(commit.ledger.remove)
