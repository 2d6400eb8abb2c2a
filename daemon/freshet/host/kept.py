"""Workers that are kept: each runs one step after another, for steps with `Process(reuse=True)`.

They are forked when they are needed, as many as may run at once, and end when they have rested for a while. A worker
that dies, or has to be killed, costs the step it had; an order that it had not begun goes to another.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Literal

from freshet.errors import HostError
from freshet.host.channel import Channel
from freshet.host.children import Child, Children
from freshet.host.frames import wrap
from freshet.host.launch import Launch
from freshet.host.loop import Loop, Timer
from freshet.host.memory import MemoryWatch
from freshet.host.messages import Called, CancelItem, ErrorData, FromWorker, Run
from freshet.host.process import complain
from freshet.host.said import said_by_worker

__all__ = ["Kept"]

_DUMP_TIME = 0.05
_GRACE = 5.0
"""Seconds for a worker's resources to be closed."""
_REST = 60.0
"""Seconds without a step after which a worker is ended."""
_TRIES = 4
"""Workers in a row that end before they have taken a step, until launches fail."""
_RETRY_AFTER = 0.3


class _Worker:
    def __init__(self, child: Child, *, ready: bool) -> None:
        self.child = child
        self.channel = Channel(child.sock)
        self.ready = ready
        self.launch: Launch | None = None
        self.leaving = False
        self.garbled = ""
        """What came from it that it cannot have said: see `workers`."""
        self.rest: Timer | None = None


class Kept:
    """The pool. `tell` sends a frame to the daemon; `launch` makes one of an order; `ready`: a new worker need not load
    first."""

    def __init__(
        self,
        loop: Loop,
        children: Children,
        launch: Callable[[Run, bytes], Launch],
        tell: Callable[[bytes], None],
        *,
        ready: bool,
    ) -> None:
        self._loop = loop
        self._children = children
        self._launch = launch
        self._tell = tell
        self._ready_at_once = ready
        self._most = 0
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._busy: dict[tuple[int, int], _Worker] = {}
        self._pending: deque[Launch] = deque()
        self._failures = 0
        self._again: Timer | None = None
        self._closing = False

    def open(self, workers: int) -> None:
        """Keep at most so many."""
        self._most = workers

    def run(self, order: Run, payload: bytes) -> None:
        """Launch a step."""
        self._pending.append(self._launch(order, payload))
        self._assign()

    def cancel(self, run: int, position: int, grace: float) -> None:
        """End a step before its time; nothing happens if it is not here."""
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
            if said["op"] == "called" and worker.launch is not None:
                worker.launch.answered(said)
            worker.channel.send(wrap(payload))
            self._watch(worker)

    def close(self, grace: float) -> None:
        """End all: those that rest at once, busy ones with SIGTERM, and SIGKILL after `grace`."""
        self._closing = True
        while self._pending:
            self._tell(self._pending.popleft().told_not_begun("not_received"))
        for worker in list(self._workers):
            if worker.launch is None:
                self._end(worker, grace)
            else:
                self._end_early(worker, worker.launch, "interrupted", grace)

    # --- handing out ---------------------------------------------------------------------------------------

    def _assign(self) -> None:
        while self._pending and self._idle:
            self._hand(self._idle.pop(), self._pending.popleft())
        starting = sum(not worker.ready for worker in self._workers)
        resting = sum(worker.launch is not None and bool(worker.launch.calls) for worker in self._workers)
        lacking = min(len(self._pending) - starting, self._most + resting - len(self._workers))
        if lacking > 0 and not self._closing and self._again is None:
            self._start(lacking)

    def _hand(self, worker: _Worker, launch: Launch) -> None:
        if worker.rest is not None:
            worker.rest.cancel()
            worker.rest = None
        worker.launch = launch
        self._busy[launch.step] = worker
        worker.child.output = launch.output
        worker.channel.send(wrap(launch.payload))
        self._watch(worker)

    def _start(self, count: int) -> None:
        try:
            children = self._children.start("kept", count)
        except OSError as error:  # no more processes, memory or descriptors
            self._could_not_start(str(error))
            return
        for child in children:
            self._add(child)
        if self._idle:
            self._assign()

    def _add(self, child: Child) -> None:
        worker = _Worker(child, ready=self._ready_at_once)
        child.output = _stray_output
        child.ended = lambda how: self._gone(worker, how)
        self._workers.add(worker)
        if worker.ready:
            self._idle.append(worker)
        self._watch(worker)

    def _watch(self, worker: _Worker) -> None:
        self._loop.watch(worker.channel.fileno(), lambda mask: self._talk(worker), write=worker.channel.wants_write)

    # --- what workers say ----------------------------------------------------------------------------------

    def _talk(self, worker: _Worker) -> None:
        worker.channel.flush()
        self._listen(worker)
        if worker.channel.ended or worker.garbled:
            self._loop.forget(worker.channel.fileno())  # its end shows on the pidfd
        else:
            self._watch(worker)

    def _listen(self, worker: _Worker) -> None:
        try:
            for payload in () if worker.garbled else worker.channel.read():
                self._hear(worker, said_by_worker(payload))
        except HostError as error:
            worker.garbled = f"something of its own wrote on its socket ({error.message})"
            if worker in self._idle:
                self._idle.remove(worker)
            self._children.kill(worker.child)

    def _hear(self, worker: _Worker, said: FromWorker) -> None:
        launch = worker.launch
        if said["op"] == "ready":
            if said["problem"] is None:
                worker.ready = True
                self._idle.append(worker)
                self._assign()
        elif launch is None:
            return
        elif said["op"] == "received":
            launch.received = True
            self._failures = 0
            if launch.timeout is not None:
                launch.timers.append(self._loop.later(launch.timeout, lambda: self._time_out(worker, launch)))
            if launch.surroundings is not None and (limit := launch.surroundings.memory) is not None:
                over = partial(self._out_of_memory, worker, launch)
                launch.timers.append(MemoryWatch(self._loop, worker.child.pid, limit, over))
            self._tell(launch.told_received(worker.child.pid))
        elif said["op"] == "call" or said["op"] == "left":
            self._tell(launch.told_said(said))
            self._assign()  # what rests takes the place of none
        else:
            launch.ended = said
            self._children.drain(worker.child)
            launch.output_ended()
            self._tell(launch.told_ended(said))
            worker.leaving = said.get("last", False) or launch.ending is not None
            self._over(worker, launch)

    def _over(self, worker: _Worker, launch: Launch) -> None:
        """The worker has no step any more. One that was being ended for it is killed in any case."""
        del self._busy[launch.step]
        launch.close()
        worker.launch = None
        worker.child.output = _stray_output
        if launch.ending is not None:
            self._children.kill(worker.child)
        elif self._closing:
            self._end(worker, _GRACE)
        if not worker.leaving and not self._closing and worker in self._workers:
            self._idle.append(worker)
            self._assign()
            if worker.launch is None:
                worker.rest = self._loop.later(_REST, lambda: self._dismiss(worker))

    def _dismiss(self, worker: _Worker) -> None:
        self._idle.remove(worker)
        worker.rest = None
        worker.leaving = True
        self._end(worker, _GRACE)

    def _end(self, worker: _Worker, grace: float) -> None:
        """It closes its resources, and ends; at the latest after `grace`."""
        worker.channel.finish()
        self._loop.later(grace, partial(self._children.kill, worker.child))

    def _gone(self, worker: _Worker, how: str) -> None:
        self._listen(worker)
        how = worker.garbled or how
        self._loop.forget(worker.channel.fileno())
        worker.channel.close()
        self._workers.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        if worker.rest is not None:
            worker.rest.cancel()
        launch = worker.launch
        if launch is not None:
            launch.output_ended()
            if launch.received or launch.ending is not None:
                self._tell(launch.told_lost(how))
            else:
                self._lost_before_it_began(launch, how)
            self._over(worker, launch)
        elif not worker.ready:
            self._could_not_start(how)
        self._assign()

    # --- ends before their time ----------------------------------------------------------------------------

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

    def _out_of_memory(self, worker: _Worker, launch: Launch, used: int) -> None:
        if launch.ending is None:
            launch.ending, launch.used = "out of memory", used
            self._children.kill(worker.child)

    def _lost_before_it_began(self, launch: Launch, how: str) -> None:
        self._failures += 1
        self._tell(launch.told_lost(how) if self._failures < _TRIES else launch.told_failed(_no_worker(how)))

    def _could_not_start(self, how: str) -> None:
        self._failures += 1
        if self._failures < _TRIES:
            self._again = self._again or self._loop.later(_RETRY_AFTER, self._try_again)
            return
        while self._pending:
            launch = self._pending.popleft()
            self._tell(launch.told_failed(_no_worker(how)))
            launch.close()

    def _try_again(self) -> None:
        self._again = None
        self._assign()


def _no_worker(how: str) -> ErrorData:
    text = f"no worker could be started: {how}; the daemon's log says more"
    return ErrorData(type="WorkerDied", message=text, traceback="")


def _stray_output(stream: Literal["stdout", "stderr"], data: bytes) -> None:
    """What a worker says between two steps goes to the daemon's log."""
    complain(data.decode("utf-8", "backslashreplace").rstrip("\n"))
