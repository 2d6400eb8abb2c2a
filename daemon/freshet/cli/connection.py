"""The connection to the daemon's API: requests, answers as typed models, and errors as the classes they were there."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from freshet import errors
from freshet.cli.transport import UnixTransport
from freshet.errors import DaemonUnreachable, DefinitionError, FreshetError
from freshet.http import models
from freshet.http.unixpath import reachable

__all__ = ["TIMEOUT", "Connection", "error_of", "given", "parsed", "quoted"]

T = TypeVar("T")
_Model = TypeVar("_Model", bound=BaseModel)

TIMEOUT = httpx.Timeout(60.0, connect=5.0)
"""Of a request that is answered at once."""
_MARGIN = 10.0
"""Seconds that an answer may take beyond what a long poll was asked to wait."""


class Connection:
    """Over the daemon's Unix socket, or to `url`. Use it as a context manager.

    What asks raises the `FreshetError` that the daemon answered with, and `DaemonUnreachable` where none answers.
    """

    def __init__(self, socket: Path | None = None, *, url: str | None = None) -> None:
        self._socket = socket
        self._url = url
        self._open = ExitStack()
        self._http: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http = None
        self._open.close()

    # --- asking ---------------------------------------------------------------------------------------------

    def _one(
        self,
        model: type[_Model],
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        body: BaseModel | None = None,
        wait: float | None = 0.0,
    ) -> _Model:
        """`wait`: what the daemon was asked to wait, in seconds; None: as long as it takes."""
        content = None if body is None else body.model_dump_json(exclude_unset=True).encode()
        timeout = None if wait is None else max(60.0, wait + _MARGIN)
        answer = self._ask(method, path, params, content, httpx.Timeout(timeout, connect=5.0))
        return parsed(TypeAdapter(model), answer)

    def _many(self, model: type[_Model], path: str, **params: Any) -> list[_Model]:
        every = cast("TypeAdapter[list[_Model]]", TypeAdapter(list[model]))  # type: ignore[valid-type]  # pyright: ignore[reportInvalidTypeForm]
        return parsed(every, self._ask("GET", path, given(**params), None, TIMEOUT))

    def _ask(
        self, method: str, path: str, params: dict[str, Any] | None, content: bytes | None, timeout: httpx.Timeout
    ) -> httpx.Response:
        headers = {} if content is None else {"content-type": "application/json"}
        with self._asking():
            answer = self._client().request(
                method, path, params=params, content=content, headers=headers, timeout=timeout
            )
        if answer.status_code >= 400:
            raise error_of(answer)
        return answer

    def _client(self) -> httpx.Client:
        if self._http is None:
            if self._url is not None:
                http = httpx.Client(base_url=f"{self._url.rstrip('/')}/api/v1/")
            else:
                assert self._socket is not None
                path = self._open.enter_context(reachable(self._socket))
                http = httpx.Client(transport=UnixTransport(path), base_url="http://freshet/api/v1/")
            self._http = self._open.enter_context(http)
        return self._http

    @contextmanager
    def _asking(self) -> Generator[None]:
        """Say what could not be reached, and what to do."""
        try:
            yield
        except httpx.InvalidURL as error:
            raise DaemonUnreachable(f"{self._url}: {error}", hint="write it as http://host:port") from None
        except httpx.ReadTimeout:
            raise DaemonUnreachable(
                f"the daemon at {self._where} took the request but does not answer",
                hint="it may still be starting; its log says",
            ) from None
        except (httpx.TransportError, OSError) as error:
            raise self._unreachable(error) from None

    @property
    def _where(self) -> str:
        return self._url or str(self._socket)

    def _unreachable(self, error: Exception) -> DaemonUnreachable:
        said = str(error)
        if "Permission denied" in said:
            return DaemonUnreachable(
                f"not allowed to use the socket {self._where}", hint="run this as the user that runs the daemon"
            )
        what = "at" if self._url else "on the socket"
        return DaemonUnreachable(
            f"no daemon answers {what} {self._where} ({said})",
            hint="start it with `freshet run` (or `make run`), or name another with --config or --url",
        )


def quoted(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def given(**params: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in params.items() if value is not None}


def parsed(adapter: TypeAdapter[T], answer: httpx.Response) -> T:
    """The answer's body. Raises `DaemonUnreachable` where it is another program's, or another release's."""
    try:
        return adapter.validate_json(answer.content)
    except ValidationError as error:
        raise DaemonUnreachable(
            f"{answer.url}: this is not the answer of a Freshet daemon of this release ({error.error_count()} errors)",
            hint="use the freshet command of the release that the daemon runs",
        ) from None


def error_of(answer: httpx.Response) -> FreshetError:
    """The daemon's error as the class it was there."""
    try:
        body = models.ErrorAnswer.model_validate_json(answer.content).error
    except ValidationError:
        return DaemonUnreachable(
            f"{answer.url}: status {answer.status_code}, and not from a Freshet daemon", hint="check --url"
        )
    kind: type[FreshetError] = getattr(errors, body.type) if body.type in errors.__all__ else FreshetError
    if issubclass(kind, DefinitionError):
        return kind(body.message, hint=body.hint, file=body.file, line=body.line)
    return kind(body.message, hint=body.hint)
