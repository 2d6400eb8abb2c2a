"""The code host: what it does with what the daemon says."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import socket
import sys
from pathlib import Path

from freshet.host.births import Births, Forker, Spawner
from freshet.host.channel import Channel
from freshet.host.children import Child, Children
from freshet.host.describe import Catalog, catalog
from freshet.host.fits import prepare
from freshet.host.frames import decode, encode
from freshet.host.lanes import Lanes
from freshet.host.loader import load, quiet_threads
from freshet.host.loop import Loop
from freshet.host.messages import (
    Described,
    EvaluatorEnded,
    EvaluatorForked,
    HostPlan,
    Loaded,
    Loading,
    ProblemData,
    ToHost,
)
from freshet.host.process import complain, thread_count
from freshet.host.sources import Sources
from freshet.host.worker import Bench

__all__ = ["Server", "load_plugins"]

_LAST_WORD = 5.0
"""Seconds for all children to be gone after SIGKILL, and for the daemon to take the last frames."""


def load_plugins(plan: HostPlan, control: socket.socket) -> tuple[Catalog, Births]:
    """Load and describe the plugins, tell the daemon, and settle how children are made."""
    control.setblocking(True)
    sources = Sources.restore(os.pread(plan.snapshot, os.fstat(plan.snapshot).st_size, 0))
    os.close(plan.snapshot)
    loaded = load(sources, announce=lambda file: control.sendall(encode(Loading(op="loading", file=file))))
    control.sendall(encode(Loading(op="loading", file="")))
    told = list[Catalog]()

    def tell(made: Catalog) -> None:
        told.append(made)
        control.sendall(encode(Described(op="described", definitions=made.as_json())))
        made.text = None

    made = catalog(loaded.found, version=sources.version, described=tell)
    _preload(made)
    state_dir = Path(plan.state_dir)
    fork = thread_count() == 1
    warnings = list(loaded.warnings)
    if not fork and not warnings:
        warnings.append(_unknown_thread())
    control.sendall(
        encode(
            Loaded(
                op="loaded",
                definitions=None if any(one is made for one in told) else made.as_json(),
                problems=[*loaded.problems, *made.problems],
                warnings=warnings,
                start_method="fork" if fork else "spawn",
            )
        )
    )
    return made, Forker(made, Bench(made, state_dir)) if fork else Spawner(sources, state_dir)


def _preload(made: Catalog) -> None:
    """What children need is imported before they are forked."""
    # asyncio with it, for `async def` steps too; nothing of it runs here.
    importlib.import_module("freshet.host.evaluator.main")
    for asset in made.assets.values():
        prepare(asset.function)
    named = {spec.io for spec in made.definitions.assets if spec.io is not None}
    with quiet_threads():
        for module in made.managers.modules(named, tables="pyarrow" in sys.modules):
            with contextlib.suppress(ImportError):  # who needs what is not there says so itself
                importlib.import_module(module)


def _unknown_thread() -> ProblemData:
    return ProblemData(
        message="a thread runs that no plugin started while it was loading: workers are new processes instead of forks",
        hint="look for threads started at import",
        file=None,
        line=None,
        traceback="",
    )


class Server:
    """Serves one daemon until it says `Close` or is gone."""

    def __init__(self, plan: HostPlan, control: socket.socket, made: Catalog, births: Births) -> None:
        self._loop = Loop()
        self._control = Channel(control)
        self._children = Children(self._loop, births, keep=plan.keep)
        self._handing: list[Child] = []
        self._closing = False
        state_dir = Path(plan.state_dir)
        self._lanes = Lanes(self._loop, self._children, made, state_dir, self._tell, ready=births.ready_at_once)
        self._watch_control()

    def serve(self) -> None:
        """Until the end."""
        gc.collect()
        gc.freeze()  # the collector's marks would make a copy of every page in each child
        self._loop.run()
        self._control.close()
        self._loop.close()

    def _tell(self, frame: bytes, fds: tuple[int, ...] = ()) -> None:
        self._control.send(frame, fds)
        self._watch_control()

    def _watch_control(self) -> None:
        if not self._control.ended:
            self._loop.watch(self._control.fileno(), self._listen, write=self._control.wants_write)

    def _listen(self, mask: int) -> None:
        self._control.flush()
        for payload in self._control.read():
            self._obey(decode(payload), payload)
        if self._control.ended:
            self._loop.forget(self._control.fileno())
            self._close(0.0)  # the daemon is gone
        else:
            self._watch_control()
        if not self._control.wants_write:
            self._release_handed()

    def _obey(self, said: ToHost, payload: bytes) -> None:
        match said["op"]:
            case "run":
                self._lanes.run(said, payload)
            case "cancel":
                self._lanes.cancel(said["run"], said["position"], said["grace"])
            case "cancel_item" | "called":
                self._lanes.pass_on(said, payload)
            case "open":
                self._lanes.open(said["workers"])
            case "evaluator":
                self._start_evaluator(said["label"])
            case "kill":
                if (child := self._children.by_pid.get(said["pid"])) is not None:
                    self._children.kill(child)
            case "close":
                self._close(said["grace"])

    # --- evaluators ----------------------------------------------------------------------------------------

    def _start_evaluator(self, label: str) -> None:
        if self._closing:
            return
        try:
            (child,) = self._children.start("evaluator")
        except OSError as error:  # no more processes, memory or descriptors
            self._tell(encode(EvaluatorForked(op="evaluator", label=label, pid=0, problem=str(error))))
            return
        child.ended = lambda how: self._tell(encode(EvaluatorEnded(op="evaluator_ended", pid=child.pid, how=how)))
        self._handing.append(child)
        forked = encode(EvaluatorForked(op="evaluator", label=label, pid=child.pid, problem=None))
        self._tell(forked, (child.sock.fileno(), child.page))
        if not self._control.wants_write:
            self._release_handed()

    def _release_handed(self) -> None:
        """The daemon has its own copies of these descriptors now."""
        for child in self._handing:
            child.sock.close()
            os.close(child.page)
        self._handing.clear()

    # --- the end -------------------------------------------------------------------------------------------

    def _close(self, grace: float) -> None:
        self._children.when_empty = self._loop.stop
        if not self._closing:
            self._closing = True
            self._loop.later(grace + _LAST_WORD, self._give_up)
        for child in list(self._children.by_pid.values()):
            if child.kind == "evaluator" or self._control.ended:
                self._children.kill(child)
        self._lanes.close(grace)
        self._children.sweep()
        if self._children.empty:
            self._loop.stop()

    def _give_up(self) -> None:
        left = sorted(self._children.by_pid)
        complain(f"the code host ends although these processes do not: {left}")
        self._loop.stop()
