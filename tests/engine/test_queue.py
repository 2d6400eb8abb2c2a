"""The run queue without limits: against a list that is sorted anew each time, and one after the other."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from freshet.definitions.executor import Lane
from freshet.definitions.pool import StepUse
from freshet.engine.queue import RunQueue
from freshet.store.records import QueuedStep, RunToAdmit, StepToAdmit
from freshet.store.records.runs import RunGroup


def _step(run_id: int, priority: int = 0) -> QueuedStep:
    return QueuedStep(run_id, 0, "a", priority, None)


@given(waiting=st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 3)), max_size=20), capacity=st.integers(1, 5))
def test_takes_by_priority_then_depth_then_age_and_never_more_than_the_slots(
    waiting: list[tuple[int, int]], capacity: int
) -> None:
    queue = RunQueue(capacity, open=True)
    for run_id, (priority, depth) in enumerate(waiting):
        queue.put(_step(run_id, priority), depth=depth)
    expected = sorted(range(len(waiting)), key=lambda run_id: (-waiting[run_id][0], -waiting[run_id][1], run_id))
    taken: list[int] = []
    while batch := queue.take():
        assert len(batch) <= capacity
        assert queue.in_use == len(batch)
        taken.extend(step.run_id for step in batch)
        for step in batch:
            queue.release((step.run_id, 0))
    assert taken == expected


_LANES: dict[Lane, int] = {"inline": 3, "dask": 1}


@given(
    waiting=st.lists(st.tuples(st.sampled_from(["process", "inline", "dask"]), st.integers(-1, 1)), max_size=25),
    ends=st.randoms(use_true_random=False),
)
def test_each_lane_is_full_or_has_nobody_waiting_and_never_takes_more_than_its_slots(
    waiting: list[tuple[Lane, int]], ends: Random
) -> None:
    queue = RunQueue(2, open=True, lanes=_LANES)
    room = {"process": 2, **_LANES}
    left = {lane: [n for n, one in enumerate(waiting) if one[0] == lane] for lane in room}
    for run_id, (lane, priority) in enumerate(waiting):
        queue.put(_step(run_id, priority), use=StepUse(executor=lane))
    running = set[int]()
    while len(queue) or running:
        for step in queue.take():
            lane = waiting[step.run_id][0]
            best = min(left[lane], key=lambda n: (-waiting[n][1], n))
            assert step.run_id == best
            left[lane].remove(best)
            running.add(best)
        for lane in room:
            under_way = sum(waiting[n][0] == lane for n in running)
            assert under_way <= room[lane]
            assert under_way == room[lane] or not left[lane]
        done = ends.choice(sorted(running))
        running.remove(done)
        queue.release((done, 0))
    assert queue.in_use == 0


def _run(name: str = "a", **more: Any) -> RunToAdmit:
    return RunToAdmit("asset", name, (StepToAdmit(name),), "cli", **more)


def test_a_new_run_does_not_overtake_those_that_wait() -> None:
    queue = RunQueue(2, open=True)
    queue.put(_step(1))
    assert not queue.book([_run()]).begins
    queue.take()
    assert queue.book([_run()] * 5).start == 1
    assert queue.room("process") == 0


def test_a_closed_queue_starts_nothing() -> None:
    queue = RunQueue(2)
    queue.put(_step(1))
    assert queue.take() == []
    assert not queue.book([_run()]).begins
    queue.open = True
    assert [step.run_id for step in queue.take()] == [1]


def test_a_canceled_run_waits_no_more() -> None:
    queue = RunQueue(2, open=True)
    queue.put(_step(1))
    queue.put(_step(2))
    queue.put(_step(1))
    queue.discard_run(1)
    assert not queue.waits(1)
    assert [step.run_id for step in queue.take()] == [2]


LINES: list[RunGroup | None] = [("schedule:a", "job", None, None), ("schedule:b", "job", None, None), None]


@given(
    arrivals=st.lists(st.sampled_from(LINES), min_size=1, max_size=12),
    capacity=st.integers(1, 4),
    order=st.randoms(use_true_random=False),
)
def test_runs_of_a_line_go_one_after_the_other_and_hold_back_nobody_else(
    arrivals: list[RunGroup | None], capacity: int, order: Random
) -> None:
    queue = RunQueue(capacity, open=True)
    running: list[int] = []
    begun: list[int] = []
    canceled: set[int] = set()
    line_of = dict(enumerate(arrivals, start=1))

    def turn() -> None:
        taken = [step.run_id for step in queue.take()]
        running.extend(taken)
        begun.extend(taken)
        active = [line_of[run] for run in running if line_of[run] is not None]
        assert len(active) == len(set(active)), "two of one line at once"
        for run, line in line_of.items():
            if line is None and (run, 0) in queue:
                assert queue.room("process") == 0, "it waits for a slot alone"

    for run, line in line_of.items():
        if line is not None:
            queue.join(run, line)
        queue.put(QueuedStep(run, 0, "step", 0, None))
        turn()
        if running and order.random() < 0.4:
            ended = running.pop(order.randrange(len(running)))
            queue.release((ended, 0))
            queue.left(ended)
            turn()
        elif order.random() < 0.2 and (waiting := [one for one in line_of if (one, 0) in queue]):
            gone = order.choice(waiting)
            queue.discard_run(gone)
            queue.left(gone)
            canceled.add(gone)
            turn()
    while running:
        queue.release((running[0], 0))
        queue.left(running.pop(0))
        turn()
    assert len(queue) == 0 and queue.in_use == 0
    assert sorted(begun) == [run for run in line_of if run not in canceled], "each goes once"
    for line in LINES[:2]:
        ours = [run for run in begun if line_of[run] == line]
        assert ours == sorted(ours), "in the order in which they came"


def test_a_long_line_is_joined_and_left_without_walking_along_it() -> None:
    asked = 0

    class Run(int):
        def __eq__(self, other: object) -> bool:
            nonlocal asked
            asked += 1
            return int(self) == other

        __hash__ = int.__hash__

    queue, line, count = RunQueue(1, open=True), ("schedule:s", "a", None, None), 2000
    runs = [Run(number) for number in range(1, count + 1)]
    for run in runs:
        queue.join(run, line)
        queue.put(_step(run))
    for run in runs:
        assert [step.run_id for step in queue.take()] == [int(run)]
        queue.release((run, 0))
        queue.left(run)
    assert asked < 50 * count
    assert not queue.has(line)
