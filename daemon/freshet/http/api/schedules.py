"""Schedules: when they come next, and what became of their instants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import APIRouter

from freshet.definitions.schedule import ScheduleSpec
from freshet.engine.control import ScheduleView
from freshet.http.api.context import Api, Context, Limit, known
from freshet.http.models import ScheduleAnswer, ScheduleTickAnswer, SkipAnswer
from freshet.store.records.schedules import LastTicks, SkippedInstants
from freshet.store.schedules import last_ticks, schedule_ticks

__all__ = ["router"]

router = APIRouter(prefix="/schedules", tags=["schedules"])


@router.get("")
async def list_schedules(api: Api) -> tuple[ScheduleAnswer, ...]:
    """All schedules, by name."""
    specs = api.control.definitions.schedule
    last = await api.control.store.read(last_ticks)
    views = (one for one in api.control.schedules() if one.name in specs)
    return tuple(_answer(specs[one.name], one, last.get(one.name)) for one in views)


@router.post("/{name}/pause")
async def pause_schedule(api: Api, name: str) -> ScheduleAnswer:
    """Fire nothing until it is resumed, nor after a restart."""
    return await _changed(api, name, api.control.pause_schedule)


@router.post("/{name}/resume")
async def resume_schedule(api: Api, name: str) -> ScheduleAnswer:
    """Fire again; what passed meanwhile is decided by the misfire policy. Also ends a back-off."""
    return await _changed(api, name, api.control.resume_schedule)


async def _changed(api: Context, name: str, change: Callable[[str], Awaitable[ScheduleView]]) -> ScheduleAnswer:
    spec = known(api.control.definitions.schedule, name, "schedule")
    view = await change(name)
    return _answer(spec, view, (await api.control.store.read(last_ticks)).get(name))


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


def _answer(spec: ScheduleSpec, view: ScheduleView, last: LastTicks | None) -> ScheduleAnswer:
    return ScheduleAnswer(
        name=spec.name,
        doc=spec.doc,
        cron=spec.cron,
        every=None if spec.every is None else spec.every / 1000,
        timezone=spec.timezone,
        target=spec.target,
        misfire=spec.misfire,
        overlap=spec.overlap,
        status=view.status,
        next=view.next,
        last_fired=None if last is None else last.fired,
        last_skip=None if last is None or last.skipped is None else _skip(last.skipped),
        held_at=view.held_at,
        retry_at=view.retry_at,
        failures=view.failures,
        last_error=view.last_error,
        file=spec.source.file if spec.source else None,
        line=spec.source.line if spec.source else None,
    )


def _skip(one: SkippedInstants) -> SkipAnswer:
    return SkipAnswer(first=one.first, last=one.last, count=one.count, reason=one.reason)
