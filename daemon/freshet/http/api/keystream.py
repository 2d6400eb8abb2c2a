"""The body of a request about many keys: JSON of some size, or lines without an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Literal, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from freshet.engine.pieces import KEYS
from freshet.errors import Conflict, ValueFormatError
from freshet.http.api.keylines import KeyLines
from freshet.store.records import BareKeys, Pair

__all__ = ["form_of", "in_lines", "pieces_of", "read_body"]

Form = Literal["json", "ndjson", "text"]
Model = TypeVar("Model", bound=BaseModel)

BODY_MAX = 1 << 20
"""Bytes of a JSON body: what is parsed in one go without holding up others."""
_STEP = 64 << 10
"""Bytes of lines that are read in one go."""
_FORMS: dict[str, Form] = {
    "": "json",
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/plain": "text",
}


def in_lines(model: type[BaseModel]) -> dict[str, Any]:
    """How the document describes such a body."""
    lines = {"schema": {"type": "string", "description": "a key a line"}}
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {
        "requestBody": {
            "required": True,
            "content": {**content, "application/x-ndjson": lines, "text/plain": lines},
        }
    }


def form_of(request: Request) -> Form:
    """The form that the request says its body has."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in _FORMS:
        raise ValueFormatError(
            f"a body of the type {given!r} is not understood here",
            hint=f"send one of {', '.join(filter(None, _FORMS))}",
        )
    return _FORMS[given]


async def read_body(request: Request, model: type[Model]) -> Model:
    """A JSON body, checked. Raises `RequestValidationError`, and `ValueFormatError` for a large one."""
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > BODY_MAX:
            raise ValueFormatError(
                f"the JSON body is larger than {BODY_MAX} bytes",
                hint="send many keys as application/x-ndjson or text/plain, one a line",
            )
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        found = error.errors(include_context=False, include_url=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None


async def pieces_of(request: Request, form: Literal["ndjson", "text"]) -> AsyncIterator[Sequence[Pair]]:
    """The keys of a body in lines, some thousand at a time, as they come."""
    lines, held = KeyLines(form), _Held()
    try:
        async for data in request.stream():
            for start in range(0, len(data), _STEP):
                held.take(lines.feed(data[start : start + _STEP]))
                for piece in held.pieces(KEYS):
                    yield piece
                await asyncio.sleep(0)
    except ClientDisconnect:
        raise Conflict("the request ended before its last line", hint="nothing of it holds; send it again") from None
    held.take(lines.end())
    for piece in held.pieces(1):
        yield piece


class _Held:
    """Keys that do not fill a piece yet: bare ones, until one with metadata comes."""

    def __init__(self) -> None:
        self._bare: list[str] = []
        self._pairs: list[Pair] = []

    def take(self, found: Sequence[Pair]) -> None:
        if isinstance(found, BareKeys) and not self._pairs:
            self._bare += found.names
        elif found:
            self._pairs += [*((name, {}) for name in self._bare), *found]
            self._bare.clear()

    def pieces(self, least: int) -> Iterator[Sequence[Pair]]:
        """Those of at least so many keys, which are held no more."""
        while len(self._bare) >= least:
            yield BareKeys(tuple(self._bare[:KEYS]))
            del self._bare[:KEYS]
        while len(self._pairs) >= least:
            yield tuple(self._pairs[:KEYS])
            del self._pairs[:KEYS]
