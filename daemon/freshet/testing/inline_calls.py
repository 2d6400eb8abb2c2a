"""Steps of `InlineHost` that may `ctx.call`: each in a thread of its own, since the loop goes on while it waits."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any

from freshet.executors.base import Answers, CallEnd, StepCall
from freshet.executors.translate import called
from freshet.host.frames import FrameDecoder
from freshet.host.line import Line
from freshet.host.messages import WorkerEnded
from freshet.store.records import StepToRun

__all__ = ["InlineCalls", "may_call"]

_GONE = CallEnd(None, "canceled", {"type": "Canceled", "message": "the step was ended"})


def may_call(function: Callable[..., Any]) -> bool:
    """Whether the function's own text has a `.call`."""
    code = getattr(function, "__code__", None)
    return isinstance(code, CodeType) and _names_call(code)


def _names_call(code: CodeType) -> bool:
    return "call" in code.co_names or any(_names_call(one) for one in code.co_consts if isinstance(one, CodeType))


class _Line(Line):
    """What the step's thread says is heard in the engine's loop, and the other way round."""

    def __init__(self, step: StepToRun, answers: Answers) -> None:
        super().__init__(FrameDecoder())
        self.begin(-1, os.getpid())
        self.step = step
        self._answers = answers
        self._engine = asyncio.get_running_loop()
        self._open: dict[int, StepCall] = {}
        self.over = False

    def say(self, message: Any) -> None:
        self._engine.call_soon_threadsafe(self._said, message)

    def _said(self, said: Any) -> None:
        step = self.step
        place = step.run_id, step.position, step.attempt
        if said["op"] == "left":
            if self._open.pop(said["number"], None) is not None and not self.over:
                self._answers.call_left(*place, said["number"])
            return
        call = StepCall(*place, **{name: value for name, value in said.items() if name != "op"})
        if self.over:
            self.take(called(call, _GONE))
            return
        self._open[call.number] = call
        self._answers.step_calls(call)

    def answer(self, call: StepCall, end: CallEnd) -> None:
        """In the engine's loop."""
        if self._open.pop(call.number, None) is not None:
            self.take(called(call, end))

    def end(self) -> None:
        """Nobody wants to know what comes of the step: its thread is to end."""
        self.over = True
        for call in list(self._open.values()):
            self.answer(call, _GONE)

    def _attend(self, loop: asyncio.AbstractEventLoop) -> None:
        """There is nothing to read."""

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """There was nothing to read."""


class InlineCalls:
    """The threads. `perform` does a step in one; `done` is told in the loop what came of it."""

    def __init__(
        self,
        answers: Answers,
        perform: Callable[[StepToRun, Line], WorkerEnded],
        done: Callable[[StepToRun, WorkerEnded], None],
    ) -> None:
        self._answers = answers
        self._perform = perform
        self._done = done
        self._lines: dict[tuple[int, int], _Line] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def run(self, step: StepToRun) -> None:
        """Begin a step."""
        line = self._lines[step.run_id, step.position] = _Line(step, self._answers)
        loop = asyncio.get_running_loop()

        def work() -> None:
            told = self._perform(step, line)
            if not loop.is_closed():
                loop.call_soon_threadsafe(over, told)

        def over(told: WorkerEnded) -> None:
            if not line.over:
                del self._lines[step.run_id, step.position]
                self._done(step, told)

        threading.Thread(target=work, daemon=True).start()

    def answer(self, call: StepCall, end: CallEnd) -> None:
        """A call has come to something."""
        line = self._lines.get(call.step)
        if line is not None:
            line.answer(call, end)

    def end(self, run_id: int, position: int) -> StepToRun | None:
        """Let go of a step, if it is one of these: what it still does counts for nothing."""
        line = self._lines.pop((run_id, position), None)
        if line is None:
            return None
        line.end()
        return line.step

    def steps(self) -> list[tuple[int, int]]:
        """Those under way."""
        return list(self._lines)
