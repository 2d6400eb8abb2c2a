"""Sensors of every kind and temper, for the tests: loaded in the zygote, evaluated in real evaluators."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from freshet import AddPartitions, FreshetError, GiveUp, Report, RetryLater, RunRequest, Sensor, Skip, sensor
from freshet.definitions.graph import Definitions

_HELD = re.compile(r"(a|aa)+$")


@sensor
async def coroutine(ctx: Any) -> RunRequest:
    await asyncio.sleep(0)
    return RunRequest("target", run_key=str(ctx.cursor))


@sensor
def function(ctx: Any) -> list[RunRequest]:
    return [RunRequest("target", run_key=str(ctx.cursor))]


@sensor
async def async_generator(ctx: Any) -> AsyncIterator[RunRequest]:
    await asyncio.sleep(0)
    yield RunRequest("target", run_key=str(ctx.cursor))


@sensor
def generator(ctx: Any) -> Iterator[RunRequest]:
    yield RunRequest("target", run_key=str(ctx.cursor))


@sensor
async def listening(ctx: Any) -> AsyncIterator[RunRequest]:
    found = await ctx.events("run_failed", after=ctx.cursor, limit=3)
    for event in found:
        yield RunRequest("target", run_key=str(event.run))
    ctx.cursor = found.seq


@sensor
async def collects(ctx: Any) -> None:
    """A second or more in the garbage collector alone."""
    kept: list[object] = []
    for _ in range(200):
        kept += [[number] for number in range(10_000)]
        await asyncio.sleep(0)
    began = time.monotonic()
    while time.monotonic() < began + 1.0:
        gc.collect()
    while kept:
        del kept[-10_000:]
        await asyncio.sleep(0)


@sensor
async def everything(ctx: Any) -> AsyncIterator[object]:
    yield RunRequest("job", partition="k", run_key="once", params={"n": [1, 2]}, tags={"a": "b"}, priority=3)
    yield AddPartitions("set", {"one": {"size": 1}})
    yield AddPartitions("set", ["two"])
    yield Report("asset", partition="one", metadata={"rows": 4})
    yield Skip("nothing else")
    ctx.cursor = {"now": ctx.now.isoformat(), "hints": None if ctx.hints is None else list(ctx.hints)}


@sensor
async def commanded(ctx: Any) -> Any:
    """Does what the hints say; keeps its count in the cursor."""
    for hint in ctx.hints or ():
        verb, _, rest = hint.partition(" ")
        if verb == "add":
            key, _, version = rest.partition("=")
            ctx.ledger.add(key, version)
        elif verb == "remove":
            ctx.ledger.remove(rest)
        elif verb == "count":
            ctx.cursor = len(ctx.ledger)
        elif verb == "seen":
            key, _, version = rest.partition("=")
            ctx.cursor = ctx.ledger.seen(key, version)
        elif verb == "absent":
            ctx.cursor = sorted(ctx.ledger.absent(rest.split(",")))
        elif verb == "note":
            ctx.ledger.notes[rest] = True
        elif verb == "noted":
            ctx.cursor = sorted(ctx.ledger.notes)
        elif verb == "many":
            for number in range(int(rest)):
                ctx.ledger.add(f"item-{number}")
        elif verb == "runs":
            return [RunRequest("target", run_key=str(number), params={"pad": "x" * 200}) for number in range(int(rest))]
        elif verb == "checkpoint":
            await ctx.checkpoint()
        elif verb == "pad":
            ctx.cursor = "x" * int(rest)
        elif verb == "heavy":
            return [RunRequest("target", params={"pad": "x" * int(rest)})] * 5000
        elif verb == "priority":
            return [RunRequest("target", priority=int(rest))]
        elif verb == "cursor":
            ctx.cursor = {"nan": float("nan"), "tuple": (1, 2), "set": {1}, "text": "fine"}[rest]
    return None


@sensor
async def swallows(ctx: Any) -> AsyncIterator[RunRequest]:
    """More than one part, then a cursor that no frame holds; then without it."""
    for number in range(5000):
        yield RunRequest("target", run_key=str(number))
    ctx.cursor = "x" * (65 << 20)
    try:
        await ctx.checkpoint()
    except FreshetError:
        ctx.cursor = "short"
    if ctx.hints:
        await ctx.checkpoint()


@sensor
def commanded_in_thread(ctx: Any) -> None:
    for hint in ctx.hints or ():
        verb, _, rest = hint.partition(" ")
        if verb == "add":
            ctx.ledger.add(rest)
        elif verb == "many":
            for number in range(int(rest)):
                ctx.ledger.add(f"item-{number}")
        elif verb == "count":
            ctx.cursor = len(ctx.ledger)
        elif verb == "absent":
            ctx.cursor = sorted(ctx.ledger.absent(rest.split(",")))
        elif verb == "checkpoint":
            ctx.checkpoint_sync()


@sensor
async def long_look(ctx: Any) -> AsyncIterator[RunRequest]:
    for number in range(ctx.cursor or 0, 3):
        yield RunRequest("target", run_key=str(number))
        ctx.cursor = number + 1
        await ctx.checkpoint()
    yield RunRequest("target", run_key="last")


# --- tempers -------------------------------------------------------------------------------------------------


@sensor
async def raises(ctx: Any) -> None:
    raise LookupError("no such bucket")


@sensor
def raises_in_thread(ctx: Any) -> None:
    raise LookupError("no such bucket")


@sensor
async def retries_later(ctx: Any) -> None:
    raise RetryLater("busy", after="90s")


@sensor
async def gives_up(ctx: Any) -> None:
    raise GiveUp("the credentials are wrong")


@sensor
async def lags(ctx: Any) -> None:
    ctx.lag(7, ctx.now)
    ctx.notice("polling: far away")
    match ctx.hints[0]:
        case "raises":
            raise LookupError("no such bucket")
        case "later":
            raise RetryLater("busy")
        case _:
            await asyncio.sleep(60)


@sensor
async def yields_nonsense(ctx: Any) -> AsyncIterator[int]:
    yield 5


@sensor
async def exits(ctx: Any) -> None:
    raise SystemExit(3)


@sensor
def exits_in_thread(ctx: Any) -> None:
    raise KeyboardInterrupt


@sensor
async def exits_in_task(ctx: Any) -> None:
    async def inner() -> None:
        raise SystemExit(3)

    await asyncio.create_task(inner())


@sensor
async def hangs(ctx: Any) -> None:
    await asyncio.Event().wait()


@sensor
async def swallows_cancellation(ctx: Any) -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


@sensor
def hangs_in_thread(ctx: Any) -> None:
    time.sleep(3600)


@sensor
async def hangs_in_executor(ctx: Any) -> None:
    await asyncio.to_thread(time.sleep, 3600)


@sensor
async def crashes_in_executor(ctx: Any) -> None:
    await asyncio.to_thread(ctypes.string_at, 0)


@sensor
async def blocks(ctx: Any) -> None:
    time.sleep(3600)  # noqa: ASYNC251  # the point


@sensor
async def holds(ctx: Any) -> None:
    time.sleep(0.15)  # noqa: ASYNC251  # the point
    await asyncio.sleep(0)


@sensor
async def blocks_in_task(ctx: Any) -> None:
    async def inner() -> None:
        await asyncio.sleep(0)
        time.sleep(3600)  # noqa: ASYNC251  # the point

    await asyncio.create_task(inner())


@sensor
async def spins(ctx: Any) -> None:
    while True:
        pass


@sensor
def holds_the_interpreter(ctx: Any) -> None:
    _HELD.match("a" * 60 + "b")


@sensor
async def ends_the_process(ctx: Any) -> None:
    os._exit(7)


@sensor
def ends_the_process_in_thread(ctx: Any) -> None:
    os._exit(7)


@sensor
async def crashes(ctx: Any) -> None:
    ctypes.string_at(0)


@sensor
def crashes_in_thread(ctx: Any) -> None:
    ctypes.string_at(0)


@sensor
async def blocks_in_callback(ctx: Any) -> None:
    asyncio.get_running_loop().call_soon(time.sleep, 3600)
    await asyncio.sleep(3600)


# --- with a life of their own --------------------------------------------------------------------------------


class Opened(Sensor):
    """Needs `open()`, which fails while a file is there."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.is_open = False

    async def open(self) -> None:
        if Path(os.environ["ZOO"], "locked").exists():
            raise ConnectionError("locked")
        self.is_open = True

    async def close(self) -> None:
        Path(os.environ["ZOO"], "closed").touch()

    def evaluate(self, ctx: Any) -> Any:
        ctx.cursor = self.is_open


class Waking(Sensor):
    """Wakes with the lines that appear in a file; fails on 'fail', blocks the loop on 'block'."""

    async def wakes(self) -> AsyncIterator[list[str] | None]:
        path, done = Path(os.environ["ZOO"], "wakes"), 0
        while True:
            lines = path.read_text().splitlines() if path.exists() else []
            new, done = lines[done:], len(lines)
            if "fail" in new:
                path.unlink()
                raise OSError("the watch broke")
            if "block" in new:
                path.unlink()
                time.sleep(3600)  # noqa: ASYNC251  # the point
            if new:
                yield new
            await asyncio.sleep(0.005)

    async def evaluate(self, ctx: Any) -> None:
        ctx.cursor = ctx.hints and list(ctx.hints)


opened = Opened("opened")
waking = Waking("waking", interval="1h")


@sensor
async def bystander(ctx: Any) -> None:
    """Harmless, and used to see whether others do harm."""


@sensor
def bystander_in_thread(ctx: Any) -> None:
    """The same, in a thread."""


ALL: dict[str, Sensor] = {value.name: value for value in list(globals().values()) if isinstance(value, Sensor)}
DEFINITIONS = Definitions(sensors=tuple(one.spec for one in ALL.values()))
