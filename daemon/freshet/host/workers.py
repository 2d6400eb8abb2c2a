"""Workers ahead of need, and the launches they take.

A worker takes one step and ends. Enough of them wait that a burst finds them; making the next one happens between
messages, never on the way of a step to its worker, unless none waits at all.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from freshet.errors import HostError
from freshet.host.channel import Channel
from freshet.host.children import Child, Children
from freshet.host.describe import Catalog
from freshet.host.frames import encode, wrap
from freshet.host.journal import Journal
from freshet.host.launch import Launch
from freshet.host.loop import Loop, Timer
from freshet.host.memory import MemoryWatch
from freshet.host.messages import Called, CancelItem, ErrorData, FromWorker, Idle, Run
from freshet.host.process import complain
from freshet.host.said import said_by_worker

__all__ = ["Workers"]

_SPARE = 2
_BATCH = 4
"""Workers made in one go at most. Each fork makes the host's memory copy-on-write again, so that forks one by one
cost the host hundreds of page faults each."""
_LOW = 1
"""With fewer waiting, others are made at once."""
_TOP_UP_AFTER = 0.02
"""Seconds of rest before others are made while enough still wait: in a burst, a whole batch is due then."""
_RETRY_AFTER = (0.1, 0.3, 1.0, 3.0)
"""Seconds before another worker is tried after so many in a row that came to nothing; then launches fail."""
_BY_HAND = ("killed by SIGKILL", "killed by SIGTERM")
"""A waiting worker that ends in another way came to nothing by itself, and the next one may too."""
_DUMP_TIME = 0.05
"""Seconds for a step that timed out to say where it stands."""
_DUMPED_YET = 0.002
_IDLE_NEWS = 0.05


class _Worker:
    def __init__(self, child: Child, *, ready: bool) -> None:
        self.child = child
        self.channel = Channel(child.sock)
        self.ready = ready
        self.launch: Launch | None = None
        self.garbled = ""
        """What came from it that it cannot have said: user code wrote on its socket."""


class Workers:
    """The pool. `tell` sends a frame to the daemon."""

    def __init__(
        self,
        loop: Loop,
        children: Children,
        catalog: Catalog,
        runs_dir: Path,
        tell: Callable[[bytes], None],
        *,
        ready: bool,
    ) -> None:
        self._loop = loop
        self._children = children
        self._catalog = catalog
        self._runs_dir = runs_dir
        self._tell = tell
        self._ready_at_once = ready
        self._target = 0
        self._waiting: deque[_Worker] = deque()
        self._loading: set[_Worker] = set()
        self._busy: dict[tuple[int, int], _Worker] = {}
        self._pending: deque[Launch] = deque()
        self._failures = 0
        self._unwritten: int | None = None
        self._closing = False
        self._top_up: Timer | None = None
        self._told_idle = -1
        self._idle_news: Timer | None = None

    def open(self, workers: int) -> None:
        """Keep enough waiting for `workers` at once."""
        self._target = workers + (_SPARE if self._ready_at_once else 0)
        self._schedule(0.0)

    # --- launches ------------------------------------------------------------------------------------------

    def run(self, order: Run, payload: bytes) -> None:
        """Launch a step; `payload` is the order as it came."""
        if self._pending or not self._waiting:
            self._pending.append(self.launch(order, payload))
        else:  # the rest is noted while the worker wakes up
            worker = self._waiting.popleft()
            worker.channel.send(wrap(payload))
            self._handed(worker, self.launch(order, payload))
        self._assign()

    def launch(self, order: Run, payload: bytes) -> Launch:
        """A launch of an order, with its journal and timeout."""
        journal = Journal(self._runs_dir, unwritten=self._note_unwritten)
        journal.begin(order["run"], order["step"], order["attempt"])
        definitions = self._catalog.definitions
        spec = definitions.job.get(order["step"]) or definitions.stepped(order["step"])
        if spec is None:
            return Launch(order, payload, journal)
        return Launch(
            order, payload, journal, timeout=spec.timeout, surroundings=spec.surroundings, retries=spec.retries
        )

    def cancel(self, run: int, position: int, grace: float) -> None:
        """End a step before its time. One that is not here has ended: nothing happens."""
        for launch in self._pending:
            if launch.step == (run, position):
                self._pending.remove(launch)
                self._tell(launch.told_not_begun("canceled"))
                return
        worker = self._busy.get((run, position))
        if worker is not None and worker.launch is not None:
            self._end_early(worker, worker.launch, "canceled", grace)

    def pass_on(self, said: CancelItem | Called, payload: bytes) -> None:
        """Hand a message to the worker of a step; nothing happens if it has none."""
        worker = self._busy.get((said["run"], said["position"]))
        if worker is not None:
            worker.channel.send(wrap(payload))
            self._watch(worker)

    def close(self, grace: float) -> None:
        """End all workers: those that wait at once, busy ones with SIGTERM, and SIGKILL after `grace`."""
        self._closing = True
        while self._pending:
            self._tell(self._pending.popleft().told_not_begun("not_received"))
        for worker in [*self._waiting, *self._loading]:
            self._children.kill(worker.child)
        self._waiting.clear()
        for worker in list(self._busy.values()):
            if worker.launch is not None:
                self._end_early(worker, worker.launch, "interrupted", grace)

    def _end_early(
        self, worker: _Worker, launch: Launch, why: Literal["canceled", "interrupted"], grace: float
    ) -> None:
        launch.ending = launch.ending or why
        if grace > 0:
            self._children.kill(worker.child, signal.SIGTERM)
        launch.timers.append(self._loop.later(grace, lambda: self._children.kill(worker.child)))

    def _time_out(self, worker: _Worker, launch: Launch) -> None:
        if launch.ending is None:
            launch.ending = "timed out"
            self._children.signal(worker.child, signal.SIGUSR2)  # faulthandler: where does it stand
            launch.timers.append(self._loop.later(_DUMP_TIME, lambda: self._children.kill(worker.child)))

    def _limit_memory(self, worker: _Worker, launch: Launch, limit: int) -> None:
        def over(used: int) -> None:
            if launch.ending is None:
                launch.ending, launch.used = "out of memory", used
                self._children.signal(worker.child, signal.SIGUSR2)
                self._kill_once_told(worker, launch, self._loop.clock() + _DUMP_TIME)

        launch.timers.append(MemoryWatch(self._loop, worker.child.pid, limit, over))

    def _kill_once_told(self, worker: _Worker, launch: Launch, until: float) -> None:
        """As soon as it has said where it stands: it goes on filling memory meanwhile."""
        if launch.stack or self._loop.clock() >= until:
            self._children.kill(worker.child)
        else:
            again = self._loop.later(_DUMPED_YET, lambda: self._kill_once_told(worker, launch, until))
            launch.timers.append(again)

    # --- handing out ---------------------------------------------------------------------------------------

    def _assign(self) -> None:
        while self._pending:
            if self._waiting:
                worker, launch = self._waiting.popleft(), self._pending.popleft()
                worker.channel.send(wrap(launch.payload))
                self._handed(worker, launch)
            elif not self._ready_at_once or self._failures or not self._start(min(self._wanted, _BATCH)):
                break
        self._schedule(0.0 if len(self._waiting) < _LOW else _TOP_UP_AFTER)
        self._note_idle()

    def _handed(self, worker: _Worker, launch: Launch) -> None:
        worker.launch = launch
        self._busy[launch.step] = worker
        worker.child.output = launch.output
        self._watch(worker)

    def _watch(self, worker: _Worker) -> None:
        self._loop.watch(worker.channel.fileno(), lambda mask: self._talk(worker), write=worker.channel.wants_write)

    def _schedule(self, delay: float) -> None:
        if self._closing or len(self._waiting) + len(self._loading) >= self._wanted:
            return
        if self._failures:
            delay = max(delay, _RETRY_AFTER[min(self._failures, len(_RETRY_AFTER)) - 1])
        if self._top_up is not None and delay == 0:
            self._top_up.cancel()
            self._top_up = None
        if self._top_up is None:
            self._top_up = self._loop.later(delay, self._start_another)

    @property
    def _wanted(self) -> int:
        return max(self._target, len(self._pending))

    def _start_another(self) -> None:
        self._top_up = None
        lacking = self._wanted - len(self._waiting) - len(self._loading)
        if not self._closing and lacking > 0 and self._start(min(lacking, _BATCH)):
            self._assign()

    def _start(self, count: int = 1) -> bool:
        try:
            children = self._children.start("worker", count)
        except OSError as error:  # no more processes, memory or descriptors: not for ever, one hopes
            self._could_not_start(str(error))
            return False
        for child in children:
            self._add(child)
        return True

    def _add(self, child: Child) -> None:
        worker = _Worker(child, ready=self._ready_at_once)
        child.output = _stray_output
        child.ended = lambda how: self._gone(worker, how)
        if worker.ready:
            self._waiting.append(worker)
        else:
            self._loading.add(worker)
        self._watch(worker)

    # --- what workers say ----------------------------------------------------------------------------------

    def _talk(self, worker: _Worker) -> None:
        worker.channel.flush()
        self._listen(worker)
        if worker.channel.ended or worker.garbled:
            self._loop.forget(worker.channel.fileno())  # its end shows on the pidfd
        else:
            self._watch(worker)

    def _listen(self, worker: _Worker) -> None:
        if worker.garbled:
            return
        said = worker.channel.read()
        while True:
            try:
                payload = next(said, None)
                message = None if payload is None else said_by_worker(payload)
            except HostError as error:
                worker.garbled = f"something of its own wrote on its socket ({error.message})"
                self._children.kill(worker.child)
                return
            if message is None:
                return
            self._hear(worker, message)

    def _hear(self, worker: _Worker, said: FromWorker) -> None:
        launch = worker.launch
        if said["op"] == "ready":
            if worker in self._loading:
                self._loaded(worker, said["problem"])
        elif launch is None or launch.ended is not None:
            return
        elif said["op"] == "received":
            if launch.received:
                return
            launch.received = True
            self._failures = 0
            if launch.timeout is not None:
                launch.timers.append(self._loop.later(launch.timeout, lambda: self._time_out(worker, launch)))
            if launch.surroundings is not None and launch.surroundings.memory is not None:
                self._limit_memory(worker, launch, launch.surroundings.memory)
            self._tell(launch.told_received(worker.child.pid))
        elif said["op"] == "call" or said["op"] == "left":
            self._tell(launch.told_said(said))
        else:
            launch.ended = said
            launch.quiet()
            self._children.drain(worker.child)
            launch.output_ended()  # what is told as ended has its journal whole
            self._busy.pop(launch.step, None)
            self._tell(launch.told_ended(said))

    def _loaded(self, worker: _Worker, problem: str | None) -> None:
        if problem is not None:
            return  # it ends now, and is counted then
        self._loading.discard(worker)
        worker.ready = True
        if not self._closing:
            self._waiting.append(worker)
            self._assign()

    def _gone(self, worker: _Worker, how: str) -> None:
        self._listen(worker)
        how = worker.garbled or how
        self._loop.forget(worker.channel.fileno())
        worker.channel.close()
        if worker in self._waiting:
            self._waiting.remove(worker)
        self._loading.discard(worker)
        launch = worker.launch
        begun = launch is not None and (launch.received or launch.ending)
        if not worker.ready or (not begun and how not in _BY_HAND):
            self._could_not_start(how)
        if launch is not None:
            launch.output_ended()
            if launch.ended is None:
                self._busy.pop(launch.step, None)
                self._tell(launch.told_lost(how))
            launch.close()
        self._schedule(0.0 if len(self._waiting) < _LOW else _TOP_UP_AFTER)
        self._note_idle()

    def _could_not_start(self, how: str) -> None:
        if self._closing:
            return
        self._failures += 1
        if self._failures >= len(_RETRY_AFTER):
            text = f"no worker could be started: {how}; the daemon's log says more"
            while self._pending:
                launch = self._pending.popleft()
                self._tell(launch.told_failed(ErrorData(type="WorkerDied", message=text, traceback="")))
                launch.close()

    def _note_unwritten(self, error: OSError) -> None:
        """The steps go on; what they say is lost. Said once for each reason."""
        if error.errno != self._unwritten:
            self._unwritten = error.errno
            complain(f"a line of a journal cannot be written: {error}")

    # --- status --------------------------------------------------------------------------------------------

    def _note_idle(self) -> None:
        if self._idle_news is None and len(self._waiting) != self._told_idle and not self._closing:
            self._idle_news = self._loop.later(_IDLE_NEWS, self._tell_idle)

    def _tell_idle(self) -> None:
        self._idle_news = None
        if len(self._waiting) != self._told_idle and not self._closing:
            self._told_idle = len(self._waiting)
            self._tell(encode(Idle(op="idle", workers=self._told_idle)))


def _stray_output(stream: Literal["stdout", "stderr"], data: bytes) -> None:
    """What a worker says before it has a step (while it loads) goes to the daemon's log."""
    complain(data.decode("utf-8", "backslashreplace").rstrip("\n"))
