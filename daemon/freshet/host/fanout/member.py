"""The process that works on one item after another. Forked from the worker, inside its event loop if it has one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import orjson

from freshet.definitions.outcome import GiveUp, RetryLater, patience
from freshet.definitions.retries import is_retried
from freshet.host.fanout.call import MapCall
from freshet.host.frames import wrap
from freshet.host.messages import ErrorData
from freshet.host.process import die_with_parent, restore_signals
from freshet.host.step import error_data
from freshet.io import json
from freshet.io.registry import write_value

__all__ = ["ORDER", "serve"]

ORDER = struct.Struct(">II")
"""What a member is told: an item's number, and which attempt at it this is."""
_INLINE = 256 * 1024
"""Bytes of a value that is handed over as it is; a larger one is kept in a file."""


def serve(
    call: MapCall, ctx: Any, sock: socket.socket, close: Iterable[int], values: Path, run_id: int, parent: int
) -> NoReturn:
    """Be a member until the socket ends. `close`: descriptors of the worker's. `values`: a folder of the run's."""
    status = 70
    try:
        die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        restore_signals()
        for fd in close:
            os.close(fd)
        asyncio._set_running_loop(None)
        with asyncio.Runner() as runner:
            _work(call, ctx, sock, runner, values, run_id)
        status = 0
    except (BrokenPipeError, ConnectionResetError):
        status = 1  # the worker is gone
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _work(call: MapCall, ctx: Any, sock: socket.socket, runner: asyncio.Runner, values: Path, run_id: int) -> None:
    while order := sock.recv(ORDER.size, socket.MSG_WAITALL):
        item, attempt = ORDER.unpack(order)
        began = time.perf_counter()
        told: dict[str, Any] = {"i": item, "n": attempt}
        body: bytes | None = None
        try:
            value = _made(call, ctx, call.items[item], runner)
            body = json.try_dumps(value)
            if body is None or len(body) > _INLINE:
                body = None
                told["ref"] = write_value(
                    value,
                    values_dir=values,
                    asset="items",
                    partition_key=str(item),
                    run_id=run_id,
                    attempt=attempt,
                    io=None,
                )
        except BaseException as raised:
            told["error"] = _error_of(raised)
            told["retried"] = is_retried(call.retries, raised)
        told["d"] = round(time.perf_counter() - began, 6)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        sock.sendall(wrap(orjson.dumps(told) if body is None else orjson.dumps(told) + b"\n" + body))


def _made(call: MapCall, ctx: Any, item: Any, runner: asyncio.Runner) -> Any:
    function: Callable[..., Any] = call.function
    result = function(ctx, item) if call.wants_ctx else function(item)
    return runner.run(_awaited(result)) if hasattr(result, "__await__") else result


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _error_of(raised: BaseException) -> ErrorData:
    error = error_data(raised)
    if isinstance(raised, GiveUp):
        error["final"] = True
    elif isinstance(raised, RetryLater):
        error["after"] = patience(raised)
    return error
