"""Schedules: when they come next, and what became of their instants."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter

from freshet.definitions.schedule import ScheduleSpec
from freshet.engine.control import ScheduleView
from freshet.http.api.context import Api, Limit, known
from freshet.http.models import ScheduleAnswer, ScheduleTickAnswer
from freshet.store.schedules import schedule_ticks

__all__ = ["router"]

router = APIRouter(prefix="/schedules", tags=["schedules"])


@router.get("")
async def list_schedules(api: Api) -> tuple[ScheduleAnswer, ...]:
    """All schedules, by name."""
    specs = api.control.definitions.schedule
    return tuple(_answer(specs[one.name], one) for one in api.control.schedules() if one.name in specs)


@router.get("/{name}/history")
async def schedule_history(api: Api, name: str, limit: Limit = 50) -> tuple[ScheduleTickAnswer, ...]:
    """What became of its instants, latest first: fired, or skipped and why."""
    known(api.control.definitions.schedule, name, "schedule")
    rows = await api.control.store.read(partial(schedule_ticks, name=name, limit=limit))
    return tuple(
        ScheduleTickAnswer(
            nominal=row.nominal,
            until=row.until,
            count=row.count,
            status=row.status,
            reason=row.reason,
            decided_at=row.decided_at,
        )
        for row in rows
    )


def _answer(spec: ScheduleSpec, view: ScheduleView) -> ScheduleAnswer:
    return ScheduleAnswer(
        name=spec.name,
        doc=spec.doc,
        cron=spec.cron,
        every=None if spec.every is None else spec.every / 1000,
        timezone=spec.timezone,
        target=spec.target,
        misfire=spec.misfire,
        status=view.status,
        next=view.next,
        last_fired=view.last_fired,
        failures=view.failures,
        last_error=view.last_error,
        file=spec.source.file if spec.source else None,
        line=spec.source.line if spec.source else None,
    )
