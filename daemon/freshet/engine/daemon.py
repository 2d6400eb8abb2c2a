"""The daemon: locks, store, engine, HTTP and signals as one task tree, and its exit status.

outer: store, HTTP, running work        ends last
inner: everything that creates work     ends at the first SIGTERM
"""

from __future__ import annotations

import asyncio
import errno
import faulthandler
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import partial
from typing import Any

import anyio
import structlog
from anyio.abc import TaskStatus

from freshet.configuration import Settings, check_folders
from freshet.definitions.executor import Lane
from freshet.definitions.tables import Tables
from freshet.engine.clock import SystemClock
from freshet.engine.engine import Engine, EngineOptions
from freshet.engine.facade import EngineControl
from freshet.engine.logs import configure_logs
from freshet.engine.looplag import Held, LoopWatch, SayHeld
from freshet.engine.notify import Manager
from freshet.engine.pluginwatch import watch_plugins
from freshet.engine.resetting import Rereader
from freshet.engine.views import EngineStatus
from freshet.errors import Conflict, FreshetError
from freshet.executors.apart import StepExecutor
from freshet.executors.base import Answers, CodeHost
from freshet.executors.children import ChildrenLock
from freshet.executors.codehost import ProcessCodeHost
from freshet.executors.dask import DaskSteps
from freshet.executors.detached import DetachedSteps
from freshet.executors.hostsettings import HostSettings
from freshet.executors.pluginfiles import read_plugins
from freshet.http.handed import handed_down
from freshet.http.serve import Outside, serve
from freshet.http.sockets import Sockets, bind
from freshet.store.lock import lock_state_dir
from freshet.store.store import Store

__all__ = ["run_daemon"]

_GARBAGE_AFTER = 10_000, 10, 10
"""New objects until Python looks for garbage among them: at its 700, ten thousand runs admitted at once are looked at
over and over."""

_log = structlog.get_logger("freshet")


def run_daemon(
    settings: Settings, read: Callable[[], Settings] | None = None, tables: Callable[[], Tables] = Tables
) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean stop, 1 where it could not start. `read`: reads the settings again;
    `tables`: what the configuration says to plugins, asked each time that they are loaded.

    An engine bug passes through as its exception: the process ends with the traceback.
    """
    configure_logs(settings.log.level, settings.log.format)
    faulthandler.enable()  # systemd's watchdog ends with SIGABRT what does not turn: the log then says where it stood
    manager = Manager.taken_from(os.environ)
    mistakes: list[FreshetError] = []
    try:
        anyio.run(_main, settings, manager, read, tables, backend_options={"use_uvloop": sys.platform != "win32"})
    except* FreshetError as group:
        mistakes = _flatten(group)
    if mistakes:
        manager.tell(STATUS=mistakes[0].message, ERRNO=errno.EINVAL)
    for error in mistakes:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201  # for people, also where the log is JSON
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)  # noqa: T201
    return 1 if mistakes else 0


def _flatten(group: BaseExceptionGroup[FreshetError]) -> list[FreshetError]:
    found: list[FreshetError] = []
    for error in group.exceptions:
        found.extend(_flatten(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


async def _main(
    settings: Settings, manager: Manager, read: Callable[[], Settings] | None, tables: Callable[[], Tables]
) -> None:
    handed = handed_down(os.environ)
    check_folders(settings)
    with lock_state_dir(settings.state_dir):
        children = await ChildrenLock.acquire(settings.state_dir)
        clock = SystemClock()
        store = await Store.open(settings.state_dir / "freshet.db", now=clock.now())
        try:
            await _serve(settings, store, children, clock, manager, handed, read, tables)
        finally:
            with anyio.CancelScope(shield=True):
                await store.close()
                children.close()


async def _serve(
    settings: Settings,
    store: Store,
    children: ChildrenLock,
    clock: SystemClock,
    manager: Manager,
    handed: socket.socket | None,
    read: Callable[[], Settings] | None,
    tables: Callable[[], Tables],
) -> None:
    hosting = HostSettings(
        plugins_dir=settings.plugins_dir,
        root=settings.root,
        state_dir=settings.state_dir,
        timezone=settings.timezone,
        tables=tables,
    )

    def make_host(answers: Answers) -> CodeHost:
        return ProcessCodeHost(hosting, answers, children)

    options = _options(settings)

    def make_executors(answers: Answers) -> Mapping[Lane, StepExecutor]:
        return {"detached": DetachedSteps(hosting, answers), "dask": DaskSteps(hosting, answers)}

    engine = Engine(
        store=store,
        make_host=make_host,
        clock=clock,
        options=options,
        make_executors=make_executors,
        read=partial(read_plugins, settings.plugins_dir, tables),
    )
    if read is not None:
        engine.reread = Rereader(engine, settings, read).reread
    ready, stopped, hurry = anyio.Event(), anyio.Event(), anyio.Event()
    control, outside = EngineControl(engine, store), Outside()
    with closing(bind(settings, handed)) as sockets:
        async with anyio.create_task_group() as outer:
            outer.start_soon(store.wait_failed)
            outer.start_soon(_watch_loop, engine, outside)
            outer.start_soon(partial(serve, control, settings, ready=ready, sockets=sockets, outside=outside))
            reload = partial(outer.start_soon, partial(_reload, engine, manager))
            await outer.start(_watch_signals, engine, stopped, hurry, reload)
            outer.start_soon(manager.keep, lambda: _at_a_glance(control.status()), lambda: bool(control.status().stuck))
            async with anyio.create_task_group() as inner:
                inner.start_soon(_run, engine, ready, settings, sockets, manager)
                inner.start_soon(watch_plugins, engine, (settings.plugins_dir,), ready)
                await stopped.wait()
                inner.cancel_scope.cancel()
            manager.tell(STOPPING=1, STATUS="finishing what runs")
            if sockets.handed:
                await outside.leave()
            await engine.stop(hurry=hurry)
            outer.cancel_scope.cancel()
    _log.info("stopped")


def _options(settings: Settings) -> EngineOptions:
    return EngineOptions(
        workers=settings.process.workers,
        lanes=settings.lanes,
        grace=settings.shutdown_grace,
        timezone=settings.timezone,
        inbox_max=settings.http.inbox_max,
        root=settings.root,
        values_dir=settings.state_dir / "values",
        max_chain=settings.automation.max_chain,
        limits=settings.run_limits,
        retention=settings.retention.kept,
        state_dir=settings.state_dir,
    )


async def _watch_loop(engine: Engine, outside: Outside) -> None:
    await outside.loaded.wait()  # until then imports in threads hold the interpreter
    say = SayHeld()

    def told(held: Held) -> None:
        engine.loop_holds.add(held, engine.clock.now())
        say(held)

    await LoopWatch(told).run()


def _at_a_glance(status: EngineStatus) -> str:
    said = f"{status.state}: {status.running} running, {status.queued} queued"
    return f"{said}; {status.problem}" if status.problem else said


async def _reload(engine: Engine, manager: Manager) -> None:
    with manager.reloading(), suppress(Conflict):  # it stops: then nothing is to be loaded
        done = await engine.reloader.reload()
        _log.info("asked to reload", outcome=done.outcome, version=done.version)


async def _run(engine: Engine, ready: anyio.Event, settings: Settings, sockets: Sockets, manager: Manager) -> None:
    gc.disable()  # what is loaded stays: to look through it for garbage takes a fifth of the time to load it
    try:
        await engine.start()
    finally:
        gc.freeze()
        gc.enable()
    asyncio.get_running_loop().set_exception_handler(partial(_callback_failed, engine))
    gc.set_threshold(*_GARBAGE_AFTER)
    ready.set()
    manager.tell(READY=1)
    found = engine.instruments.in_force.definitions
    _log.info(
        "ready",
        after=round(engine.instruments.clock.now() - engine.started_at, 3),
        http=_address(sockets),
        socket=str(sockets.path),
        plugins_dir=str(settings.plugins_dir),
        assets=len(found.assets),
        sensors=len(found.sensors),
        schedules=len(found.schedules),
        jobs=len(found.jobs),
    )
    await engine.failed()


def _address(sockets: Sockets) -> str:
    host = f"[{sockets.host}]" if ":" in sockets.host else sockets.host
    return f"http://{host}:{sockets.port}"


def _callback_failed(engine: Engine, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception in a callback of the loop is an engine bug as any other."""
    error = context.get("exception")
    if isinstance(error, BaseException):
        engine.instruments.work.fail(error)
    else:
        loop.default_exception_handler(context)


async def _watch_signals(
    engine: Engine,
    stopped: anyio.Event,
    hurry: anyio.Event,
    reload: Callable[[], None],
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """The first SIGTERM or SIGINT asks to stop, the second to stop now; SIGHUP asks to reload, unless it says that the
    terminal of the daemon is gone."""
    on_terminal = os.isatty(0)
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP and (not on_terminal or os.isatty(0)):
                if engine.state == "ready" and not stopped.is_set():
                    reload()
            elif stopped.is_set():
                _log.warning("stopping now", signal=number.name)
                hurry.set()
            else:
                _log.info("stopping", signal=number.name, **_waits_for(engine))
                stopped.set()


def _waits_for(engine: Engine) -> dict[str, Any]:
    """What the end waits for, and how long at most, in seconds."""
    running = len(engine.launcher.running) if engine.state == "ready" else 0
    if not running:
        return {}
    return {"running_steps": running, "waits_at_most": engine.options.grace, "note": "a second signal stops at once"}
