"""A pool over real evaluators, with an engine and a store in small."""

from __future__ import annotations

import asyncio
import atexit
import functools
import itertools
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.evaluator.zoo import DEFINITIONS

from freshet.definitions.listen import Happened, Happenings
from freshet.executors.base import StepCall, StepEnd, TickEnd, TickOrder
from freshet.executors.evaluators import EvaluatorPool
from freshet.executors.forked import ForkedEvaluator
from freshet.store.records import LedgerEntry, WaitingDelivery
from freshet.store.records.offences import Offence

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def _zygote() -> socket.socket:
    """The one zygote of this test run; it ends with its socket, and so with the run."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.evaluator.zygote", str(theirs.fileno())], pass_fds=[theirs.fileno()], cwd=ROOT
    )
    theirs.close()
    ours.setblocking(False)

    @atexit.register
    def end() -> None:  # pyright: ignore[reportUnusedFunction]  # called at exit
        ours.close()
        process.wait(10)

    return ours


class Zygote:
    """The daemon's end of `zygote.py`, for one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._control = _zygote()
        self._waiting: deque[asyncio.Future[ForkedEvaluator]] = deque()
        self.pool: EvaluatorPool
        self.alive: set[int] = set()
        self.forks = 0
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self._control, self._read)

    async def fork(self, label: str) -> ForkedEvaluator:
        """As `EvaluatorPool` wants it."""
        future: asyncio.Future[ForkedEvaluator] = self.loop.create_future()
        self._waiting.append(future)
        self._control.send(bytes(self._folder))
        self.forks += 1
        return await future

    def kill(self, pid: int) -> None:
        """SIGKILL."""
        if pid in self.alive:
            os.kill(pid, signal.SIGKILL)

    def _read(self) -> None:
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._control, 4096, 2)
            except BlockingIOError:
                return
            if not data:
                self.loop.remove_reader(self._control)
                return
            message = json.loads(data)
            if "forked" in message:
                self.alive.add(message["forked"])
                page = mmap.mmap(fds[1], mmap.PAGESIZE)
                os.close(fds[1])
                forked = ForkedEvaluator(message["forked"], socket.socket(fileno=fds[0]), page)
                waiting = self._waiting.popleft()
                assert not waiting.done()
                waiting.set_result(forked)
            else:
                self.alive.discard(message["ended"])
                status = message["status"]
                how = f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
                self.pool.evaluator_ended(message["ended"], how)

    async def close(self) -> None:
        """Return when its evaluators are gone."""
        async with asyncio.timeout(10):
            while self.alive:
                await asyncio.sleep(0.001)
        self.loop.remove_reader(self._control)


class World:
    """`Answers`, and what an engine would do with them: commits outcomes, starts abandoned ticks again."""

    def __init__(self, zygote: Zygote) -> None:
        self.zygote = zygote
        self.pool = EvaluatorPool(zygote.fork, zygote.kill, self, DEFINITIONS)
        zygote.pool = self.pool
        self.cursors: dict[str, Any] = {}
        self.ledgers: dict[str, dict[bytes, LedgerEntry]] = {}
        self.inbox: dict[str, list[WaitingDelivery]] = {}
        self.happenings: list[Happened] = []
        self.revisions: dict[str, int] = {}
        self.commits: list[TickEnd] = []
        self.wakes: list[tuple[str, tuple[str, ...] | None]] = []
        self.offences: list[tuple[str, Offence]] = []
        self.stalls: list[tuple[str, float, str]] = []
        self.abandoned: list[str] = []
        self.ledger_loads = 0
        self.refuse: set[str] = set()
        self.changed = asyncio.Event()
        self._ids = itertools.count(1)
        self._flights: dict[int, tuple[TickOrder, asyncio.Future[TickEnd]]] = {}

    async def tick(
        self,
        sensor: str,
        *hints: str,
        timeout: float = 20.0,
        full: bool = False,
        dry_run: bool = False,
        cursor: Any = ...,
    ) -> TickEnd:
        """One tick to its final end."""
        order = TickOrder(
            tick_id=next(self._ids),
            sensor=sensor,
            cursor=self.cursors.get(sensor) if cursor is ... else cursor,
            ledger_revision=self.revisions.get(sensor, 0),
            hints=None if full else hints,
            now=1_767_225_600.0,
            timeout=timeout,
            dry_run=dry_run,
        )
        future: asyncio.Future[TickEnd] = asyncio.get_running_loop().create_future()
        self._flights[order.tick_id] = (order, future)
        self.pool.tick(order)
        return await future

    async def until(self, condition: Any, *, within: float = 15.0) -> None:
        """Wait for a condition that answers bring about."""
        async with asyncio.timeout(within):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def cancel(self, sensor: str) -> None:
        """Cancel the tick in flight of a sensor."""
        for tick_id, (order, _) in list(self._flights.items()):
            if order.sensor == sensor:
                self.pool.cancel_tick(tick_id)

    # --- Answers -------------------------------------------------------------------------------------------

    def tick_ended(self, end: TickEnd) -> None:
        order, future = self._flights.pop(end.tick_id)
        self.changed.set()
        if end.status == "abandoned":
            self.abandoned.append(end.sensor)
            if future.done():
                return
            again = replace(order, tick_id=next(self._ids))
            self._flights[again.tick_id] = (again, future)
            asyncio.get_running_loop().call_soon(self.pool.tick, again)
            return
        if end.status in ("ok", "checkpoint") and not order.dry_run:
            self._commit(order, future, end)
        if end.status != "checkpoint" and not future.done():
            future.set_result(end)

    def _commit(self, order: TickOrder, future: asyncio.Future[TickEnd], end: TickEnd) -> None:
        refused = end.sensor in self.refuse
        next_id = next(self._ids) if end.status == "checkpoint" and not refused else None
        if not refused:
            self.commits.append(end)
            if end.cursor_changed:
                self.cursors[end.sensor] = end.cursor
            if end.ledger.put or end.ledger.remove:
                ledger = self.ledgers.setdefault(end.sensor, {})
                ledger.update({entry.digest: entry for entry in end.ledger.put})
                for digest in end.ledger.remove:
                    del ledger[digest]
                self.revisions[end.sensor] = self.revisions.get(end.sensor, 0) + 1
        if next_id is not None:
            self._flights[next_id] = (replace(order, tick_id=next_id), future)
        elif end.status == "checkpoint":
            future.set_result(end)
        self.pool.tick_committed(
            end.tick_id,
            committed=not refused,
            ledger_revision=self.revisions.get(end.sensor, 0),
            next_tick_id=next_id,
        )

    def woken(self, sensor: str, hints: tuple[str, ...] | None) -> None:
        self.wakes.append((sensor, hints))
        self.changed.set()

    def step_calls(self, call: StepCall) -> None:
        raise AssertionError(call)

    def call_left(self, run_id: int, position: int, attempt: int, number: int) -> None:
        raise AssertionError(number)

    def step_received(self, run_id: int, position: int, attempt: int, pid: int) -> None:
        raise AssertionError

    def step_ended(self, end: StepEnd) -> None:
        raise AssertionError

    @asynccontextmanager
    async def load_ledger(self, sensor: str) -> AsyncGenerator[AsyncIterator[tuple[LedgerEntry, ...]]]:
        self.ledger_loads += 1
        entries = tuple(self.ledgers.get(sensor, {}).values())

        async def pieces() -> AsyncIterator[tuple[LedgerEntry, ...]]:
            for start in range(0, len(entries), 1000):
                await asyncio.sleep(0)
                yield entries[start : start + 1000]

        yield pieces()

    def ledger_revision(self, sensor: str) -> int:
        return self.revisions.get(sensor, 0)

    async def ledger_keys(self, sensor: str, digests: tuple[bytes, ...]) -> dict[bytes, str]:
        await asyncio.sleep(0.01)
        ledger = self.ledgers.get(sensor, {})
        return {digest: ledger[digest].key for digest in digests if digest in ledger}

    async def deliveries(
        self, sensor: str, *, tick: int, after: int, limit: int, again: bool
    ) -> tuple[tuple[WaitingDelivery, ...], bool]:
        found = [one for one in self.inbox.get(sensor, ()) if one.id > after]
        return tuple(found[:limit]), len(found) > limit

    async def happened(
        self, after: int | None, types: tuple[str, ...], names: tuple[str, ...] | None, limit: int
    ) -> Happenings:
        last = self.happenings[-1].seq
        found = [one for one in self.happenings if one.type in types and one.seq > (last if after is None else after)]
        seq = found[limit - 1].seq if len(found) > limit else last
        return Happenings.of(found[:limit], seq=seq, last=last)

    def sensor_offended(self, sensor: str, offence: Offence) -> None:
        self.offences.append((sensor, offence))
        if offence.moved:
            self.stalls.append((sensor, offence.seconds, offence.stack))
        self.changed.set()

    def host_lost(self, reason: str) -> None:
        raise AssertionError


@asynccontextmanager
async def world(folder: Path) -> AsyncGenerator[World]:
    """A pool with its shared evaluator up."""
    zygote = Zygote(folder)
    made = World(zygote)
    try:
        await made.pool.open()
        yield made
    finally:
        await made.pool.close(0)
        await zygote.close()


def percentile(values: list[float], share: float) -> float:
    """Of a sample, nearest rank."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def latencies(made: World, sensor: str, done: asyncio.Event, pause: float = 0.0) -> list[float]:
    """Seconds from order to end, one tick after another until `done`."""
    found: list[float] = []
    while not done.is_set():
        began = time.monotonic()
        await made.tick(sensor)
        found.append(time.monotonic() - began)
        if pause:
            await asyncio.sleep(pause)
    return found
