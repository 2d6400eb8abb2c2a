"""HTTP over a Unix socket."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import httpcore
import httpx

__all__ = ["UnixTransport"]


class UnixTransport(httpx.HTTPTransport):
    """httpx's transport to the socket at `path`, without TLS (reading the certificates takes 40 ms)."""

    def __init__(self, path: str) -> None:
        super().__init__(uds=path, verify=False)
        self._pool = httpcore.ConnectionPool(uds=path, network_backend=_Backend())


class _Backend(httpcore.SyncBackend):
    """httpcore leaves its socket open where nobody answers. So ask with our own first."""

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(timeout)
            probe.connect(path)
        return super().connect_unix_socket(path, timeout, socket_options)
