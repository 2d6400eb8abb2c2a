"""`python -m freshet.host.detached FOLDER`: one step in a session of its own, which no daemon's end ends.

It is a code host for this step alone: it loads the plugins as they were, forks a worker, and looks after it as any host
does. What it would tell a daemon it leaves in the folder, for the one that is there then:

    order.json     the `Run`, and where things lie; written by the daemon
    lock           held by this process as long as it lives
    begun.json     its process id, the machine's boot and the instant: user code begins, or has begun
    orders         a named pipe: `host.orders`
    result.json    the `Ended`, durable; after this the process ends

SIGTERM cancels the step. With `tied` in the order, so does the end of standard input.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from freshet.host.births import Births, Forker, Spawner
from freshet.host.boot import boot_id
from freshet.host.children import Children
from freshet.host.describe import Catalog, catalog
from freshet.host.frames import FrameDecoder, decode
from freshet.host.journal import Journal
from freshet.host.launch import Launch
from freshet.host.loader import load
from freshet.host.loop import Loop
from freshet.host.messages import Call, Called, Ended, ErrorData, FromHost, Run
from freshet.host.orders import Orders
from freshet.host.process import become_subreaper, thread_count
from freshet.host.sources import Sources
from freshet.host.worker import Bench
from freshet.host.workers import Workers
from freshet.io.files import write_durable

__all__ = ["main"]

_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL for a step that is canceled."""
_LAST_WORD = 5.0


def main(argument: str) -> None:
    """Run the step of the folder, if nobody else does or has."""
    folder = Path(argument)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if not (folder / "order.json").exists() or (folder / "begun.json").exists():
        return  # given up, or run before
    told = orjson.loads((folder / "order.json").read_bytes())
    orders = Orders(folder)
    begun = {"pid": os.getpid(), "boot": boot_id(), "at": time.time()}
    write_durable(str(folder), "begun.json", orjson.dumps(begun))
    become_subreaper()
    _Keeper(folder, told, orders).serve()


class _Keeper:
    def __init__(self, folder: Path, told: dict[str, Any], orders: Orders) -> None:
        self._folder = folder
        self._orders = orders
        self._order: Run = told["run"]
        self._state_dir = Path(told["state_dir"])
        self._sources = Sources.restore(Path(told["sources"]).read_bytes())
        self._decoder = FrameDecoder()
        self._loop = Loop()
        self._over = False
        self._tied: bool = told.get("tied", False)
        self._parent = -1
        if self._tied:  # no step is to read what only ends
            self._parent = os.dup(0)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(told["root"])

    def serve(self) -> None:
        """Until the result is there and all processes are gone."""
        woken, waking = socket.socketpair()
        woken.setblocking(False)
        waking.setblocking(False)
        loaded = load(self._sources)
        made = catalog(loaded.found, version=self._sources.version)
        problem = next((f"{one['file']}: {one['message']}" for one in [*loaded.problems, *made.problems]), None)
        if problem is not None:
            self._failed(f"the plugins cannot be loaded: {problem}")
            return
        births = self._births(made)
        children = Children(self._loop, births, keep=())
        runs_dir = self._state_dir / "runs"
        self._workers = Workers(self._loop, children, made, runs_dir, self._hear, ready=births.ready_at_once)
        self._children = children
        signal.set_wakeup_fd(waking.fileno())
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self._tied:
            self._loop.watch(self._parent, self._parent_gone)
        self._loop.watch(woken.fileno(), lambda mask: self._cancel(woken))
        self._loop.watch(self._orders.fd, self._told)
        payload = orjson.dumps(self._order)
        self._workers.run(self._order, payload)
        self._loop.run()

    def _births(self, made: Catalog) -> Births:
        if thread_count() == 1:
            return Forker(made, Bench(made, self._state_dir))
        return Spawner(self._sources, self._state_dir)

    def _hear(self, frame: bytes) -> None:
        for payload in self._decoder.feed(frame):
            said: FromHost = decode(payload)
            if said["op"] == "call":
                self._refuse(said)
            elif said["op"] == "ended" and not self._over:
                self._write(said)
                self._over = True
                self._children.when_empty = self._loop.stop
                self._workers.close(0.0)
                self._children.sweep()
                self._loop.later(0.0, self._stop_if_empty)
                self._loop.later(_LAST_WORD, self._loop.stop)

    def _refuse(self, said: Call) -> None:
        """There may be no daemon to ask for a run."""
        error = {"type": "Conflict", "message": "ctx.call is not possible in a step that runs apart from the daemon"}
        answer = Called(
            op="called",
            run=said["run"],
            position=said["position"],
            attempt=said["attempt"],
            number=said["number"],
            sub_run=None,
            state="failed",
            error=error,
            hint="give it another executor",
        )
        self._workers.pass_on(answer, orjson.dumps(answer))

    def _stop_if_empty(self) -> None:
        if self._children.empty:
            self._loop.stop()

    def _cancel(self, woken: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            woken.recv(64)
        self._workers.cancel(self._order["run"], self._order["position"], _GRACE)

    def _told(self, mask: int) -> None:
        for said in self._orders.read():
            if said["op"] == "cancel":
                self._workers.cancel(said["run"], said["position"], said["grace"])
            else:
                self._workers.pass_on(said, orjson.dumps(said))

    def _parent_gone(self, mask: int) -> None:
        """Standard input has ended: nobody waits for the result any more."""
        self._loop.forget(self._parent)
        self._workers.close(0.0)
        self._loop.later(_LAST_WORD, self._loop.stop)

    def _failed(self, why: str) -> None:
        journal = Journal(self._state_dir / "runs")
        journal.begin(self._order["run"], self._order["step"], self._order["attempt"])
        launch = Launch(self._order, b"", journal)
        for payload in self._decoder.feed(launch.told_failed(ErrorData(type="HostError", message=why, traceback=""))):
            self._write(decode(payload))

    def _write(self, ended: Ended) -> None:
        write_durable(str(self._folder), "result.json", orjson.dumps(ended))


if __name__ == "__main__":
    main(sys.argv[1])
