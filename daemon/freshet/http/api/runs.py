"""Runs: asking for them, watching them, ending them."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import anyio
from fastapi import APIRouter, Query

from freshet.engine.control import EventStream
from freshet.errors import Conflict, UnknownName
from freshet.http.api.context import Api, Before, Context, Limit, RunId
from freshet.http.api.convert import run_answer
from freshet.http.models import MaterializeBody, PriorityBody, RunAnswer, RunsAdmitted, RunState
from freshet.store import queries
from freshet.store.records import RunRow

__all__ = ["find_run", "router"]

router = APIRouter(prefix="/runs", tags=["runs"])


@router.get("")
async def list_runs(
    api: Api,
    state: RunState | None = None,
    target: str | None = None,
    limit: Limit = 50,
    before: Before = None,
) -> tuple[RunAnswer, ...]:
    """Runs, newest first; `target`: those that make this asset or call this job, also among others; `before`: the id of
    the last one seen."""
    read = partial(queries.runs, state=state, step=target, limit=limit, before=before)
    return tuple(_answer(api, row) for row in await api.control.store.read(read))


@router.post("", status_code=201)
async def materialize(api: Api, body: MaterializeBody) -> RunsAdmitted:
    """Ask for assets: one run for each group of the selection that shares a partition, durable when this answers."""
    runs = await api.control.materialize(
        body.assets,
        key=body.partition,
        upstream=body.upstream,
        downstream=body.downstream,
        priority=body.priority,
        tags=body.tags,
    )
    return RunsAdmitted(runs=runs)


@router.get("/{run_id}")
async def get_run(api: Api, run_id: RunId) -> RunAnswer:
    """One run, with its steps."""
    return _answer(api, await find_run(api, run_id))


@router.post("/{run_id}/cancel")
async def cancel(api: Api, run_id: RunId) -> RunAnswer:
    """End a queued or running run, with all its processes."""
    return _answer(api, await api.control.cancel(run_id))


@router.put("/{run_id}/priority")
async def set_priority(api: Api, run_id: RunId, body: PriorityBody) -> RunAnswer:
    """Let what is still to start of a run start at another priority."""
    await api.control.queue.prioritize(run_id, body.priority)
    return _answer(api, await find_run(api, run_id))


@router.post("/{run_id}/retry", status_code=201)
async def retry(
    api: Api, run_id: RunId, whole: Annotated[bool, Query(alias="all", description="also what succeeded")] = False
) -> RunsAdmitted:
    """Ask for a new run of the steps that did not succeed in a run that failed or was canceled, or of all steps of a
    run that has ended, of the same partition and parameters and without a run key; durable when this answers."""
    return RunsAdmitted(runs=(await api.control.retry(run_id, whole=whole),))


@router.get("/{run_id}/wait")
async def wait(api: Api, run_id: RunId, timeout: Annotated[float, Query(ge=0, le=300)] = 30.0) -> RunAnswer:
    """The run as soon as it has ended, or as it stands after `timeout` seconds."""
    with anyio.move_on_after(timeout):
        await _until_ended(api, run_id)
    return _answer(api, await find_run(api, run_id))


async def find_run(api: Context, run_id: int) -> RunRow:
    """The run, or `UnknownName`."""
    row = await api.control.store.read(partial(queries.run, run_id=run_id))
    if row is None:
        raise UnknownName(f"there is no run {run_id}", hint="freshet runs lists them")
    return row


def _answer(api: Context, row: RunRow) -> RunAnswer:
    waits = row.state in ("queued", "interrupted") or (
        row.state == "started" and (row.calls or not any(step.state == "started" for step in row.steps))
    )
    return run_answer(row, api.control.blocked(row.id) if waits else None)


async def _until_ended(api: Context, run_id: int) -> None:
    """Events are subscribed to before each look at the store, so that no end falls between."""
    while not api.closing.is_set():
        with api.control.subscribe() as stream:
            if run_answer(await find_run(api, run_id)).ended:
                return
            await api.or_closing(_event_of(stream, run_id))


async def _event_of(stream: EventStream, run_id: int) -> None:
    """Return when the run may have ended."""
    try:
        while not any(one.run_id == run_id and one.type.startswith("run_") for one in await stream.next()):
            pass
    except Conflict:
        pass  # fell behind: the store knows
