"""The daemon's API over its Unix socket, with as little of our own in between as can be: it is not what is measured."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from freshet.http.unixpath import reachable

__all__ = ["Api"]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("freshet", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with reachable(self._path) as short:
            self.sock.connect(short)


class Api:
    """One connection that stays open. Answers are plain JSON; an error raises `AssertionError` with its text."""

    def __init__(self, socket_path: Path, *, timeout: float = 120.0) -> None:
        self._connection = _UnixConnection(socket_path, timeout)

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str) -> Any:
        """GET /api/v1/`path`."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any = None) -> Any:
        """POST `body` as JSON."""
        return self._ask("POST", path, json.dumps({} if body is None else body).encode())

    def send(self, method: str, path: str, body: bytes, form: str) -> Any:
        """Any method, with a body of any type."""
        return self._ask(method, path, body, form)

    def _ask(self, method: str, path: str, body: bytes | None, form: str = "application/json") -> Any:
        headers = {} if body is None else {"Content-Type": form}
        self._connection.request(method, f"/api/v1/{path}", body=body, headers=headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise AssertionError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text)
