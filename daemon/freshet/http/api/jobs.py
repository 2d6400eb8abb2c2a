"""Jobs: calling them."""

from __future__ import annotations

from fastapi import APIRouter

from freshet.http.api.context import Api
from freshet.http.models import CallBody, RunsAdmitted

__all__ = ["router"]

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.post("/{name}/call", status_code=201)
async def call(api: Api, name: str, body: CallBody) -> RunsAdmitted:
    """Ask for one run of a job, durable when this answers."""
    run = await api.control.call(name, body.params, priority=body.priority, tags=body.tags)
    return RunsAdmitted(runs=(run,))
