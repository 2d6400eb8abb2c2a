"""The run queue against a list that is sorted anew each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.slots import RunQueue
from freshet.store.records import QueuedStep


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
        queue.release(len(batch))
    assert taken == expected


def test_a_new_run_does_not_overtake_those_that_wait() -> None:
    queue = RunQueue(2, open=True)
    queue.put(_step(1))
    assert queue.reserve(1) == 0
    queue.take()
    assert queue.reserve(5) == 1
    assert queue.free == 0


def test_a_closed_queue_starts_nothing() -> None:
    queue = RunQueue(2)
    queue.put(_step(1))
    assert queue.take() == []
    assert queue.reserve(1) == 0
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
