"""The process for inline steps: one event loop for their code, threads for their inputs and values.

A step is performed as in any worker, in a thread; only what its `async def` returns is awaited in the loop. So reading
inputs, and flushing a value to the disk, never hold the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import mmap
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from freshet.definitions.asset import AssetSpec
from freshet.definitions.durations import format_duration
from freshet.definitions.executor import Inline
from freshet.definitions.job import JobSpec
from freshet.host.describe import Catalog
from freshet.host.frames import FrameDecoder, decode, encode
from freshet.host.inline.flight import Flight, LoopHeld, mark_of, step_of, task_factory
from freshet.host.inline.messages import InlineEnded, InlineReceived, InlineSaid
from freshet.host.inline.resources import FLIGHT, InlineResources
from freshet.host.journal import Journal
from freshet.host.launch import untold
from freshet.host.line import Line
from freshet.host.messages import Run, WorkerEnded
from freshet.host.output import Output
from freshet.host.step import perform
from freshet.host.wear import Wear

__all__ = ["run"]

_CHUNK = 1 << 18
_THREADS = 2000
"""Steps that read inputs, or are awaited, at once; the others have not begun."""
_LOOK = 0.02
_SWITCH_INTERVAL = 0.001

_JOURNAL: ContextVar[Journal | None] = ContextVar("freshet_inline_journal", default=None)


class _Journals(Journal):
    """Lines go to the journal of the step that says them; those of nobody to the daemon's log."""

    def __init__(self) -> None:
        super().__init__(Path())

    def text(self, stream: Literal["stdout", "stderr"], line: str) -> None:
        journal = _JOURNAL.get()
        if journal is None:
            os.write(2, f"{line}\n".encode("utf-8", "backslashreplace"))
        else:
            journal.text(stream, line)

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        journal = _JOURNAL.get()
        if journal is None:
            os.write(2, f"{level}: {message}\n".encode("utf-8", "backslashreplace"))
        else:
            journal.log(level, message, fields)


def run(sock: int, page: mmap.mmap, catalog: Catalog, state_dir: Path) -> None:
    """Perform the steps that come through `sock`, until it ends. Owns the process: its loop, SIGUSR1, its output."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.freeze()
    Output(_Journals()).install()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    _Process(loop, socket.socket(fileno=sock), page, catalog, state_dir).serve()


class _Line(Line):
    """Of one step: the process reads for all of them."""

    def __init__(self, step: tuple[int, int], send: Callable[[bytes], None]) -> None:
        super().__init__(FrameDecoder())
        self._step = step
        self._send = send
        self.begin(-1, os.getpid())

    def say(self, message: Any) -> None:
        run, position = self._step
        self._send(encode(InlineSaid(op="said", run=run, position=position, said=message)))

    def _attend(self, loop: asyncio.AbstractEventLoop) -> None:
        """There is nothing to read."""

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """There was nothing to read."""


class _Process:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, page: mmap.mmap, catalog: Catalog, state_dir: Path
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._words = memoryview(page).cast("Q")
        self._catalog = catalog
        self._values_dir = state_dir / "values"
        self._runs_dir = state_dir / "runs"
        self._decoder = FrameDecoder()
        self._threads = ThreadPoolExecutor(_THREADS)
        self._flights: dict[tuple[int, int], Flight] = {}
        self._saying = threading.Lock()
        self._wearing = threading.Lock()
        self._wear = Wear(catalog.definitions)
        specs: tuple[AssetSpec | JobSpec, ...] = (*catalog.definitions.assets, *catalog.definitions.jobs)
        self._stalls = {spec.name: spec.executor.stall for spec in specs if isinstance(spec.executor, Inline)}
        self._resources = InlineResources(catalog.resources, loop)
        self._over = False
        self._busy = threading.Event()
        loop.set_task_factory(task_factory(self._words))
        loop.add_reader(sock, self._read)

    def serve(self) -> None:
        """Until the socket ends."""
        signal.signal(signal.SIGUSR1, self._held)
        threading.Thread(target=self._watch, daemon=True).start()
        while not self._over:
            try:
                self._loop.run_forever()
            except BaseException as error:  # out of a callback: tasks are caught where they run
                os.write(2, f"a callback of an inline step raised {error!r}\n".encode("utf-8", "backslashreplace"))

    def _read(self) -> None:
        data = self._sock.recv(_CHUNK, socket.MSG_DONTWAIT)
        if not data:
            self._loop.remove_reader(self._sock)
            threading.Thread(target=self._close, daemon=True).start()
            return
        for payload in self._decoder.feed(data):
            order = decode(payload)
            step = order["run"], order["position"]
            if order["op"] == "run":
                self._busy.set()
                line = _Line(step, self._send)
                self._flights[step] = flight = Flight(mark_of(*step), order["step"], self._loop, line)
                self._threads.submit(contextvars.Context().run, self._perform, order, flight)
            elif step in self._flights and order["op"] == "stop":
                self._flights[step].stop()
            elif step in self._flights:
                self._flights[step].line.take(order)

    def _close(self) -> None:
        """In a thread: what is open is closed in the loop, and then the loop ends."""
        try:
            with self._resources:
                pass
        except BaseException as error:  # a resource's own
            os.write(2, f"a resource could not be closed: {error!r}\n".encode("utf-8", "backslashreplace"))
        self._over = True
        self._loop.call_soon_threadsafe(self._loop.stop)

    # --- in a thread ---------------------------------------------------------------------------------------

    def _perform(self, order: Run, flight: Flight) -> None:
        step = order["run"], order["position"]
        journal = Journal(self._runs_dir)
        journal.begin(order["run"], order["step"], order["attempt"])
        self._say(InlineReceived(op="received", run=step[0], position=step[1]))
        _JOURNAL.set(journal)
        FLIGHT.set(flight)
        journal.started(os.getpid())
        ended = perform(
            order, self._catalog, journal, values_dir=self._values_dir, kept=self._resources, line=flight.line
        )
        sys.stdout.flush()
        sys.stderr.flush()
        with self._wearing:
            last = self._wear.worn_by(order["step"])
        self._flights.pop(step, None)
        self._tell(step, ended, journal, last=last)
        journal.close()

    def _tell(self, step: tuple[int, int], ended: WorkerEnded, journal: Journal, *, last: bool) -> None:
        told = InlineEnded(op="ended", run=step[0], position=step[1], ended=ended, last=last)
        try:
            frame = encode(told)
        except Exception as error:  # as of any worker: metadata of 64 MiB, a lone surrogate
            ended = WorkerEnded(op="ended", value=None, metadata={}, error=untold(error), version=None, code=None)
            frame = encode(InlineEnded(op="ended", run=step[0], position=step[1], ended=ended, last=last))
        if ended["error"] is None:
            journal.succeeded()
        else:
            journal.state("failed", error=ended["error"])
        self._send(frame)

    def _say(self, said: InlineReceived) -> None:
        self._send(encode(said))

    def _send(self, frame: bytes) -> None:
        with self._saying:
            self._sock.sendall(frame)

    # --- who holds the loop --------------------------------------------------------------------------------

    def _watch(self) -> None:
        """In a thread of its own: a step of the loop that does not end in time is interrupted where it stands."""
        words, main = self._words, threading.main_thread().ident or 0
        seen, since = (0, 0), time.monotonic()
        while True:
            if not self._flights:
                self._busy.clear()
                self._busy.wait()
            time.sleep(_LOOK)
            now, state = time.monotonic(), (words[0], words[1])
            if state != seen or not state[0]:
                seen, since = state, now
            elif now - since > self._stall(state[0]):
                since = now
                signal.pthread_kill(main, signal.SIGUSR1)

    def _stall(self, mark: int) -> float:
        run, position = step_of(mark)
        flight = self._flights.get((run, position))
        return self._stalls.get(flight.name, Inline().stall) if flight is not None else Inline().stall

    def _held(self, number: int, frame: FrameType | None) -> None:
        mark = self._words[0]
        if mark:
            raise LoopHeld(
                f"held the event loop of inline steps for {format_duration(self._stall(mark))}: "
                "await what takes time, or give it another executor"
            )
