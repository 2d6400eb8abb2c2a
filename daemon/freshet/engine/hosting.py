"""The code hosts: the one in force, the next one, and those that have given way and end with their last step.

A host that ends on its own is replaced by one of the same definitions; work stands still meanwhile. A host that has
given way keeps nothing but what is in flight: its sensors go over one by one, each when its last look there has ended
and its `close()`, so that no two hosts hold a sensor at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import structlog

from freshet.engine.answers import EngineAnswers
from freshet.engine.instruments import pause
from freshet.errors import HostError
from freshet.executors.base import Answers, CodeHost

if TYPE_CHECKING:
    from freshet.engine.engine import Engine

__all__ = ["Hosting", "MakeHost"]

_RETRY_MAX = 30.0

_log = structlog.get_logger("freshet.engine")

MakeHost = Callable[[Answers], CodeHost]


class Hosting:
    """Of one engine. `changed`: called when a new host finds other plugins than those in force."""

    def __init__(self, engine: Engine, make_host: MakeHost) -> None:
        self._engine = engine
        self._make_host = make_host
        self._answers: dict[CodeHost, EngineAnswers] = {}
        self._replacing: asyncio.Task[None] | None = None
        self._holding: dict[str, set[CodeHost]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self.problem: str | None = None
        self.needs_restart = False

    def make(self, make: MakeHost | None = None) -> CodeHost:
        """A host that is not started yet. `make`: how, if not of the plugins as they are now."""
        answers = EngineAnswers(self._engine)
        host = (make or self._make_host)(answers)
        self._answers[host] = answers
        return host

    def lost(self, host: CodeHost) -> str | None:
        """Why a host has ended on its own, if it has."""
        return self._answers[host].lost

    async def discard(self, host: CodeHost) -> None:
        """End a host that is not put in force."""
        self._answers.pop(host, None)
        with anyio.CancelScope(shield=True):
            await host.close(grace=0)

    # --- one gives way to another ---------------------------------------------------------------------------

    def held(self) -> frozenset[str]:
        """The sensors that a host holds now."""
        in_force = self._engine.instruments.in_force
        here = () if in_force.host is None else tuple(in_force.definitions.evaluated)
        return frozenset((*here, *self._holding))

    def swap(self, host: CodeHost, held: frozenset[str]) -> None:
        """From now on `host` serves; it was opened without the sensors that were `held`. The caller has changed the
        definitions."""
        in_force = self._engine.instruments.in_force
        before, in_force.host = in_force.host, host
        if before is not None:
            in_force.leaving = (*in_force.leaving, before)
            for sensor in held:
                self._holding.setdefault(sensor, set()).add(before)
            task = asyncio.get_running_loop().create_task(self._leave(before))
            self._leaving.add(task)
            task.add_done_callback(self._left)
        for sensor in held - self._holding.keys():
            host.take(sensor)
        self._engine.launcher.queue.open = self._engine.state != "stopping"
        self._problem_is(None)

    async def _leave(self, host: CodeHost) -> None:
        try:
            await host.leave(lambda sensor: self._released(host, sensor))
        finally:
            for sensor in [sensor for sensor, hosts in self._holding.items() if host in hosts]:
                self._released(host, sensor)
        in_force = self._engine.instruments.in_force
        in_force.leaving = tuple(one for one in in_force.leaving if one is not host)
        await self.discard(host)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._engine.instruments.work.fail(error)

    def _released(self, host: CodeHost, sensor: str) -> None:
        hosts = self._holding.get(sensor)
        if hosts is None:
            return
        hosts.discard(host)
        if not hosts:
            del self._holding[sensor]
            current = self._engine.instruments.in_force.host
            if current is not None:
                current.take(sensor)

    # --- a host ends on its own -----------------------------------------------------------------------------

    def ended(self, answers: EngineAnswers, reason: str) -> None:
        """What was in flight on it has been given back. Of the one in force: work stands still until a new one is
        up."""
        in_force, engine = self._engine.instruments.in_force, self._engine
        if in_force.host is None or self._answers.get(in_force.host) is not answers:
            return
        del self._answers[in_force.host]
        in_force.host = None
        engine.launcher.queue.open = False
        if engine.state == "stopping":
            return
        self._problem_is(f"the code host ended ({reason}); a new one is being started")
        _log.error("code host lost", reason=reason)
        if self._replacing is None or self._replacing.done():
            self._replacing = engine.instruments.work.spawn(self._replace())

    async def _replace(self) -> None:
        delay, instruments = 0.1, self._engine.instruments
        while instruments.in_force.host is None:
            report = self._engine.load_report
            host = self.make(None if report is None else report.again)
            try:
                if await self._opened(host):
                    return
            except HostError as error:
                self._problem_is(str(error))
            except asyncio.CancelledError:
                await self.discard(host)
                raise
            await self.discard(host)
            _log.error("no code host", problem=self.problem, next_try_in=delay)
            await pause(instruments, delay)
            delay = min(delay * 2, _RETRY_MAX)

    async def _opened(self, host: CodeHost) -> bool:
        """Whether it is in force now. Raises `HostError`."""
        report, in_force = await host.start(), self._engine.instruments.in_force
        if report.problems or report.definitions.version != in_force.definitions.version:
            said = "the plugins changed while the code host was gone; restart Freshet to load them"
            if report.problems:
                said = f"the plugins cannot be loaded: {report.problems[0].message}; mend them and restart Freshet"
            self._problem_is(said, needs_restart=True)
            return False
        held = frozenset(self._holding)
        await host.open(workers=self._engine.options.workers, without=held)
        if self.lost(host) is not None or in_force.host is not None:
            return False
        self.swap(host, held)
        _log.info("code host replaced")
        self._engine.launcher.dispatch()
        for name in self._engine.ticks.sensors:
            self._engine.ticks.woken(name, None)
        return True

    def _problem_is(self, problem: str | None, *, needs_restart: bool = False) -> None:
        self.problem, self.needs_restart = problem, needs_restart

    # --- stop -----------------------------------------------------------------------------------------------

    async def watch_no_more(self) -> None:
        """No host is replaced, and none wakes anybody."""
        if self._replacing is not None:
            self._replacing.cancel()
        host = self._engine.instruments.in_force.host
        if host is not None:
            await host.watch(active=False)

    async def close(self) -> None:
        """End all hosts."""
        for task in tuple(self._leaving):
            task.cancel()
        in_force = self._engine.instruments.in_force
        for host in in_force.hosts:
            await host.close(grace=0)
