"""The evaluator process: an event loop in which sensors look at the world, told by the daemon when."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import mmap
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from freshet.definitions.resource import Resource
from freshet.definitions.sensor import Sensor
from freshet.host.evaluator.executor import SignedExecutor
from freshet.host.evaluator.failure import describe, is_own_bug
from freshet.host.evaluator.happenings import EventDesk
from freshet.host.evaluator.holder import Holder
from freshet.host.evaluator.inbox import Inbox
from freshet.host.evaluator.ledgers import Ledgers
from freshet.host.evaluator.link import EvaluatorSocket
from freshet.host.evaluator.looks import Looks
from freshet.host.evaluator.outcome import CheckParameters
from freshet.host.evaluator.resources import SensorResources
from freshet.host.evaluator.steps import GARBAGE, task_factory
from freshet.host.evaluator.tick import Tick
from freshet.host.evaluator.wakes import Wakes

__all__ = ["run"]

_CLOSE_PATIENCE = 5.0
_SWITCH_INTERVAL = 0.001
"""Seconds a busy thread keeps the interpreter while the loop waits for it: with the default of 5 ms, a few busy `def`
sensors would make the loop miss its heartbeat."""


def run(
    sock: socket.socket,
    page: mmap.mmap,
    sensors: dict[str, Sensor],
    check: CheckParameters | None = None,
    resources: Mapping[str, Resource] | None = None,
) -> None:
    """Evaluate `sensors` as the daemon at the other end of `sock` orders; return when it says so or is gone. `check`:
    the parameters of the jobs that deliveries ask for. `resources`: those that sensors may need.

    For a freshly forked process: it owns the process from here (loop, default executor, SIGUSR1, garbage collector).
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.freeze()
    GARBAGE.watch()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    evaluator = Evaluator(loop, sock, page, sensors, check, resources or {})
    while not evaluator.over:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            # A callback of a plugin's: tasks are caught where they run.
            evaluator.log("", "warning", "a callback raised and was ignored", {"error": repr(error)})
    if evaluator.bug is not None:
        raise evaluator.bug


class Evaluator:
    """Takes the daemon's messages apart."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        page: mmap.mmap,
        sensors: dict[str, Sensor],
        check: CheckParameters | None,
        resources: Mapping[str, Resource],
    ) -> None:
        words = memoryview(page).cast("Q")
        loop.set_task_factory(task_factory(words))
        loop.set_default_executor(SignedExecutor(words))
        loop.set_exception_handler(self._unhandled)
        self.over = False
        self.bug: BaseException | None = None
        self._loop = loop
        self._sensors = sensors
        self._check = check
        self._holders: dict[str, Holder] = {}
        self._ledgers = Ledgers(loop, self._receive)
        self._link = EvaluatorSocket(loop, sock, self._receive, self._stop)
        self._ledgers.link = self._link
        inbox = Inbox(loop, self._link.send)
        events = EventDesk(loop, self._link.send)
        self._resources = SensorResources(resources, loop)
        self._looks = Looks(loop, words, self._link.send, self._ledgers, inbox, events, self._resources)
        self._wakes = Wakes(loop, self._link.send)
        self._handlers: dict[str, Callable[..., None]] = {
            "open": self._open,
            "committed": self._committed,
            "cancel": self._looks.cancel,
            "inbox": inbox.arrived,
            "events": events.arrived,
            "ledger": self._ledger,
            "texts": self._ledgers.texts,
            "ping": self._ping,
            "watch": self._watch,
            "release": self._release,
            "close": self._close,
        }
        self._link.greet(["hello", threading.get_ident()], _stack_file())

    def log(self, sensor: str, level: str, message: str, fields: dict[str, Any]) -> None:
        """Send a line to the daemon's log."""
        self._looks.log(sensor, level, message, fields)

    def _receive(self, messages: list[Any]) -> None:
        begun = False
        for message in messages:
            name = message[0]
            if name == "tick":
                begun = True
                self._looks.begin(Tick(self._holders[message[2]], message, self._check))
            else:
                self._handlers[name](*message[1:])
        if begun:
            self._loop.call_soon(self._looks.time_begun)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What nobody caught. A bug of ours ends the process; what a plugin left lying about is a line in the log."""
        error = context.get("exception")
        if isinstance(error, BaseException) and is_own_bug(error):
            self.bug = error
            self._stop()
            return
        fields = {"what": context.get("message", "")}
        if isinstance(error, BaseException):
            fields |= describe(error)
        self.log("", "warning", "an error that no sensor waited for", fields)

    def _open(self, sensors: list[tuple[int, str]], watching: bool) -> None:
        for number, name in sensors:
            holder = Holder(self._sensors[name], number, woken=self._wakes.add, log=self.log)
            holder.needs = self._resources.of(holder.sensor)
            self._holders[name] = holder
            if watching:
                holder.watch()
            if not holder.opened:
                self._loop.create_task(holder.prepare())

    def _committed(self, tick: int, committed: bool, ledger_revision: int, next_tick: int | None) -> None:
        self._looks.committed(tick, committed, ledger_revision, next_tick)

    def _ledger(self, sensor: str, *piece: Any) -> None:
        self._ledgers.loaded(self._holders[sensor], *piece)

    def _ping(self, number: int) -> None:
        self._link.send(["pong", number])

    def _watch(self, active: bool) -> None:
        for holder in self._holders.values():
            if active:
                holder.watch()
            else:
                holder.unwatch()

    def _release(self, name: str) -> None:
        """Another evaluator is about to hold this sensor, of which no look is in flight."""
        holder = self._holders.pop(name, None)
        self._loop.create_task(self._let_go(name, holder))

    async def _let_go(self, name: str, holder: Holder | None) -> None:
        if holder is not None:
            await asyncio.wait([asyncio.ensure_future(holder.close())], timeout=_CLOSE_PATIENCE)
        self._link.send(["released", name])

    def _close(self) -> None:
        self._looks.cancel_all()
        self._loop.create_task(self._close_sensors())

    async def _close_sensors(self) -> None:
        closing = [asyncio.ensure_future(holder.close()) for holder in self._holders.values()]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_PATIENCE)
        await asyncio.wait([asyncio.ensure_future(self._resources.close(self.log))], timeout=_CLOSE_PATIENCE)
        self._link.send(["closed"])
        self._link.send_now()
        self._stop()

    def _stop(self) -> None:
        self.over = True
        self._loop.stop()


def _stack_file() -> int:
    """A file in memory for stacks, of SIGUSR1 and SIGUSR2 and of a crash."""
    fd = os.memfd_create("freshet-stacks", os.MFD_CLOEXEC)
    faulthandler.register(signal.SIGUSR1, file=fd, all_threads=True, chain=False)
    faulthandler.register(signal.SIGUSR2, file=fd, all_threads=False, chain=False)  # safe while others run
    faulthandler.enable(file=fd, all_threads=True)
    return fd
