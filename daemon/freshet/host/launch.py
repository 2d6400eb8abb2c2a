"""A launch: one attempt of a step between the daemon and a worker, and how its end is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from freshet.definitions.durations import format_duration
from freshet.definitions.retries import NEVER, RetrySpec, exception_name
from freshet.definitions.sizes import format_size
from freshet.definitions.surroundings import Surroundings
from freshet.errors import HostError
from freshet.host.frames import encode
from freshet.host.journal import Journal, LineCutter
from freshet.host.messages import (
    Call,
    Called,
    CallLeft,
    Ended,
    ErrorData,
    Received,
    Run,
    WorkerCall,
    WorkerEnded,
    WorkerLeft,
)

__all__ = ["Launch", "died", "untold"]

_DUMP_MAX = 16 * 1024
_Outcome = Literal["succeeded", "failed", "canceled", "not_received", "died", "interrupted"]
_KINDS = {kind.__name__: frozenset(map(exception_name, kind.__mro__)) for kind in (TimeoutError, MemoryError)}
_DUMPED = frozenset({"timed out", "out of memory"})
"""Ends before which a worker is asked where it stands: `faulthandler` says so on stderr."""
_BELOW = (f'  File "{Path(__file__).resolve().parent}/', '  File "<frozen runpy>"')
"""Frames of a worker's that lie below all that a step has called."""
_DIED = frozenset({"WorkerDied", "Exception", "BaseException"})


class Cancelable(Protocol):
    """What may still come, unless it is canceled."""

    def cancel(self) -> None:
        """Let it not come."""
        ...


@dataclass(eq=False)
class Launch:
    """What is known of a launch. `ending`: what was done to end it before its time. `calls`: it waits for answers to
    these."""

    order: Run
    payload: bytes
    journal: Journal
    received: bool = False
    ended: WorkerEnded | None = None
    ending: Literal["canceled", "timed out", "out of memory", "interrupted"] | None = None
    timeout: float | None = None
    surroundings: Surroundings | None = None
    retries: RetrySpec = NEVER
    timers: list[Cancelable] = field(default_factory=list[Cancelable])
    stack: str = ""
    used: int = 0
    calls: set[int] = field(default_factory=set[int])
    _cutters: dict[str, LineCutter] = field(default_factory=dict[str, LineCutter])

    @property
    def step(self) -> tuple[int, int]:
        """Run and position."""
        return self.order["run"], self.order["position"]

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """What came through a pipe goes to the journal. After a timeout, stderr tells where the step stood."""
        if self.ending in _DUMPED and stream == "stderr" and len(self.stack) < _DUMP_MAX:
            self.stack += data.decode("utf-8", "backslashreplace")
        if self.journal.full:
            self.journal.skip(stream, data)
            return
        cutter = self._cutters.get(stream)
        if cutter is None:
            cutter = self._cutters[stream] = LineCutter(lambda lines: self.journal.texts(stream, self._told_of(lines)))
        cutter.feed(data)

    def _told_of(self, lines: list[str]) -> list[str]:
        return _users(lines) if self.ending in _DUMPED else lines

    def output_ended(self) -> None:
        """Nothing more will come: what has no end of line is a line too."""
        for cutter in self._cutters.values():
            cutter.end()
        self.journal.settle()

    def close(self) -> None:
        """The worker is gone, and its end told."""
        self.journal.close()
        self.quiet()

    def quiet(self) -> None:
        """No timer may end it any more."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()

    # --- what the daemon is told ---------------------------------------------------------------------------

    def told_received(self, pid: int) -> bytes:
        """The receipt."""
        run, position = self.step
        attempt = self.order["attempt"]
        return encode(Received(op="received", run=run, position=position, attempt=attempt, pid=pid))

    def told_said(self, said: WorkerCall | WorkerLeft) -> bytes:
        """What the step asks of the daemon."""
        run, position = self.step
        attempt = self.order["attempt"]
        if said["op"] == "left":
            self.calls.discard(said["number"])
            return encode(CallLeft(op="left", run=run, position=position, attempt=attempt, number=said["number"]))
        if said["waits"]:
            self.calls.add(said["number"])
        return encode(
            Call(
                op="call",
                run=run,
                position=position,
                attempt=attempt,
                number=said["number"],
                call=said["call"],
                target=said["target"],
                params=said["params"],
                partition=said["partition"],
                waits=said["waits"],
                detached=said["detached"],
            )
        )

    def answered(self, said: Called) -> None:
        """One that it waits for is answered."""
        if said["attempt"] == self.order["attempt"]:
            self.calls.discard(said["number"])

    def told_ended(self, ended: WorkerEnded) -> bytes:
        """The worker's own answer; after a signal of ours an error counts as the signal's."""
        if ended["error"] is not None and self.ending in ("canceled", "interrupted"):
            return self._told(self.ending, ended["error"])
        outcome: Literal["succeeded", "failed"] = "succeeded" if ended["error"] is None else "failed"
        return self._told(outcome, ended["error"], ended)

    def told_lost(self, how: str) -> bytes:
        """The worker ended without an answer; `how` says of what."""
        if self.ending == "timed out":
            text = f"timed out after {format_duration(self.timeout or 0.0)}"
            self.journal.state("timed out")
            return self._told("failed", self._of_ours("TimeoutError", text))
        if self.ending == "out of memory":
            allowed = (self.surroundings.memory if self.surroundings else None) or 0
            text = f"its processes had {format_size(self.used)} of memory; {format_size(allowed)} are allowed (memory=)"
            error = self._of_ours("MemoryError", text)
            self.journal.state("failed", error=error)
            return self._told("failed", error)
        if self.ending is not None:
            self.journal.state(self.ending, how=how)
            return self._told(self.ending, None)
        if not self.received:
            return self._told("not_received", died(how))
        self.journal.state("died", error=died(how))
        return self._told("died", self._final(died(how), _DIED))

    def told_not_begun(self, outcome: Literal["canceled", "not_received"]) -> bytes:
        """It never got to a worker."""
        return self._told(outcome, None)

    def told_failed(self, error: ErrorData) -> bytes:
        """No worker can be had for it."""
        self.journal.state("failed", error=error)
        return self._told("died", error)

    def _of_ours(self, type: str, message: str) -> ErrorData:
        return self._final(ErrorData(type=type, message=message, traceback=_users_part(self.stack)), _KINDS[type])

    def _final(self, error: ErrorData, names: frozenset[str]) -> ErrorData:
        """With a mark if it is none of those that are tried again."""
        if self.retries.on and names.isdisjoint(self.retries.on):
            error["final"] = True
        return error

    def _told(
        self,
        outcome: _Outcome,
        error: ErrorData | None,
        ended: WorkerEnded | None = None,
    ) -> bytes:
        try:
            return encode(self._end(outcome, error, ended))
        except HostError as large:  # what a worker could just say to the host: with the step's name it is too long
            self.journal.state("failed", error=untold(large))
            return encode(self._end("failed", untold(large), None))

    def _end(self, outcome: _Outcome, error: ErrorData | None, ended: WorkerEnded | None) -> Ended:
        run, position = self.step
        told = Ended(
            op="ended",
            run=run,
            position=position,
            attempt=self.order["attempt"],
            outcome=outcome,
            value=ended["value"] if ended else None,
            metadata=ended["metadata"] if ended else {},
            error=error,
            version=ended["version"] if ended else None,
            code=ended["code"] if ended else None,
        )
        if ended and "check" in ended:
            told["check"] = ended["check"]
        return told


def untold(error: Exception) -> ErrorData:
    """The error of a step whose end is too large to be told, or cannot be written as JSON."""
    return ErrorData(type=type(error).__name__, message=f"the step's end cannot be reported: {error}", traceback="")


def died(how: str) -> ErrorData:
    """The error of a worker that ended without an answer."""
    return ErrorData(type="WorkerDied", message=f"the worker process ended without an answer: {how}", traceback="")


def _users_part(stack: str) -> str:
    """What is the user's of what `faulthandler` said; all of it where nothing is."""
    kept = "".join(_users(stack.splitlines(keepends=True)))
    return kept if "(most recent call first)" in kept and '  File "' in kept else stack


def _users(lines: Iterable[str]) -> list[str]:
    """Without the frames of the worker itself."""
    return [line for line in lines if not line.startswith(_BELOW)]
