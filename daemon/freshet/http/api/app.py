"""The API: everything that can be asked of the daemon, under `/api/v1`, on the Unix socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
from fastapi import APIRouter, FastAPI

from freshet.engine.control import Control
from freshet.http.api import (
    artifacts,
    assets,
    backfills,
    checks,
    events,
    inbox,
    items,
    jobs,
    journal,
    partitions,
    plugins,
    pools,
    runs,
    schedules,
    sensors,
    status,
    why,
)
from freshet.http.api.context import Context
from freshet.http.api.errors import ERROR_ANSWERS, handle_errors

__all__ = ["create_api"]


def create_api(control: Control, state_dir: Path, closing: anyio.Event) -> FastAPI:
    """The application, made outside of the event loop. `closing`: set when the server ends, so that nobody who waits
    holds it up."""
    app = FastAPI(
        title="Freshet",
        version=control.status().version,
        summary="Keeps data assets fresh.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        responses=ERROR_ANSWERS,
    )
    app.state.context = Context(control, state_dir, closing)
    handle_errors(app)
    api = APIRouter(prefix="/api/v1")
    for room in (
        status,
        assets,
        checks,
        why,
        sensors,
        schedules,
        runs,
        plugins,
        pools,
        journal,
        artifacts,
        items,
        jobs,
        inbox,
        backfills,
        partitions,
        events,
    ):
        api.include_router(room.router)
    app.include_router(api)
    asyncio.run(_build(app))
    return app


async def _build(app: FastAPI) -> None:
    """Ask for what is not there: the first request builds all routes, which would hold the daemon's loop some 60 ms."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": None,
        "server": None,
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    await app(scope, receive, send)
