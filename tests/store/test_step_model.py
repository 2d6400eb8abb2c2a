"""Runs and steps against a small model: whatever is started, finished, lost, canceled, cut off, in any order."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.store.support import VALUE, open_database, populate, rows, states

from freshet.errors import Conflict
from freshet.store.admission import admit
from freshet.store.events import events_after
from freshet.store.finishing import finish_step
from freshet.store.records import Event, RunToAdmit, StepResult, StepToAdmit
from freshet.store.recovery import recover
from freshet.store.steps import cancel_run, queued_steps, start_steps

BUDGET = 2
ACTIVE = ("queued", "started", "retrying")
Outcome = Literal["succeeded", "failed", "lost", "interrupted", "canceled"]
SHAPES: tuple[tuple[tuple[str, tuple[int, ...]], ...], ...] = (
    (("raw", ()),),
    (("raw", ()), ("clean", (0,))),
    (("raw", ()), ("clean", ())),
    (("raw", ()), ("clean", (0,)), ("sales", (1,))),
    (("raw", ()), ("clean", ()), ("sales", (0, 1))),
)


@dataclass
class Step:
    name: str
    needs: tuple[int, ...]
    state: str = "queued"
    attempt: int = 0
    failures: int = 0


@dataclass
class Run:
    """The model: what a run is, said as plainly as possible."""

    steps: list[Step]
    state: str = "queued"
    interruptions: int = 0

    def may_start(self, step: Step) -> bool:
        ready = all(self.steps[need].state == "succeeded" for need in step.needs)
        return self.state in ("queued", "started") and step.state in ("queued", "retrying") and ready

    def start(self, step: Step) -> None:
        step.state, step.attempt, self.state = "started", step.attempt + 1, "started"

    def finish(self, step: Step, outcome: Outcome, *, retry: bool) -> None:
        canceling = self.state == "canceling"
        if outcome == "succeeded":
            step.state = "succeeded"
        elif outcome == "failed" and not retry:
            step.failures += 1
            self.end_badly(step, "failed")
        elif outcome == "failed" and not canceling:
            step.failures += 1
            step.state = "retrying"
        elif outcome in ("lost", "interrupted") and not canceling:
            step.state = "queued"
            step.attempt -= outcome == "lost"
            self.interruptions += outcome == "interrupted"
            if self.interruptions > BUDGET and outcome == "interrupted":
                self.give_up([step])
        else:
            self.end_badly(step, "canceled")
        self.settle(again=outcome in ("lost", "interrupted"))

    def end_badly(self, step: Step, state: str) -> None:
        step.state = state
        for other in self.steps:
            above = {self.steps[need].state for need in other.needs}
            if other.state in ACTIVE and above & {"failed", "canceled", "skipped"}:
                other.state = "skipped"

    def give_up(self, cut_off: list[Step]) -> None:
        for step in cut_off:
            step.state = "failed"
        for step in self.steps:
            if step.state in ("queued", "retrying"):
                step.state = "skipped"

    def settle(self, *, again: bool) -> None:
        states = {step.state for step in self.steps}
        if not states & set(ACTIVE):
            self.state = "failed" if "failed" in states else "canceled" if states != {"succeeded"} else "succeeded"
        elif again and self.state == "started" and states == {"queued"}:
            self.state = "queued"

    def cancel(self) -> None:
        self.state = "canceling"
        for step in self.steps:
            if step.state in ("queued", "retrying"):
                step.state = "canceled"
        self.settle(again=False)

    def recover(self) -> None:
        cut_off = [step for step in self.steps if step.state == "started"]
        if self.state == "canceling":
            for step in cut_off:
                step.state = "canceled"
        elif cut_off:
            self.interruptions += 1
            for step in cut_off:
                step.state = "queued"
            if self.interruptions > BUDGET:
                self.give_up(cut_off)
        self.settle(again=True)


@dataclass
class Follower:
    """A reader of events alone: what it thinks is in progress, made, failed."""

    active: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    made: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    failed: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])

    def read(self, events: tuple[Event, ...]) -> None:
        for event in events:
            place = (event.asset or "", event.partition or 0)
            if event.type in ("requested", "started"):
                self.active.add(place)
            if event.type in ("materialized", "failed", "released") and event.idle:
                self.active.discard(place)
            if event.type == "materialized":
                self.made.add(place)
                self.failed.discard(place)
            if event.type == "failed":
                self.failed.add(place)


class Steps(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.db: sqlite3.Connection = open_database(Path(self.folder.name) / "freshet.db")
        self.db.execute("BEGIN")
        populate(self.db, "a", "b")
        self.runs: dict[int, Run] = {}
        self.follower = Follower()
        self.seen = 0
        self.now = 10.0

    def teardown(self) -> None:
        self.db.close()
        self.folder.cleanup()

    def pick(self, data: st.DataObject, state: str) -> tuple[int, int] | None:
        found = [
            (run_id, position)
            for run_id, run in self.runs.items()
            for position, step in enumerate(run.steps)
            if step.state == state
        ]
        return data.draw(st.sampled_from(found)) if found else None

    @rule(shape=st.sampled_from(SHAPES), key=st.sampled_from(["a", "b"]), start=st.integers(0, 2))
    def admit(self, shape: tuple[tuple[str, tuple[int, ...]], ...], key: str, start: int) -> None:
        steps = tuple(StepToAdmit(name, needs, partitioned=name != "sales") for name, needs in shape)
        wanted = RunToAdmit("asset", shape[-1][0], steps, "test", "batches", key)
        admitted, _ = admit(self.db, [wanted], start=start, needs={}, now=self.now, version="v1")
        run = Run([Step(name, needs) for name, needs in shape])
        for step in run.steps:
            if start and not step.needs:
                run.start(step)
                start -= 1
        self.runs[admitted.runs[0].run_id] = run
        begun = [step.position for step in admitted.runs[0].started]
        assert begun == [n for n, step in enumerate(run.steps) if step.state == "started"]

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """Any step: those that may not start are left out."""
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        run = self.runs[run_id]
        position = data.draw(st.integers(0, len(run.steps) - 1))
        step = run.steps[position]
        expected = run.may_start(step)
        started = start_steps(self.db, [(run_id, position)], needs={}, now=self.now, version="v1")
        assert [(one.run_id, one.position) for one in started.steps] == ([(run_id, position)] if expected else [])
        if expected:
            run.start(step)
            assert (started.steps[0].attempt, started.steps[0].failures) == (step.attempt, step.failures)

    @rule(data=st.data(), outcome=st.sampled_from(get_args(Outcome)), retry=st.booleans())
    def finish(self, data: st.DataObject, outcome: Outcome, retry: bool) -> None:
        picked = self.pick(data, "started")
        if picked is None:
            return
        run_id, position = picked
        run = self.runs[run_id]
        step = run.steps[position]
        waiting = [run.may_start(one) for one in run.steps]
        result = StepResult(
            run_id, position, step.attempt, outcome, self.now, VALUE, retry_at=self.now + 5 if retry else None
        )
        finished = finish_step(self.db, result, budget=BUDGET)
        run.finish(step, outcome, retry=retry)
        assert not finished.refused
        assert finished.run_state == run.state
        new = [n for n, one in enumerate(run.steps) if run.may_start(one) and not waiting[n]]
        assert sorted(one.position for one in finished.queued) == new
        for one in finished.queued:
            assert (one.not_before is not None) == (run.steps[one.position].state == "retrying")

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), outcome=st.sampled_from(get_args(Outcome)), off=st.sampled_from([-1, 0, 1]))
    def finish_what_is_not_in_force(self, data: st.DataObject, outcome: Outcome, off: int) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        position = data.draw(st.integers(0, 2))
        steps = self.runs[run_id].steps
        attempt = off + (steps[position].attempt if position < len(steps) else 0)
        if position < len(steps) and steps[position].state == "started" and off == 0:
            return
        finished = finish_step(self.db, StepResult(run_id, position, attempt, outcome, self.now, VALUE), budget=BUDGET)
        assert finished.refused
        assert finished.events == ()

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        run = self.runs[run_id]
        ended = run.state in ("succeeded", "failed", "canceled")
        with contextlib.suppress(Conflict):
            cancel_run(self.db, run_id, self.now)
            assert not ended
        if not ended:
            run.cancel()

    @rule()
    def restart(self) -> None:
        cut_off = sum(
            step.state == "started" for run in self.runs.values() for step in run.steps if run.state != "canceling"
        )
        recovery = recover(self.db, self.now, BUDGET)
        before = {run_id: run.state for run_id, run in self.runs.items()}
        for run in self.runs.values():
            if run.state in ("queued", "started", "canceling"):
                run.recover()
        failed = [n for n, run in self.runs.items() if run.state == "failed" and before[n] == "started"]
        assert list(recovery.failed) == failed
        lost = sum(step.state == "failed" for n in failed for step in self.runs[n].steps)
        assert recovery.requeued <= cut_off
        assert recovery.requeued >= cut_off - lost

    @invariant()
    def the_tables_are_the_model(self) -> None:
        self.now += 1
        for run_id, run in self.runs.items():
            state, interruptions = rows(self.db, "SELECT state, interruptions FROM runs WHERE id = ?", run_id)[0]
            assert (state, interruptions) == (run.state, run.interruptions)
            found = rows(
                self.db, "SELECT state, attempt, failures FROM steps WHERE run_id = ? ORDER BY position", run_id
            )
            assert found == [(step.state, step.attempt, step.failures) for step in run.steps]
        queued = {(step.run_id, step.position) for step in queued_steps(self.db)}
        assert queued == {
            (run_id, n) for run_id, run in self.runs.items() for n, step in enumerate(run.steps) if run.may_start(step)
        }

    @invariant()
    def who_follows_the_events_knows_the_state(self) -> None:
        events = events_after(self.db, self.seen, 10_000)
        self.seen = events[-1].seq if events else self.seen
        self.follower.read(events)
        assert self.follower.active == states(self.db, "in_progress")
        assert self.follower.made == states(self.db, "materialized")
        assert self.follower.failed == states(self.db, "failed")


TestSteps = Steps.TestCase
TestSteps.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
