"""From what the engine and the store hand out to what the API says. Pure."""

from __future__ import annotations

from dataclasses import asdict

from freshet.definitions.asset import AssetSpec
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.deadlines import lapse_deadline, state_at
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.sensor import SensorSpec
from freshet.engine import automation
from freshet.engine.blocked import Blocked
from freshet.engine.control import SensorState, TickReport
from freshet.executors.base import LoadProblem
from freshet.http.models import (
    AssetAnswer,
    AssetCounts,
    BlockedAnswer,
    CursorAnswer,
    EventAnswer,
    FreshnessAnswer,
    FreshnessState,
    PartitionAnswer,
    ProblemAnswer,
    RunAnswer,
    SensorAnswer,
    StepAnswer,
    SubRunAnswer,
    TickAnswer,
    VersionsAnswer,
)
from freshet.store.records import Event, FreshnessRow, RunRow, StepRow
from freshet.store.views import AssetSummary, PartitionRow

__all__ = [
    "asset_answer",
    "cursor_answer",
    "event_answer",
    "freshness_state",
    "partition_answer",
    "problem_answer",
    "run_answer",
    "sensor_answer",
    "tick_answer",
]


def problem_answer(problem: LoadProblem) -> ProblemAnswer:
    """A problem of a load."""
    return ProblemAnswer(**asdict(problem))


def sensor_answer(spec: SensorSpec, state: SensorState) -> SensorAnswer:
    """A sensor as declared and as it stands."""
    return SensorAnswer(
        name=spec.name,
        type=spec.type,
        doc=spec.doc,
        status=state.status,
        in_flight=state.in_flight,
        looking_since=state.looking_since,
        interval=spec.interval,
        timeout=spec.timeout,
        target=spec.target,
        partitions=spec.partitions,
        options=spec.options,
        due_at=state.due_at,
        ticks=state.ticks,
        idle_ticks=state.idle_ticks,
        failures=state.failures,
        last_tick_at=state.last_tick_at,
        last_error=state.last_error,
        quarantined=state.quarantined,
        waits_for=state.waits_for,
        notice=state.notice,
        isolated=state.isolated,
        revision=state.revision,
        pending=state.pending,
        lag=state.lag,
        lag_since=state.lag_since,
        parked=state.parked,
        strikes=state.strikes,
        file=spec.source.file if spec.source else None,
        line=spec.source.line if spec.source else None,
    )


def cursor_answer(state: SensorState, *, has_ledger: bool) -> CursorAnswer:
    """What a sensor remembers."""
    return CursorAnswer(sensor=state.name, cursor=state.cursor, revision=state.revision, has_ledger=has_ledger)


def tick_answer(report: TickReport) -> TickAnswer:
    """A tick by hand."""
    return TickAnswer(**asdict(report))


def asset_answer(
    definitions: Definitions, spec: AssetSpec, row: AssetSummary, counts: automation.AssetCounts, now: float
) -> AssetAnswer:
    """An asset as declared and as it stands at `now`."""
    return AssetAnswer(
        name=spec.name,
        doc=spec.doc,
        group=spec.group,
        partitions=spec.partitions.name if spec.partitions else None,
        upstream=tuple(dep.asset for dep in spec.deps),
        downstream=definitions.downstream[spec.name],
        automation=None if spec.automation is None else _label(spec.automation),
        external=spec.external,
        tags=spec.tags,
        file=spec.source.file if spec.source else None,
        line=spec.source.line if spec.source else None,
        counts=AssetCounts.model_validate(counts, from_attributes=True),
        materialized_at=row.materialized_at,
        run_id=row.materialized_run,
        metadata=row.metadata,
        code_version=spec.code_version,
        made_by=row.versions.code,
        outdated=row.versions.outdated(spec.code_version),
        data_version=row.versions.data,
        freshness=_freshness(spec, row, now),
    )


def partition_answer(definitions: Definitions, row: PartitionRow) -> PartitionAnswer:
    """A partition, and what the assets over its set have made of it."""
    return PartitionAnswer(
        key=row.key,
        number=row.number,
        added_at=row.added_at,
        metadata=row.metadata,
        states=row.states,
        versions={
            name: VersionsAnswer(
                data=one.data, code=one.code, outdated=one.outdated(definitions.asset[name].code_version)
            )
            for name, one in row.versions.items()
        },
    )


def freshness_state(policy: FreshnessSpec | None, row: FreshnessRow, now: float) -> FreshnessState | None:
    """Where an asset stands at `now`: the store remembers a state as of the last transition."""
    if policy is None:
        return None
    return state_at(policy, row.counts, now, row.state)


def _freshness(spec: AssetSpec, summary: AssetSummary, now: float) -> FreshnessAnswer | None:
    policy, row = spec.freshness, summary.freshness
    if policy is None:
        return None
    answer = FreshnessAnswer(
        within=policy.within,
        warn=policy.warn,
        cron=policy.cron,
        timezone=policy.timezone,
        window=policy.window,
        per_partition=policy.per_partition,
        state=None if row is None else freshness_state(policy, row, now),
        baseline_at=None if row is None else row.baseline_at,
        deadline=None if row is None else lapse_deadline(policy, row.counts),
    )
    if not policy.per_partition or spec.partitions is None:
        return answer
    worst: FreshnessState = "lapsed" if summary.lapsed else "warn" if summary.warned else "fresh"
    alone = {"state": worst, "warned": summary.warned, "lapsed": summary.lapsed}
    return answer.model_copy(update={**alone, "baseline_at": None, "deadline": None})


def _label(condition: AutomationCondition) -> str:
    if condition.label:
        return condition.label
    parts = condition.children()
    word = {"And": " & ", "Or": " | "}.get(type(condition).__name__)
    if word:
        return word.join(map(_label, parts))
    return f"{type(condition).__name__}({', '.join(map(_label, parts))})"


def run_answer(row: RunRow, blocked: Blocked | None = None) -> RunAnswer:
    """A run with its steps."""
    return RunAnswer(
        id=row.id,
        kind=row.kind,
        target=row.target,
        set=row.set,
        partition=row.key,
        state=row.state,
        priority=row.priority,
        params=row.params,
        tags=row.tags,
        run_key=row.run_key,
        origin=row.origin,
        version=row.version,
        interruptions=row.interruptions,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        error=row.error,
        steps=tuple(_step(step) for step in row.steps),
        blocked_by=None if blocked is None else blocked.text,
        blocked=None if blocked is None else BlockedAnswer(kind=blocked.kind, name=blocked.name, text=blocked.text),
        depth=row.depth,
        condition=row.condition,
        parent=row.parent,
        sub_runs=tuple(
            SubRunAnswer(id=one.id, position=one.position, target=one.target, partition=one.key, state=one.state)
            for one in row.sub_runs
        ),
    )


def _step(row: StepRow) -> StepAnswer:
    return StepAnswer(
        position=row.position,
        name=row.name,
        state=row.state,
        attempt=row.attempt,
        failures=row.failures,
        not_before=row.not_before,
        started_at=row.started_at,
        ended_at=row.ended_at,
        error=row.error,
        metadata=row.metadata,
        cached=row.cached,
    )


def event_answer(event: Event) -> EventAnswer:
    """An event as committed."""
    return EventAnswer(
        seq=event.seq,
        txn=event.txn,
        at=event.at,
        type=event.type,
        asset=event.asset,
        set=event.set,
        partition=event.partition,
        run_id=event.run_id,
        tick_id=event.tick_id,
        data=event.data,
    )
