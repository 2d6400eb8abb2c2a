"""Every error in one form: `{"error": {type, message, hint, file, line}}`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from freshet.errors import (
    Conflict,
    DefinitionError,
    FreshetError,
    HostError,
    PartitionKeyError,
    StoreUnavailable,
    TickRefused,
    UnknownName,
    ValueFormatError,
)
from freshet.http.models import ErrorAnswer, ErrorBody

__all__ = ["ERROR_ANSWERS", "handle_errors", "status_of"]

_STATUS: tuple[tuple[type[FreshetError], int], ...] = (
    (UnknownName, 404),
    (Conflict, 409),
    (TickRefused, 409),
    (PartitionKeyError, 400),
    (DefinitionError, 400),
    (ValueFormatError, 400),
    (StoreUnavailable, 503),
    (HostError, 503),
)

ERROR_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "a value that no definition allows"},
    404: {"model": ErrorAnswer, "description": "an unknown name; the nearest one is in the hint"},
    409: {"model": ErrorAnswer, "description": "does not fit the present state"},
    422: {"model": ErrorAnswer, "description": "the request does not have the documented form"},
    503: {"model": ErrorAnswer, "description": "the store or the code host cannot work now; nothing was acknowledged"},
}
"""For the OpenAPI document: what every endpoint may answer."""


def status_of(error: FreshetError) -> int:
    """The HTTP status of an error; 500 for one that no request can cause."""
    return next((code for kind, code in _STATUS if isinstance(error, kind)), 500)


def handle_errors(app: FastAPI) -> None:
    """Teach the application the form."""
    app.add_exception_handler(FreshetError, _freshet)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


def _answer(code: int, body: ErrorBody, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(ErrorAnswer(error=body).model_dump(mode="json"), status_code=code, headers=headers)


async def _freshet(request: Request, error: Exception) -> Response:
    assert isinstance(error, FreshetError)  # registered for it
    file, line = (error.file, error.line) if isinstance(error, DefinitionError) else (None, None)
    code = status_of(error)
    body = ErrorBody(type=type(error).__name__, message=error.message, hint=error.hint, file=file, line=line)
    return _answer(code, body, {"Retry-After": "1"} if code == 503 else None)


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # registered for it
    said = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    body = ErrorBody(
        type="BadRequest", message="; ".join(said), hint="the form of each request is in /api/v1/openapi.json"
    )
    return _answer(422, body)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # registered for it
    kind = {404: "NotFound", 405: "MethodNotAllowed"}.get(error.status_code, "BadRequest")
    body = ErrorBody(
        type=kind,
        message=f"{request.method} {request.url.path}: {error.detail}",
        hint="all paths are in /api/v1/openapi.json",
    )
    return _answer(error.status_code, body, dict(error.headers or {}))


async def _bug(request: Request, error: Exception) -> Response:
    """The server logs the traceback; the client learns where to look."""
    body = ErrorBody(
        type="InternalError",
        message=f"{type(error).__name__} in the daemon",
        hint="the daemon's log has the traceback; please report it",
    )
    return _answer(500, body)
