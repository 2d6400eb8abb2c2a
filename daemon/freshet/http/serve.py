"""The HTTP servers in the daemon's task tree.

The signals are the daemon's: uvicorn installs no handlers, has no timer of its own here, and ends when it is told.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from socket import socket
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from freshet.http.sockets import Sockets, bind

if TYPE_CHECKING:
    from freshet.configuration import HttpSettings, Settings
    from freshet.engine.control import Control

__all__ = ["Outside", "serve"]

_GRACE = 1
"""Whole seconds that requests in flight get at the end; long polls and streams end at once by themselves."""
_GRACE_HANDED = 5
"""The same on a socket that was handed down, by which none that was taken is to be cut off."""


class Outside:
    """How far serving is. TCP may end before all else does: who comes later waits in the socket for the next daemon,
    if the service manager holds it."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        """Nothing more is taken."""
        self.begun = False
        self.ended = anyio.Event()
        self.loaded = anyio.Event()
        """All is imported and answers, the API too."""

    async def leave(self) -> None:
        """Take nothing more, and return when what was taken has been answered."""
        self.over.set()
        if self.begun:
            await self.ended.wait()


async def serve(
    control: Control,
    settings: Settings,
    *,
    ready: anyio.Event,
    sockets: Sockets | None = None,
    outside: Outside | None = None,
) -> None:
    """Answer on both sockets until cancelled.

    `ready` is set by the daemon once the engine is: only then is fastapi imported, which takes longer than all the
    rest; who asks the API earlier waits, and so does who comes to a TCP socket that was handed down. `sockets`: already
    bound by the caller, who then need not wait for this task to know that the addresses are free. `outside`: lets the
    caller end TCP first. Raises `SettingsError` where an address cannot be had.
    """
    bound = sockets or bind(settings)
    outside = outside or Outside()
    closing = anyio.Event()

    async def answer_outside() -> None:
        if bound.handed:
            await ready.wait()
        if not outside.over.is_set():
            outside.begun = True
            try:
                grace = _GRACE_HANDED if bound.handed else _GRACE
                await _answer(bound.tcp, lambda: _tcp_app(control, settings), outside.over, settings.http, grace)
            finally:
                outside.ended.set()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(answer_outside)
            await ready.wait()
            api = partial(_answer, bound.unix, lambda: _api_app(control, settings, closing), closing)
            group.start_soon(partial(api, up=outside.loaded))
            try:
                await anyio.sleep_forever()
            finally:
                closing.set()
                outside.over.set()
    finally:
        closing.set()
        outside.over.set()
        bound.close()


def _tcp_app(control: Control, settings: Settings) -> Any:
    from freshet.http.app import create_app

    return create_app(control, hook_rate=settings.http.hook_rate)


def _api_app(control: Control, settings: Settings, closing: anyio.Event) -> Any:
    from freshet.http.api.app import create_api

    return create_api(control, settings.state_dir, closing)


async def _answer(
    bound: socket,
    make: Callable[[], Any],
    closing: anyio.Event,
    anybody: HttpSettings | None = None,
    grace: int = _GRACE,
    up: anyio.Event | None = None,
) -> None:
    """Serve one application on one socket until cancelled or `closing`, and then end in good order. `anybody`: it is
    open to strangers, within these bounds. `up` is set when it is made."""
    server = await to_thread.run_sync(_server, make, anybody, grace)
    if up is not None:
        up.set()
    async with anyio.create_task_group() as group:
        group.start_soon(_shielded, server, bound)
        try:
            await closing.wait()
        finally:
            closing.set()
            server.leave.set()


async def _shielded(server: Any, bound: socket) -> None:
    with anyio.CancelScope(shield=True):
        await server.serve(sockets=[bound])


def _server(make: Callable[[], Any], anybody: HttpSettings | None, grace: int) -> Any:
    """An own uvicorn server around the application, made in a thread: the imports take some 200 ms."""
    import uvicorn

    from freshet.http.guarded import IDLE_WITHIN, Addresses, guarded

    class Server(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            self.leave = anyio.Event()

        @contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

        async def main_loop(self) -> None:
            """Wait, where uvicorn looks around ten times a second."""
            await self.on_tick(0)
            await self.leave.wait()
            self.should_exit = True

    config = uvicorn.Config(
        make(),
        http="httptools" if anybody is None else guarded(Addresses(anybody.connections_per_address)),
        ws="none",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(IDLE_WITHIN),
        timeout_graceful_shutdown=grace,
    )
    config.load()
    gc.freeze()  # what was imported stays: a full collection that visits it holds the loop some 30 ms
    return Server(config)
