"""A code host: the plugins of one definitions version behind a process boundary. See `executors.base.CodeHost`."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import secrets
import socket
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from freshet.definitions.wire import prepare
from freshet.errors import HostError
from freshet.executors.base import Answers, CallEnd, HostStatus, ItemRef, LoadReport, StepCall, StepEnd, TickOrder
from freshet.executors.children import ChildrenLock
from freshet.executors.evaluators import EvaluatorPool
from freshet.executors.forked import ForkedEvaluator
from freshet.executors.hostlink import HostLink
from freshet.executors.hostprocess import HostProcess
from freshet.executors.hostsettings import HostSettings
from freshet.executors.input_files import InputFiles, is_large
from freshet.executors.notloaded import ended_while_loading, too_slow
from freshet.executors.strays import kill_until_gone, marked
from freshet.executors.translate import (
    DefinitionsRead,
    called,
    load_report,
    read_definitions,
    run_order,
    step_call,
    step_end,
)
from freshet.host.frames import encode
from freshet.host.messages import Cancel, CancelItem, Close, ForkEvaluator, FromHost, InputsFile, Kill, Open
from freshet.host.sources import Sources
from freshet.store.records import StepToRun, TickError

__all__ = ["ProcessCodeHost"]

_log = structlog.get_logger("freshet.host")
_CLOSE_MARGIN = 8.0
"""Seconds beyond the grace after which a host that does not end is killed."""
_SWEEP_PATIENCE = 5.0
_STACK_PATIENCE = 0.1
_EXIT_PATIENCE = 1.0
"""Seconds for a host whose stream has ended to end by itself, so that its own exit status is told."""


class ProcessCodeHost:
    """Implements `CodeHost` with processes. `children` is the daemon's lock for them; without it (`freshet check`)
    nothing must be run. `sources`: the plugins as they were read once; otherwise they are read when it starts."""

    def __init__(
        self,
        settings: HostSettings,
        answers: Answers,
        children: ChildrenLock | None = None,
        sources: Sources | None = None,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._answers = answers
        self._children = children
        token = children.token if children else secrets.token_hex(16)
        self._mark = f"{token}.{secrets.token_hex(8)}"
        self._process: HostProcess | None = None
        self._link: HostLink | None = None
        self._pool: EvaluatorPool | None = None
        self._report: LoadReport | None = None
        self._loaded: asyncio.Future[LoadReport] | None = None
        self._loading = ""
        self._described: DefinitionsRead | None = None
        self._patience: asyncio.Timeout | None = None
        self._steps: dict[tuple[int, int, int], StepToRun] = {}
        self._unsent: set[tuple[int, int, int]] = set()
        self._inputs = InputFiles(settings.state_dir / "runs", self._inputs_written)
        self._forks: deque[asyncio.Future[ForkedEvaluator]] = deque()
        self._evaluators: set[int] = set()
        self._idle = 0
        self._closing = False
        self._gone, self._rests = asyncio.Event(), asyncio.Event()
        self._farewell: asyncio.Task[None] | None = None

    # --- life ----------------------------------------------------------------------------------------------

    async def start(self) -> LoadReport:
        """Start the host process, load the plugins, and report. Raises `HostError`."""
        loop = asyncio.get_running_loop()
        self._loaded = loop.create_future()
        lock_fd = self._children.fd if self._children else None
        if self._sources is None:
            self._sources = await asyncio.to_thread(self._settings.read)
        try:
            self._process = HostProcess(
                loop, self._settings, self._sources, mark=self._mark, lock_fd=lock_fd, ended=self._ended
            )
        except OSError as error:
            raise HostError(f"the code host cannot be started: {error}", hint="see the setting `root`") from error
        self._link = HostLink(loop, self._process.control, self._hear, self._link_ended)
        prepare()  # the process has begun
        try:
            async with asyncio.timeout(self._settings.start_timeout) as self._patience:
                self._report = await self._loaded
        except TimeoutError:
            stack = await self._process.ask_stack(patience=_STACK_PATIENCE)
            await self._abandon()
            raise too_slow(self._loading, self._settings.start_timeout, stack) from None
        except BaseException:
            await self._abandon()
            raise
        again = partial(ProcessCodeHost, self._settings, children=self._children, sources=self._sources)
        return replace(self._report, again=again, sources=self._sources)

    async def open(self, *, workers: int, without: Collection[str] = ()) -> None:
        """Put in force: start the evaluator (with `open()` and `wakes()` of the sensors) and `workers` workers."""
        if self._report is None:
            raise HostError("the code host is not started", hint="await start() first")
        self._send(Open(op="open", workers=workers))
        self._pool = EvaluatorPool(
            fork=self._fork, kill=self._kill, answers=self._answers, definitions=self._report.definitions
        )
        await self._pool.open(without)

    def take(self, sensor: str) -> None:
        """Nobody else holds this sensor any more."""
        self._opened.take(sensor)

    async def leave(self, released: Callable[[str], None]) -> None:
        """Another host takes over; returns when nothing is in flight here."""
        await self._opened.leave(released)
        if self._steps:
            await self._rests.wait()

    async def close(self, *, grace: float) -> None:
        """End everything: sensors' `close()`, workers (SIGTERM, then SIGKILL after `grace`), evaluators, host."""
        self._closing = True
        if self._pool is not None:
            await self._pool.close(grace)
        if self._process is None:
            return
        self._send(Close(op="close", grace=grace))
        try:
            async with asyncio.timeout(grace + _CLOSE_MARGIN):
                await self._gone.wait()
        except TimeoutError:
            _log.error("the code host does not end and is killed")
            await self._abandon()

    async def _abandon(self) -> None:
        self._closing = True
        if self._process is not None:
            self._process.kill()
            await self._gone.wait()

    # --- orders --------------------------------------------------------------------------------------------

    def tick(self, order: TickOrder) -> None:
        """Begin an evaluation; it ends in exactly one final `Answers.tick_ended`."""
        self._opened.tick(order)

    def tick_committed(self, tick_id: int, *, committed: bool, ledger_revision: int, next_tick_id: int | None) -> None:
        """The commit of an `ok` or `checkpoint` end is known: see `CodeHost`."""
        self._opened.tick_committed(
            tick_id, committed=committed, ledger_revision=ledger_revision, next_tick_id=next_tick_id
        )

    def cancel_tick(self, tick_id: int) -> None:
        """Nobody waits for this evaluation any more; it still ends in `tick_ended`."""
        self._opened.cancel_tick(tick_id)

    async def watch(self, *, active: bool) -> None:
        """Let the sensors' `wakes()` run, or end them."""
        await self._opened.watch(active=active)

    @property
    def _opened(self) -> EvaluatorPool:
        if self._pool is None:
            raise HostError("the code host is not open", hint="await open() first")
        return self._pool

    def run(self, step: StepToRun) -> None:
        """Launch a step that is durable as started; it ends in exactly one `Answers.step_ended`."""
        key = (step.run_id, step.position, step.attempt)
        self._steps[key] = step
        self._rests.clear()
        loop = asyncio.get_running_loop()
        if self._link is None or self._gone.is_set():
            loop.call_soon(self._end_step, key, "not_received", None)
        elif is_large(step):
            self._inputs.write(step)
        else:
            self._launch(self._link, step)

    def _launch(self, link: HostLink, step: StepToRun, inputs_file: InputsFile | None = None) -> None:
        try:
            frame = encode(run_order(step, timezone=self._settings.timezone, inputs_file=inputs_file))
        except (HostError, TypeError) as error:
            key, said = (step.run_id, step.position, step.attempt), TickError(type(error).__name__, str(error))
            asyncio.get_running_loop().call_soon(self._end_step, key, "failed", said)
            return
        if not link.send(frame):  # it ends with the others, as the engine hears of the loss: tried anew by the next
            self._unsent.add((step.run_id, step.position, step.attempt))

    def _inputs_written(self, step: StepToRun, written: InputsFile | OSError | None) -> None:
        key = (step.run_id, step.position, step.attempt)
        if isinstance(written, OSError):
            self._end_step(key, "failed", TickError("OSError", f"the inputs cannot be handed on: {written}"))
        elif self._link is None or self._gone.is_set() or self._closing:
            self._end_step(key, "not_received", None)
        elif written is None:
            self._end_step(key, "canceled", None)
        else:
            self._launch(self._link, step, written)

    def cancel(self, run_id: int, position: int, *, grace: float) -> None:
        """SIGTERM to the step's process tree, SIGKILL after `grace` seconds."""
        if self._inputs.stop(run_id, position):
            return
        self._send(Cancel(op="cancel", run=run_id, position=position, grace=grace))

    def cancel_item(self, run_id: int, item: ItemRef) -> None:
        """End one item of a `ctx.map`."""
        self._send(CancelItem(op="cancel_item", run=run_id, position=item.position, call=item.call, item=item.item))

    def call_ended(self, call: StepCall, end: CallEnd) -> None:
        """Answer a call."""
        if (*call.step, call.attempt) in self._steps:
            self._send(called(call, end))

    def status(self) -> HostStatus:
        """A cheap snapshot."""
        return HostStatus(
            pid=self._process.pid if self._process else 0,
            start_method=self._report.start_method if self._report else "fork",
            evaluators=self._pool.status() if self._pool else {},
            workers_idle=self._idle,
            workers_busy=len(self._steps),
        )

    def _send(self, message: Any) -> None:
        if self._link is not None:
            self._link.send(encode(message))

    # --- evaluators ----------------------------------------------------------------------------------------

    async def _fork(self, label: str) -> ForkedEvaluator:
        """A new evaluator. Raises `HostError` once the host has ended."""
        if self._link is None or self._gone.is_set():
            raise HostError("the code host has ended")
        forked = asyncio.get_running_loop().create_future()
        self._forks.append(forked)
        self._send(ForkEvaluator(op="evaluator", label=label))
        made: ForkedEvaluator = await forked
        return made

    def _kill(self, pid: int) -> None:
        self._send(Kill(op="kill", pid=pid))

    def _forked(self, pid: int) -> None:
        fds = self._link.fds if self._link else deque[int]()
        sock, page = socket.socket(fileno=fds.popleft()), fds.popleft()
        sock.setblocking(False)
        evaluator = ForkedEvaluator(pid, sock, mmap.mmap(page, mmap.PAGESIZE))
        os.close(page)
        self._evaluators.add(pid)
        waiting = self._forks.popleft()
        if waiting.done():  # who asked has been canceled
            sock.close()
            evaluator.page.close()
            self._kill(pid)
        else:
            waiting.set_result(evaluator)

    def _not_forked(self, problem: str) -> None:
        waiting = self._forks.popleft()
        if not waiting.done():
            waiting.set_exception(HostError(f"no evaluator can be started: {problem}"))

    def _evaluator_ended(self, pid: int, how: str) -> None:
        self._evaluators.discard(pid)
        if self._pool is not None:
            self._pool.evaluator_ended(pid, how)

    # --- what the host says --------------------------------------------------------------------------------

    def _hear(self, said: FromHost) -> None:
        match said["op"]:
            case "received":
                if (said["run"], said["position"], said["attempt"]) in self._steps:
                    self._answers.step_received(said["run"], said["position"], said["attempt"], said["pid"])
            case "ended":
                step = self._steps.pop((said["run"], said["position"], said["attempt"]), None)
                if step is not None:
                    self._inputs.remove(step)
                    self._answers.step_ended(step_end(said))
                    self._note_rest()
            case "call":
                self._answers.step_calls(step_call(said))
            case "left":
                self._answers.call_left(said["run"], said["position"], said["attempt"], said["number"])
            case "idle":
                self._idle = said["workers"]
            case "evaluator":
                if said["problem"] is None:
                    self._forked(said["pid"])
                else:
                    self._not_forked(said["problem"])
            case "evaluator_ended":
                self._evaluator_ended(said["pid"], said["how"])
            case "loading":
                self._loading = said["file"]
                if not self._loading:
                    self._describing()
            case "described":
                self._described = read_definitions(said["definitions"])
            case "loaded":
                self._loading = ""
                if self._loaded is not None and not self._loaded.done():
                    self._loaded.set_result(load_report(said, self._described))
                    self._described = None

    def _describing(self) -> None:
        """The plugins are loaded: what is left to do is not theirs, and has as much time again."""
        if self._patience is not None:
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                self._patience.reschedule(asyncio.get_running_loop().time() + self._settings.start_timeout)

    # --- its end -------------------------------------------------------------------------------------------

    def _link_ended(self, error: HostError | None) -> None:
        """The stream is over: so is the host, by itself or by our hand."""
        if error is not None:
            _log.error("the code host broke the protocol", error=str(error))
        if self._process is None:
            return
        if error is not None:
            self._process.kill()
        elif not self._closing:
            asyncio.get_running_loop().call_later(_EXIT_PATIENCE, self._process.kill)

    def _ended(self, how: str) -> None:
        if self._link is not None:
            self._link.drain()
            self._link.close()
        self._farewell = asyncio.get_running_loop().create_task(self._say_farewell(how))

    async def _say_farewell(self, how: str) -> None:
        """First what it left behind is dead, then the engine hears that its steps are interrupted."""
        mark = self._mark
        left = await asyncio.to_thread(kill_until_gone, lambda: marked(mark), patience=_SWEEP_PATIENCE)
        if left:
            _log.error("processes of an ended code host cannot be ended", processes=left)
        self._gone.set()
        if self._loaded is not None and not self._loaded.done():
            self._loaded.set_exception(self._not_loaded(how))
        for waiting in self._forks:
            if not waiting.done():
                waiting.set_exception(HostError(f"the code host has ended: {how}"))
        self._forks.clear()
        await self._end_pool(how)
        await self._inputs.close()
        for key in list(self._steps):
            if key in self._unsent:
                self._end_step(key, "not_received", None)
            else:
                self._end_step(key, "interrupted", TickError("Interrupted", f"the code host ended: {how}"))
        if not self._closing and self._report is not None:
            self._answers.host_lost(how)

    async def _end_pool(self, how: str) -> None:
        """The evaluators ended through no sensor's fault: a pool that is closing gives their ticks back."""
        if self._pool is None:
            return
        closing = asyncio.create_task(self._pool.close(0.0))
        await asyncio.sleep(0)
        for pid in sorted(self._evaluators):
            self._evaluator_ended(pid, f"the code host ended: {how}")
        await closing

    def _end_step(self, key: tuple[int, int, int], outcome: Any, error: TickError | None) -> None:
        step = self._steps.pop(key, None)
        if step is not None:
            self._inputs.remove(step)
            run_id, position, attempt = key
            self._answers.step_ended(StepEnd(run_id, position, attempt, outcome, error=error))
            self._note_rest()

    def _note_rest(self) -> None:
        if not self._steps:
            self._rests.set()

    def _not_loaded(self, how: str) -> HostError:
        return ended_while_loading(self._loading, how, self._process.last_lines if self._process else "")
