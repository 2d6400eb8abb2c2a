"""Jobs: calling them."""

from __future__ import annotations

from fastapi import APIRouter

from freshet.engine.parameters import typed
from freshet.http.api.context import Api
from freshet.http.models import CallBody, RunsAdmitted

__all__ = ["router"]

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.post("/{name}/call", status_code=201)
async def call(api: Api, name: str, body: CallBody) -> RunsAdmitted:
    """Ask for one run of a job, durable when this answers."""
    params = {**typed(api.control.definitions.job.get(name), body.texts), **body.params}
    run = await api.control.call(name, params, priority=body.priority, tags=body.tags)
    return RunsAdmitted(runs=(run,))
