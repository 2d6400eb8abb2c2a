"""Backfills: asking for them, watching them, changing them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as InPath

from freshet.engine.backfill.active import BackfillView
from freshet.engine.backfill.select import BackfillRequest
from freshet.http.api.context import Api, Before, Limit
from freshet.http.models import BackfillAnswer, BackfillAssetAnswer, BackfillBody

__all__ = ["router"]

router = APIRouter(prefix="/backfills", tags=["backfills"])

BackfillId = Annotated[int, InPath(ge=1, le=2**63 - 1)]


@router.get("")
async def list_backfills(api: Api, limit: Limit = 50, before: Before = None) -> tuple[BackfillAnswer, ...]:
    """Backfills, newest first; `before`: the id of the last one seen."""
    return tuple(_answer(view) for view in await api.control.backfills(limit=limit, before=before))


@router.post("", status_code=201)
async def begin_backfill(api: Api, body: BackfillBody) -> BackfillAnswer:
    """Make many partitions: durable when this answers, its runs follow a few at a time."""
    request = BackfillRequest(
        assets=body.assets,
        select=body.select,
        partitions=body.partitions,
        upstream=body.upstream,
        downstream=body.downstream,
        single_run=body.single_run,
        priority=body.priority,
        tags=body.tags,
    )
    return _answer(await api.control.begin_backfill(request))


@router.get("/{backfill_id}")
async def get_backfill(api: Api, backfill_id: BackfillId) -> BackfillAnswer:
    """One backfill as it stands."""
    return _answer(await api.control.backfill(backfill_id))


@router.post("/{backfill_id}/pause")
async def pause_backfill(api: Api, backfill_id: BackfillId) -> BackfillAnswer:
    """Ask for no more runs; those under way end."""
    return _answer(await api.control.change_backfill(backfill_id, "pause"))


@router.post("/{backfill_id}/resume")
async def resume_backfill(api: Api, backfill_id: BackfillId) -> BackfillAnswer:
    """Go on."""
    return _answer(await api.control.change_backfill(backfill_id, "resume"))


@router.post("/{backfill_id}/cancel")
async def cancel_backfill(api: Api, backfill_id: BackfillId) -> BackfillAnswer:
    """End it, with its runs that have not ended."""
    return _answer(await api.control.change_backfill(backfill_id, "cancel"))


@router.post("/{backfill_id}/retry", status_code=201)
async def retry_backfill(api: Api, backfill_id: BackfillId) -> BackfillAnswer:
    """Begin a new backfill, which this answers with, of what one that has ended left unmade."""
    return _answer(await api.control.change_backfill(backfill_id, "retry"))


def _answer(view: BackfillView) -> BackfillAnswer:
    row = view.row
    asked = {name: row.request[name] for name in ("assets", "select", "partitions", "upstream", "downstream")}
    return BackfillAnswer(
        **asked,
        id=row.id,
        state=row.state,
        single_run=row.request["single_run"],
        retry_of=row.request["retry_of"],
        priority=row.priority,
        tags=row.tags,
        created_at=row.created_at,
        ended_at=row.ended_at,
        error=row.error,
        progress=tuple(BackfillAssetAnswer.model_validate(one, from_attributes=True) for one in view.assets),
        runs=view.runs,
        eta=view.eta,
        planned_runs=view.planned_runs,
        notes=view.notes,
        retried_by=view.retried_by,
    )
