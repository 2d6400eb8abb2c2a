"""What answers on TCP: hooks, whether the daemon lives, whether it is ready, and its figures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from freshet.engine.control import Control
from freshet.http.bucket import HOOK_RATE
from freshet.http.hooks import PREFIX, Hooks
from freshet.http.metrics import CONTENT_TYPE, metrics

__all__ = ["create_app"]

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application."""


def create_app(control: Control, *, hook_rate: float = HOOK_RATE) -> Application:
    """`/hooks`, `/healthz`, `/readyz` and `/metrics`; everything else is 404, in the API's form of an error.
    `hook_rate`: see `Hooks`."""

    async def healthz(request: Request) -> Response:
        """200 while the daemon turns: 'degraded' names a problem that a restart would not mend. 503 if it is stuck."""
        status = control.status()
        hanging = status.stuck
        word = "stuck" if hanging else "degraded" if status.problem else "ok"
        body: dict[str, Any] = {"status": word, "state": status.state, "problem": status.problem, "stuck": hanging}
        return JSONResponse(body, status_code=503 if hanging else 200)

    async def readyz(request: Request) -> Response:
        """200 while it takes work: ready, no problem, no loop stuck. Plugins that were edited and are not put in force
        are told, and do not hinder those that are."""
        status = control.status()
        fine = status.state == "ready" and status.problem is None and not status.stuck
        body: dict[str, Any] = {"ready": fine, "state": status.state, "problem": status.problem}
        body |= {"plugins": "in force" if status.held_back is None else f"not in force: {status.held_back}"}
        return JSONResponse(body, status_code=200 if fine else 503)

    async def figures(request: Request) -> Response:
        """For Prometheus."""
        status = control.status()
        return Response(
            metrics(status, () if status.state == "starting" else control.sensors()), media_type=CONTENT_TYPE
        )

    routes = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", figures)]
    others = Starlette(routes=routes, exception_handlers={HTTPException: _problem})
    hooks = Hooks(control, rate=hook_rate)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        """Deliveries take the short way."""
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await hooks(scope, receive, send)
        else:
            await others(scope, receive, send)

    return application


async def _problem(request: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    hint = "the API is on the Unix socket; here are /hooks, /healthz, /readyz and /metrics" if code == 404 else ""
    message = f"{request.method} {request.url.path}: {error.detail if isinstance(error, HTTPException) else 'error'}"
    body = {"type": "NotFound" if code == 404 else "BadRequest", "message": message, "hint": hint}
    return JSONResponse({"error": {**body, "file": None, "line": None}}, status_code=code)
