"""Detached steps, as the daemon sees them: started in a session of their own, found again by what they leave.

`state_dir/detached/RUN-POSITION-ATTEMPT/` holds one, from before it begins until its end is handed on; `host.detached`
says what lies in it. Whether it lives is asked of its lock, not of a number that may be another's by now: who gets the
lock knows that it is over, and that it will not begin any more.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog

from freshet.definitions.asset import AssetSpec
from freshet.definitions.executor import Detached
from freshet.definitions.graph import Definitions
from freshet.definitions.job import JobSpec
from freshet.errors import HostError
from freshet.executors.base import Answers, ItemRef, StepEnd
from freshet.executors.hostsettings import HostSettings
from freshet.executors.input_files import is_large, remove_inputs, write_inputs
from freshet.executors.strays import MARK
from freshet.executors.translate import run_order, step_end
from freshet.host.boot import boot_id
from freshet.host.messages import Cancel, CancelItem
from freshet.host.orders import tell
from freshet.host.sources import Sources
from freshet.store.records import StepToRun, TickError

__all__ = ["DetachedSteps"]

_log = structlog.get_logger("freshet.runs")
_LOOK_AGAIN = 0.05
_KILL_MARGIN = 5.0
"""Seconds beyond its grace after which a canceled step is killed with its keeper."""

Key = tuple[int, int]


@dataclass(eq=False)
class _Flight:
    step: StepToRun
    folder: Path
    child: bool = False
    pidfd: int = -1
    pid: int = 0
    silent: bool = False
    canceled: bool = False


class DetachedSteps:
    """Implements `apart.StepExecutor`."""

    lasting = True

    def __init__(self, settings: HostSettings, answers: Answers) -> None:
        self._settings = settings
        self._answers = answers
        self._top = settings.state_dir / "detached"
        self._flights: dict[Key, _Flight] = {}
        self._sources: Path | None = None
        self._problem = "no definitions are in force"
        self._closed = False

    def prepare(self, definitions: Definitions, sources: Sources | None = None) -> None:
        """Keep the plugins as they were loaded, if any step is to be detached."""
        self._sources = None
        self._remove_sources()
        specs: tuple[AssetSpec | JobSpec, ...] = (*definitions.assets, *definitions.jobs)
        if not any(isinstance(one.executor, Detached) for one in specs):
            self._problem = "no step is detached"
            return
        sources = sources or self._settings.read()
        if sources.version != definitions.version:
            self._problem = "the plugins were changed after they were loaded; freshet reload"
            return
        self._top.mkdir(mode=0o700, exist_ok=True)
        self._sources = self._top / f"plugins-{sources.version}.json"
        written = self._sources.with_suffix(".part")
        written.write_bytes(sources.dump())
        written.replace(self._sources)

    def _remove_sources(self) -> None:
        """Those that no step under way began with."""
        named = set[str]()
        for folder in self._top.glob("*-*-*"):
            with suppress(OSError, ValueError, KeyError):
                named.add(orjson.loads((folder / "order.json").read_bytes())["sources"])
        for path in self._top.glob("plugins-*"):
            if str(path) not in named:
                path.unlink(missing_ok=True)

    # --- what an earlier daemon left ------------------------------------------------------------------------

    def found(self) -> tuple[StepToRun, ...]:
        """What lies in the folder. What cannot be read never began."""
        found: list[StepToRun] = []
        for folder in self._top.glob("*-*-*"):
            try:
                told = orjson.loads((folder / "order.json").read_bytes())
                step = StepToRun(**told["step"])
            except (OSError, ValueError, TypeError, KeyError):
                if folder.is_dir():
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            self._flights[step.run_id, step.position] = _Flight(step, folder)
            found.append(step)
        return tuple(found)

    def adopt(self, steps: Collection[Key]) -> None:
        """Wait for these, and end the others."""
        for key, flight in self._flights.items():
            flight.silent = key not in steps
            if not flight.silent:
                _log.info("a detached step is adopted", run=flight.step.run_id, step=flight.step.name)
            asyncio.get_running_loop().call_soon(self._look, flight)

    def _look(self, flight: _Flight) -> None:
        """Watch it if it lives, take its end if it does not."""
        if self._closed or flight.pidfd >= 0:
            return
        lock = _lock(flight.folder)
        if lock is not None:
            os.close(lock)
            self._over(flight)
            return
        with suppress(OSError, ValueError, KeyError):
            flight.pid = orjson.loads((flight.folder / "begun.json").read_bytes())["pid"]
            self._watch(flight)
            if flight.silent or flight.canceled:
                self.cancel(flight.step.run_id, flight.step.position, grace=0.0)
            return
        asyncio.get_running_loop().call_later(_LOOK_AGAIN, self._look, flight)

    # --- launches -------------------------------------------------------------------------------------------

    def run(self, step: StepToRun) -> None:
        """Launch it."""
        folder = self._top / f"{step.run_id}-{step.position}-{step.attempt}"
        flight = self._flights[step.run_id, step.position] = _Flight(step, folder, child=True)
        try:
            self._start(flight)
        except (OSError, HostError, TypeError) as error:
            said = TickError(type(error).__name__, f"the step cannot be started by itself: {error}")
            asyncio.get_running_loop().call_soon(self._tell, flight, StepEnd(*_key(step), "failed", error=said))

    def _start(self, flight: _Flight) -> None:
        step, settings = flight.step, self._settings
        if self._sources is None:
            raise HostError(self._problem)
        written = write_inputs(settings.state_dir / "runs", step) if is_large(step) else None
        flight.folder.mkdir(mode=0o700)
        told = {
            "run": run_order(step, timezone=settings.timezone, inputs_file=written),
            "step": _kept(step),
            "state_dir": str(settings.state_dir),
            "root": str(settings.root),
            "sources": str(self._sources),
        }
        (flight.folder / "order.json").write_bytes(orjson.dumps(told))
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        log = flight.folder / "log"
        actions: list[Any] = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        command = [settings.python, "-P", "-m", "freshet.host.detached", str(flight.folder)]
        flight.pid = os.posix_spawn(settings.python, command, environment, file_actions=actions, setsid=True)
        self._watch(flight)
        self._answers.step_received(*_key(step), flight.pid)

    def _watch(self, flight: _Flight) -> None:
        flight.pidfd = os.pidfd_open(flight.pid)
        asyncio.get_running_loop().add_reader(flight.pidfd, self._ended, flight)

    def cancel(self, run_id: int, position: int, *, grace: float) -> None:
        """Tell its keeper, which cancels it; if that does not help, SIGKILL to it and all below it."""
        flight = self._flights.get((run_id, position))
        if flight is None:
            return
        flight.canceled = True
        if flight.pidfd < 0:  # it is not known yet which process it is: see `_look`
            return
        if not tell(flight.folder, Cancel(op="cancel", run=run_id, position=position, grace=grace)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(flight.pidfd, signal.SIGTERM)
        asyncio.get_running_loop().call_later(grace + _KILL_MARGIN, self._kill, flight)

    def cancel_item(self, run_id: int, item: ItemRef) -> None:
        """End one item; asked again until its keeper listens."""
        flight = self._flights.get((run_id, item.position))
        if flight is None or flight.silent or self._closed:
            return
        said = CancelItem(op="cancel_item", run=run_id, position=item.position, call=item.call, item=item.item)
        if not tell(flight.folder, said):
            asyncio.get_running_loop().call_later(_LOOK_AGAIN, self.cancel_item, run_id, item)

    def _kill(self, flight: _Flight) -> None:
        if flight.pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(flight.pidfd, signal.SIGKILL)

    # --- its end --------------------------------------------------------------------------------------------

    def _ended(self, flight: _Flight) -> None:
        self._unwatch(flight)
        if flight.child:
            with suppress(ChildProcessError):
                os.waitpid(flight.pid, 0)
        lock = _lock(flight.folder)
        if lock is None:  # not this one's keeper: the number was another's
            asyncio.get_running_loop().call_later(_LOOK_AGAIN, self._look, flight)
            return
        os.close(lock)
        self._over(flight)

    def _unwatch(self, flight: _Flight) -> None:
        if flight.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(flight.pidfd)
            os.close(flight.pidfd)
            flight.pidfd = -1

    def _over(self, flight: _Flight) -> None:
        self._tell(flight, self._end(flight))

    def _end(self, flight: _Flight) -> StepEnd:
        key, folder = _key(flight.step), flight.folder
        with suppress(OSError, ValueError):
            return step_end(orjson.loads((folder / "result.json").read_bytes()))
        if flight.canceled:
            return StepEnd(*key, "canceled")
        try:
            begun = orjson.loads((folder / "begun.json").read_bytes())
        except (OSError, ValueError):
            return StepEnd(*key, "not_received", error=_error("it could not begin", folder))
        if begun["boot"] != boot_id():
            return StepEnd(*key, "interrupted", error=TickError("Interrupted", "the machine was started anew"))
        return StepEnd(*key, "died", error=_error("its process ended without a result", folder))

    def _tell(self, flight: _Flight, end: StepEnd) -> None:
        self._flights.pop((flight.step.run_id, flight.step.position), None)
        if self._closed:
            return
        remove_inputs(self._settings.state_dir / "runs", flight.step)
        if not flight.silent:
            self._answers.step_ended(end)
        shutil.rmtree(flight.folder, ignore_errors=True)

    async def close(self) -> None:
        """They go on."""
        self._closed = True
        for flight in self._flights.values():
            self._unwatch(flight)


def _key(step: StepToRun) -> tuple[int, int, int]:
    return step.run_id, step.position, step.attempt


def _kept(step: StepToRun) -> dict[str, Any]:
    names = ("run_id", "position", "name", "kind", "attempt", "failures", "set", "partition", "key")
    return {name: getattr(step, name) for name in names} | {
        "partition_metadata": step.partition_metadata,
        "params": step.params,
        "tags": step.tags,
    }


def _error(what: str, folder: Path) -> TickError:
    try:
        said = (folder / "log").read_text(errors="backslashreplace")[-4000:]
    except OSError:
        said = ""
    return TickError("WorkerDied", f"{what}: see its log" if said else what, said)


def _lock(folder: Path) -> int | None:
    """The step's lock, if nobody has it. Raises no error where the folder is gone: then nobody can have it."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
