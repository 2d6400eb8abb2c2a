"""The host's side of inline steps: one process that takes all, watched for steps that hold its loop.

A step that does so is ended in the process itself (see `process`). Where that is of no use, because what holds the loop
is not Python, the process is killed: the step at fault has failed, the others are interrupted, and begin again in a new
one. A process that is to end (worn out, or with a step that cannot be canceled) takes no more and ends with its last.
"""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Literal

from freshet.definitions.asset import AssetSpec
from freshet.definitions.executor import Inline
from freshet.definitions.job import JobSpec
from freshet.errors import HostError
from freshet.host.channel import Channel
from freshet.host.child import PAGE_SIZE
from freshet.host.children import Child, Children
from freshet.host.describe import Catalog
from freshet.host.frames import encode, wrap
from freshet.host.inline.flight import step_of
from freshet.host.inline.messages import FromInline, Stop
from freshet.host.launch import Launch
from freshet.host.loop import Loop, Timer
from freshet.host.messages import Called, CancelItem, ErrorData, Run
from freshet.host.process import complain
from freshet.host.said import said_by_inline

__all__ = ["InlineLane"]

_TURN = 0.25
"""Seconds between two looks at who holds the loop."""
_MERCY = 1.0
"""Seconds after a step was interrupted in the process until it is killed."""
_GRACE = 5.0
"""Seconds that a step which timed out gets to end."""
_DUMP_TIME = 0.05
_TRIES = 4
_NEVER = 1e12


class _Process:
    def __init__(self, child: Child) -> None:
        self.child = child
        self.channel = Channel(child.sock)
        self.page = mmap.mmap(child.page, PAGE_SIZE, prot=mmap.PROT_READ)
        self.words = memoryview(self.page).cast("Q")
        os.close(child.page)
        self.flights: dict[tuple[int, int], Launch] = {}
        self.leaving = False
        self.seen: tuple[int, int] = (0, 0)
        self.since = 0.0
        self.guilty: Launch | None = None
        self.garbled = ""
        """What came from it that it cannot have said: see `workers`."""

    def close(self) -> None:
        self.channel.close()
        self.words.release()
        self.page.close()


class InlineLane:
    """See `lanes.Lane`. `launch` makes one of an order; `tell` sends a frame to the daemon."""

    def __init__(
        self,
        loop: Loop,
        children: Children,
        catalog: Catalog,
        launch: Callable[[Run, bytes], Launch],
        tell: Callable[[bytes], None],
    ) -> None:
        self._loop = loop
        self._children = children
        self._launch = launch
        self._tell = tell
        specs: tuple[AssetSpec | JobSpec, ...] = (*catalog.definitions.assets, *catalog.definitions.jobs)
        self._stalls = {spec.name: spec.executor.stall for spec in specs if isinstance(spec.executor, Inline)}
        self._process: _Process | None = None
        self._all: set[_Process] = set()
        self._watching: Timer | None = None
        self._sweep: Timer | None = None
        self._failures = 0
        self._closing = False

    def open(self, workers: int) -> None:
        """How many at once is not a matter of processes here: whoever orders knows."""

    def run(self, order: Run, payload: bytes) -> None:
        """Launch a step."""
        launch = self._launch(order, payload)
        process = self._process or self._start()
        if process is None:
            return self._tell(launch.told_failed(_dead("see the daemon's log")))
        process.flights[launch.step] = launch
        process.channel.send(wrap(payload))
        self._listen(process)
        if self._watching is None:
            self._watching = self._loop.later(_TURN, self._look)

    def cancel(self, run: int, position: int, grace: float) -> None:
        """Cancel the step's task. One that does not end within `grace` is left behind, and ends with its process."""
        for process in self._all:
            launch = process.flights.get((run, position))
            if launch is not None and launch.ending is None:
                launch.ending = "canceled"
                self._stop(process, launch, grace)

    def pass_on(self, said: CancelItem | Called, payload: bytes) -> None:
        """Hand a message to the process that has a step; nothing happens if none has."""
        for process in self._all:
            if (said["run"], said["position"]) in process.flights:
                process.channel.send(wrap(payload))
                self._listen(process)

    def close(self, grace: float) -> None:
        """Cancel all, and kill what is left after `grace`."""
        self._closing = True
        for process in list(self._all):
            for launch in process.flights.values():
                launch.ending = launch.ending or "interrupted"
                if grace > 0:
                    process.channel.send(encode(Stop(op="stop", run=launch.step[0], position=launch.step[1])))
            if process.flights and grace > 0:
                self._loop.later(grace, partial(self._children.kill, process.child))
            else:
                self._end(process, grace)

    def _end(self, process: _Process, grace: float) -> None:
        """It closes its resources, and ends; at the latest after `grace`."""
        process.channel.finish()
        self._loop.later(grace, partial(self._children.kill, process.child))

    # --- the process ---------------------------------------------------------------------------------------

    def _start(self) -> _Process | None:
        if self._closing:
            return None
        if self._failures >= _TRIES:
            self._failures -= 1  # the next one may try again
            return None
        try:
            (child,) = self._children.start("inline")
        except OSError as error:  # no more processes, memory or descriptors
            complain(f"the process for inline steps cannot be started: {error}")
            return None
        child.output = _stray_output
        self._process = process = _Process(child)
        child.ended = lambda how: self._gone(process, how)
        self._all.add(process)
        return process

    def _listen(self, process: _Process) -> None:
        self._loop.watch(process.channel.fileno(), lambda mask: self._talk(process), write=process.channel.wants_write)

    def _talk(self, process: _Process) -> None:
        process.channel.flush()
        self._take(process)
        if process.channel.ended or process.garbled:
            self._loop.forget(process.channel.fileno())  # its end shows on the pidfd
        else:
            self._listen(process)

    def _take(self, process: _Process) -> None:
        try:
            for payload in () if process.garbled else process.channel.read():
                self._hear(process, said_by_inline(payload))
        except HostError as error:
            process.garbled = f"something of its own wrote on its socket ({error.message})"
            if self._process is process:
                self._process = None
            self._children.kill(process.child)

    def _hear(self, process: _Process, said: FromInline) -> None:
        if said["op"] == "ready":
            return
        launch = process.flights.get((said["run"], said["position"]))
        if said["op"] == "ended" and said["last"]:
            self._leave(process)
        if launch is None:
            return
        if said["op"] == "received":
            launch.received = True
            self._failures = 0
            if launch.timeout is not None:
                launch.timers.append(self._loop.later(launch.timeout, lambda: self._time_out(process, launch)))
            self._tell(launch.told_received(process.child.pid))
            return
        if said["op"] == "said":
            self._tell(launch.told_said(said["said"]))
            return
        launch.ended = ended = said["ended"]
        del process.flights[launch.step]
        error = ended["error"]
        if launch.ending == "timed out" and error is not None:
            launch.stack = error["traceback"]
            self._tell(launch.told_lost(""))
        else:
            self._tell(launch.told_ended(ended))
        launch.close()
        self._sweep_soon()
        self._end_if_left(process)

    def _sweep_soon(self) -> None:
        """What steps have started and let go of is ended: once for many steps."""
        if self._sweep is None:
            self._sweep = self._loop.later(_TURN, self._swept)

    def _swept(self) -> None:
        self._sweep = None
        self._children.sweep()

    def _leave(self, process: _Process) -> None:
        """It takes no more, and ends with the last step that it has."""
        process.leaving = True
        if self._process is process:
            self._process = None
        self._end_if_left(process)

    def _end_if_left(self, process: _Process) -> None:
        if (process.leaving or self._closing) and not process.flights:
            self._end(process, _GRACE)

    def _gone(self, process: _Process, how: str) -> None:
        self._take(process)
        how = process.garbled or how
        guilty = process.guilty or process.flights.get(step_of(process.words[0])) or _only(process.flights)
        self._loop.forget(process.channel.fileno())
        process.close()
        self._all.discard(process)
        if self._process is process:
            self._process = None
        if not any(launch.received for launch in process.flights.values()) and process.flights:
            self._failures += 1
        for launch in process.flights.values():
            launch.output_ended()
            if launch.received and launch is not guilty:
                launch.ending = launch.ending or "interrupted"
            if launch.received or launch.ending is not None or self._failures < _TRIES:
                self._tell(launch.told_lost(how))
            else:
                self._tell(launch.told_failed(_dead(how)))
            launch.close()
        process.flights.clear()

    # --- ends before their time ----------------------------------------------------------------------------

    def _stop(self, process: _Process, launch: Launch, grace: float) -> None:
        run, position = launch.step
        process.channel.send(encode(Stop(op="stop", run=run, position=position)))
        self._listen(process)
        launch.timers.append(self._loop.later(grace, lambda: self._abandon(process, launch)))

    def _time_out(self, process: _Process, launch: Launch) -> None:
        if launch.ending is None:
            launch.ending = "timed out"
            self._stop(process, launch, _GRACE)

    def _abandon(self, process: _Process, launch: Launch) -> None:
        """It does not let itself be canceled: it is over all the same, and its process ends after the others."""
        if process.flights.pop(launch.step, None) is not None:
            self._tell(launch.told_lost("it ignored that it was canceled"))
            launch.close()
            self._leave(process)

    def _look(self) -> None:
        self._watching = None
        now = self._loop.clock()
        for process in self._all:
            state = process.words[0], process.words[1]
            if state != process.seen or not state[0]:
                process.seen, process.since = state, now
                continue
            launch = process.flights.get(step_of(state[0]))
            patience = _NEVER if launch is None else self._stalls.get(launch.order["step"], _NEVER) + _MERCY
            if launch is not None and process.guilty is None and now - process.since > patience:
                self._end_for(process, launch)
        if any(process.flights for process in self._all):
            self._watching = self._loop.later(_TURN, self._look)

    def _end_for(self, process: _Process, launch: Launch) -> None:
        process.guilty = launch
        launch.ending, launch.timeout = "timed out", self._stalls[launch.order["step"]]
        process.child.output = launch.output
        self._children.signal(process.child, signal.SIGUSR2)  # faulthandler: where does it stand
        self._loop.later(_DUMP_TIME, lambda: self._children.kill(process.child))


def _only(flights: dict[tuple[int, int], Launch]) -> Launch | None:
    """Whose doing it was that the process ended, where it has no other step."""
    return next(iter(flights.values())) if len(flights) == 1 else None


def _dead(how: str) -> ErrorData:
    text = f"the process for inline steps could not be started: {how}"
    return ErrorData(type="WorkerDied", message=text, traceback="")


def _stray_output(stream: Literal["stdout", "stderr"], data: bytes) -> None:
    """What is said for no step goes to the daemon's log."""
    complain(data.decode("utf-8", "backslashreplace").rstrip("\n"))
