"""From what a look made of deliveries to what can commit: each with its own results, or failed by itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from freshet.definitions.graph import Definitions
from freshet.engine.requests import check_partitions, check_reports, sensor_run
from freshet.errors import FreshetError
from freshet.executors.base import DeliveryEnd, TickEnd
from freshet.store.records import HandledDelivery

__all__ = ["alone", "prepared"]

_NOT_YET = ("failed", "later")
"""Outcomes of deliveries nothing of which commits."""


def prepared(
    definitions: Definitions, sensor: str, end: TickEnd, now: float, failed: Mapping[int, str] | None = None
) -> TickEnd:
    """The outcome with the results of its deliveries joined to it; those that cannot be have failed. `failed`: the
    reasons of those that the store refused."""
    if not end.deliveries:
        return end
    runs, partitions, reports = list(end.runs), list(end.partitions), list(end.reports)
    handled: list[HandledDelivery] = []
    for one in end.deliveries:
        reason = (failed or {}).get(one.id)
        settled = _failed(one, reason) if reason is not None else _settled(definitions, sensor, one, now)
        handled.append(settled)
        if settled.outcome not in _NOT_YET:
            runs += one.runs
            partitions += one.partitions
            reports += one.reports
    return replace(end, runs=tuple(runs), partitions=tuple(partitions), reports=tuple(reports), handled=tuple(handled))


def alone(end: TickEnd) -> tuple[TickEnd, Sequence[tuple[int, TickEnd]]]:
    """What of a prepared outcome belongs to no delivery, and by delivery what belongs to each that has not failed."""
    own = {
        one.id: replace(end, runs=one.runs, partitions=one.partitions, reports=one.reports, handled=())
        for one in end.deliveries
    }
    counts = [(len(one.runs), len(one.partitions), len(one.reports)) for one in _kept(end)]
    runs, partitions, reports = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0, 0)
    rest = replace(
        end,
        runs=end.runs[: len(end.runs) - runs],
        partitions=end.partitions[: len(end.partitions) - partitions],
        reports=end.reports[: len(end.reports) - reports],
        handled=(),
    )
    return rest, [(one.id, own[one.id]) for one in _kept(end) if one.runs or one.partitions or one.reports]


def _kept(end: TickEnd) -> list[DeliveryEnd]:
    failed = {one.id for one in end.handled if one.outcome in _NOT_YET}
    return [one for one in end.deliveries if one.id not in failed]


def _failed(one: DeliveryEnd, reason: str | None) -> HandledDelivery:
    return HandledDelivery(one.id, "failed", reason)


def _settled(definitions: Definitions, sensor: str, one: DeliveryEnd, now: float) -> HandledDelivery:
    if one.outcome == "failed":
        return _failed(one, one.reason)
    if one.outcome == "later":
        return HandledDelivery(one.id, "later", one.reason, after=one.after)
    try:
        spec = definitions.sensor.get(sensor)
        check = spec is None or spec.flow.batch is None
        asked = [sensor_run(definitions, run, sensor=sensor, origin="", now=now, check=check) for run in one.runs]
        for delta in one.partitions:
            check_partitions(definitions, delta)
        check_reports(definitions, one.reports, now)
    except FreshetError as error:
        return _failed(one, str(error))
    return HandledDelivery(one.id, one.outcome, one.reason, tuple((run.target, run.key, run.run_key) for run in asked))
