"""Steps that ask for runs, and rest until these have ended.

While a step waits for at least one run, what it has of the queue is free. What a run came to is told at once while the
step waits for others too; the last answer when it has a slot again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from freshet.definitions.graph import Definitions
from freshet.definitions.names import nearest_hint
from freshet.engine.circles import Circles, Thing
from freshet.engine.instruments import Instruments, persist, recall
from freshet.engine.parameters import check_params
from freshet.engine.queue import StepId
from freshet.engine.requests import call_job, input_needs, run_of_assets
from freshet.errors import Conflict, FreshetError, UnknownName
from freshet.executors.base import CallEnd, StepCall
from freshet.store.records import CalledRun, Caller, Event, RunToAdmit
from freshet.store.sub_runs import being_canceled, call_run, canceled_with, failure_of, in_a_circle

if TYPE_CHECKING:
    from freshet.engine.launcher import Launcher

__all__ = ["SubRuns", "run_of_call"]

_GRACE = 5.0
_STATES = {"run_succeeded": "succeeded", "run_failed": "failed", "run_canceled": "canceled"}


def run_of_call(definitions: Definitions, call: StepCall, *, priority: int, now: float) -> RunToAdmit:
    """The run that a step asks for, at least as urgent as the step's own. Raises `UnknownName` and `Conflict`."""
    if call.target in definitions.job:
        if call.partition is not None:
            raise Conflict(f"the job {call.target!r} has no partitions", hint="leave partition= out of ctx.call")
        check_params(definitions.job[call.target], call.params, by="call")
        run = call_job(definitions, call.target, call.params, priority=0, tags={})
    elif call.target not in definitions.asset:
        known = {*definitions.asset, *definitions.job}
        raise UnknownName(f"there is no job and no asset {call.target!r}", hint=nearest_hint(call.target, known))
    elif call.params:
        said = f"the asset {call.target!r} takes no parameters, found {next(iter(call.params))!r}"
        raise Conflict(said, hint="of an asset, give ctx.call partition= alone")
    else:
        run = run_of_assets(definitions, (call.target,), key=call.partition, origin="", now=now)
    return replace(run, origin=f"run:{call.run_id}", priority=max(run.priority, priority))


@dataclass(slots=True)
class _Rest:
    """An attempt that waits. `calls`: by their numbers, the runs; `held`: what it is told when it goes on."""

    attempt: int
    calls: dict[int, int] = field(default_factory=dict[int, int])
    held: list[tuple[StepCall, CallEnd]] = field(default_factory=list[tuple[StepCall, CallEnd]])


class SubRuns:
    """The calls of all steps under way."""

    def __init__(self, instruments: Instruments, launcher: Launcher) -> None:
        self._in = instruments
        self._launcher = launcher
        self._rests: dict[StepId, _Rest] = {}
        self._waiting: dict[int, list[StepCall]] = {}
        self._circles = Circles()
        self._asking = 0
        self._lately: dict[int, str] = {}

    # --- calls ----------------------------------------------------------------------------------------------

    def called(self, call: StepCall) -> None:
        """A step asks for a run."""
        self._in.work.spawn(self._call(call))

    async def _call(self, call: StepCall) -> None:
        step, definitions = self._launcher.running.get(call.step), self._in.in_force.definitions
        if step is None or step.attempt != call.attempt:
            return
        try:
            run = run_of_call(definitions, call, priority=step.priority, now=self._in.clock.now())
        except FreshetError as error:
            self._tell(call, _refusal(error))
            return
        self._asking += 1
        circle = None if run.policy == "cancel" else self._circle(call, run.key, None)  # who makes it is canceled
        if call.waits and not circle:  # who asks meanwhile knows of it
            self._waits(call, run.key, None)
        try:
            made = await self._admit(call, run, circle)
            if self._launcher.running.get(call.step) is step:
                self._found(call, run.key, made)
        except FreshetError as error:
            self._tell(call, _refusal(error))
        finally:
            rest = self._rests.get(call.step)
            if rest is None or rest.attempt != call.attempt or call.number not in rest.calls:
                self._circles.leaves(call.step, (call.attempt, call.number))
            self._asking -= 1
            if not self._asking:
                self._lately.clear()

    async def _admit(self, call: StepCall, run: RunToAdmit, circle: str | None) -> CalledRun:
        launcher, definitions = self._launcher, self._in.in_force.definitions
        booking = launcher.book([run])
        transaction = partial(
            call_run,
            run=booking.runs[0] if booking.runs else run,
            by=Caller(call.run_id, call.position, call.attempt, call.call, call.waits and not call.detached),
            start=booking.start,
            needs=input_needs(definitions, (one.name for one in run.steps)),
            now=self._in.clock.now(),
            version=definitions.version,
            circle=circle,
        )
        try:
            made = await persist(self._in, transaction, what=f"a run that run {call.run_id} asks for")
        except BaseException:
            launcher.forgo(booking)
            raise
        self._in.bus.publish(made.events)
        launcher.admitted(booking, [run], made.admitted)
        return made

    def _found(self, call: StepCall, key: str | None, made: CalledRun) -> None:
        if made.refused:
            return
        if made.run_id is None:
            said = "too many automatic runs led to it, each asked for because of the one before"
            hint = "break the loop, or raise [automation] max_chain"
            if made.before is not None:
                said, hint = f"run {made.before} of {call.target!r} has not ended", "it is declared with overlap='skip'"
            self._tell(call, CallEnd(None, "failed", {"type": "Conflict", "message": said}, hint))
            return
        state = self._lately.get(made.run_id, made.state or "queued")
        if not call.waits or state == "succeeded":
            self._tell(call, CallEnd(made.run_id, state))
            return
        if not made.admitted and (circle := self._circle(call, key, made.run_id)):
            self._tell(call, _refusal(in_a_circle(circle)))
            return
        self._waits(call, key, made.run_id)
        self._waiting.setdefault(made.run_id, []).append(call)
        self._rest(call, made.run_id)
        if state in _STATES.values():
            self._in.work.spawn(self._run_ended(made.run_id, state))

    def _circle(self, call: StepCall, key: str | None, run_id: int | None) -> str | None:
        """What the step would wait for, if that waits for it."""
        if not call.waits:
            return None
        step = self._launcher.running[call.step]
        wanted, makes = self._thing(call.target, key), self._thing(step.name, step.key)
        found = self._circles.find(call.step, run_id, wanted, makes=makes)
        if not found:
            return None
        runs = [*(f"run {one}" for one in found[:-1]), f"this one, run {found[-1]}"]
        return f"a run of {call.target!r} would wait for {', which waits for '.join(runs)}"

    def _waits(self, call: StepCall, key: str | None, run_id: int | None) -> None:
        step, thing = self._launcher.running[call.step], self._thing(call.target, key)
        makes = self._thing(step.name, step.key)
        self._circles.waits(call.step, (call.attempt, call.number), run_id, thing, makes=makes)

    def _thing(self, name: str, key: str | None) -> Thing | None:
        return (name, key) if name in self._launcher.queue.alone else None

    def _tell(self, call: StepCall, end: CallEnd) -> None:
        for host in self._in.in_force.hosts:
            host.call_ended(call, end)

    # --- waiting --------------------------------------------------------------------------------------------

    def _rest(self, call: StepCall, run_id: int) -> None:
        rest = self._rests.get(call.step)
        if rest is None:
            rest = self._rests[call.step] = _Rest(call.attempt)
            rest.calls[call.number] = run_id
            self._launcher.rest(call.step)
            return
        if not rest.calls:  # it was about to go on
            self._launcher.queue.stay(call.step)
            self._tell_held(rest)
        rest.calls[call.number] = run_id

    def published(self, events: tuple[Event, ...]) -> None:
        """Runs have ended."""
        for event in events:
            state = _STATES.get(event.type)
            if state is None or event.run_id is None:
                continue
            if self._asking:
                self._lately[event.run_id] = state
            if event.run_id in self._waiting:
                self._in.work.spawn(self._run_ended(event.run_id, state))

    async def _run_ended(self, run_id: int, state: str) -> None:
        calls = self._waiting.pop(run_id, [])
        error: dict[str, str] | None = None
        if state == "failed":
            found: dict[str, Any] = await recall(self._in, partial(failure_of, run_id=run_id), what=f"run {run_id}")
            error = {name: str(found[name]) for name in ("type", "message") if name in found} or None
        if state == "canceled" and calls:  # those who are canceled themselves are to hear nothing, but to end
            callers = [call.run_id for call in calls]
            leaving = await recall(self._in, partial(being_canceled, run_ids=callers), what=f"run {run_id}")
            calls = [call for call in calls if call.run_id not in leaving]
        for call in calls:
            self._answer(call, CallEnd(run_id, state, error))

    def _answer(self, call: StepCall, end: CallEnd) -> None:
        rest = self._rests.get(call.step)
        if rest is None or rest.attempt != call.attempt or rest.calls.pop(call.number, None) is None:
            return
        self._circles.leaves(call.step, (call.attempt, call.number))
        if rest.calls:
            self._tell(call, end)
        else:
            rest.held.append((call, end))
            self._launcher.go_on(call.step)

    def call_left(self, step_id: StepId, attempt: int, number: int) -> None:
        """The step does not wait for this call any more."""
        rest = self._rests.get(step_id)
        if rest is None or rest.attempt != attempt or (run_id := rest.calls.pop(number, None)) is None:
            return
        self._circles.leaves(step_id, (attempt, number))
        self._forget(run_id, step_id, {number})
        if not rest.calls:
            self._launcher.go_on(step_id)

    def goes_on(self, step_id: StepId) -> None:
        """The step has a slot again."""
        self._tell_held(self._rests.pop(step_id))

    def _tell_held(self, rest: _Rest) -> None:
        held, rest.held = rest.held, []
        for call, end in held:
            self._tell(call, end)

    # --- ends -----------------------------------------------------------------------------------------------

    def over(self, step_id: StepId) -> bool:
        """The attempt is over: nobody waits for its runs any more. They go on, for the next attempt to find; where
        there is none, `finish_step` cancels them. Returns whether it was resting."""
        self._circles.over(step_id)
        rest = self._rests.pop(step_id, None)
        if rest is None:
            return False
        for run_id in set(rest.calls.values()):
            self._forget(run_id, step_id, rest.calls.keys())
        return True

    def _forget(self, run_id: int, step_id: StepId, numbers: Any) -> None:
        calls = [one for one in self._waiting.get(run_id, ()) if one.step != step_id or one.number not in numbers]
        if calls:
            self._waiting[run_id] = calls
        else:
            self._waiting.pop(run_id, None)

    async def canceled(self, run_id: int) -> None:
        """A run was canceled: end what was canceled with it."""
        below = await recall(self._in, partial(canceled_with, run_id=run_id), what=f"the runs below run {run_id}")
        for one in below:
            self._launcher.cancel(one, grace=_GRACE)

    # --- what is asked --------------------------------------------------------------------------------------

    def rests(self, step_id: StepId) -> bool:
        """Whether a step under way waits for runs, or to go on after that."""
        return step_id in self._rests

    def waited_for(self, run_id: int) -> tuple[int, ...]:
        """The runs that the steps of a run wait for, ascending."""
        mine = (rest for step_id, rest in self._rests.items() if step_id[0] == run_id)
        return tuple(sorted({one for rest in mine for one in rest.calls.values()}))


def _refusal(error: FreshetError) -> CallEnd:
    return CallEnd(None, "failed", {"type": type(error).__name__, "message": error.message}, error.hint)
