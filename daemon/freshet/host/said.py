"""What a worker says, told from what user code in it wrote on its socket: only the worker is to end of that."""

from __future__ import annotations

from typing import Any, cast

from freshet.errors import HostError
from freshet.host.frames import decode
from freshet.host.inline.messages import FromInline
from freshet.host.messages import FromWorker

__all__ = ["said_by_inline", "said_by_worker"]


def said_by_worker(payload: bytes) -> FromWorker:
    """The message in a payload. Raises `HostError` where it is none that a worker sends."""
    return _of_worker(decode(payload))


def said_by_inline(payload: bytes) -> FromInline:
    """The same for the process of inline steps."""
    said: Any = decode(payload)
    match said:
        case {"op": "ready", "problem": None | str()} | {"op": "received", "run": int(), "position": int()}:
            return cast("FromInline", said)
        case {"op": "said", "run": int(), "position": int(), "said": {"op": "call" | "left"} as told}:
            _of_worker(told)
            return cast("FromInline", said)
        case {"op": "ended", "run": int(), "position": int(), "last": bool(), "ended": {"op": "ended"} as told}:
            _of_worker(told)
            return cast("FromInline", said)
        case _:
            raise HostError("a frame is no message of inline steps", hint="something else wrote on the socket")


def _of_worker(said: Any) -> FromWorker:
    match said:
        case {"op": "received"} | {"op": "ready", "problem": None | str()}:
            return cast("FromWorker", said)
        case {"op": "left", "number": int()}:
            return cast("FromWorker", said)
        case {
            "op": "call",
            "number": int(),
            "call": str(),
            "target": str(),
            "params": dict(),
            "partition": None | str(),
            "waits": bool(),
            "detached": bool(),
        }:
            return cast("FromWorker", said)
        case {
            "op": "ended",
            "value": value,
            "metadata": dict(),
            "error": error,
            "version": None | str(),
            "code": None | str(),
        } if _is_value(value) and _is_error(error):
            return cast("FromWorker", said)
        case _:
            raise HostError("a frame is no message of a worker", hint="something else wrote on the socket")


def _is_value(value: Any) -> bool:
    match value:
        case {"path": str(), "io": str(), "size": int(), "digest": str(), **others}:
            return not others
        case _:
            return value is None


def _is_error(error: Any) -> bool:
    match error:
        case {"type": str(), "message": str(), "traceback": str()}:
            after = error.get("after")
            return isinstance(error.get("final", False), bool) and (after is None or isinstance(after, int | float))
        case _:
            return error is None
