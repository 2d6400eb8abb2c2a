"""What of the requests that wait is due: the plan, driven through time, against a slow reading of what was promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.definitions.flow import BatchSpec, Flow, ThrottleSpec
from freshet.engine.pending_plan import ONE_LINE, group_of, plan_pending
from freshet.store.records.pending import WaitingRequest

Released = list[tuple[float, tuple[int, ...]]]

FLOWS = st.builds(
    Flow,
    debounce=st.none() | st.integers(1, 6).map(float),
    batch=st.none() | st.builds(BatchSpec, st.integers(1, 4), st.integers(1, 8).map(float)),
    throttle=st.none() | st.builds(ThrottleSpec, st.integers(1, 3), st.integers(1, 6).map(float)),
)
ARRIVALS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["a", "b", None])), max_size=14).map(
    lambda found: [
        WaitingRequest(number, "raw", key, float(at))
        for number, (at, key) in enumerate(sorted(found, key=lambda one: one[0]), start=1)
    ]
)


def planned(flow: Flow, arrivals: Sequence[WaitingRequest]) -> Released:
    """As the releaser does it: look when something comes, and when the plan says so."""
    out: Released = []
    groups: dict[tuple[str, str | None], list[WaitingRequest]] = {}
    begun: list[float] = []
    coming, again = list(arrivals), None
    while coming or again is not None:
        now = min([one.at for one in coming[:1]] + ([] if again is None else [again]))
        while coming and coming[0].at <= now:
            one = coming.pop(0)
            groups.setdefault(group_of(flow, one.target, one.key), []).append(one)
        plan = plan_pending(flow, groups, begun, now)
        assert plan.again is None or plan.again > now
        for due in plan.now:
            assert tuple(groups[due.group][: len(due.requests)]) == due.requests, "always a group's oldest"
            del groups[due.group][: len(due.requests)]
            if not groups[due.group]:
                del groups[due.group]
            out.append((now, tuple(one.id for one in due.requests)))
            begun.append(now)
        again = plan.again
    assert not groups, "everything runs in the end"
    return out


def promised(flow: Flow, arrivals: Sequence[WaitingRequest]) -> Released:
    """Second by second, each promise read as it stands. What the throttle holds back goes on collecting."""
    waiting: list[WaitingRequest] = []
    out: Released = []
    for second in range(400):
        now = float(second)
        waiting += [one for one in arrivals if one.at == now]
        while due := sorted(one for key in ("a", "b", None) for one in _due(flow, waiting, key) if one[0] <= now):
            if not _may_begin(flow, out, now):
                break
            taken = due[0][1]
            out.append((now, taken))
            waiting = [one for one in waiting if one.id not in taken]
    return out


def _due(flow: Flow, waiting: list[WaitingRequest], key: str | None) -> list[tuple[float, tuple[int, ...]]]:
    """The next run of a partition, and when it falls due if nothing more comes."""
    mine = [one for one in waiting if one.key == key]
    if not mine:
        return []
    if flow.batch is None and flow.debounce is None:
        mine = mine[:1]
    whens = [mine[0].at] if flow.batch is None and flow.debounce is None else []
    if flow.debounce is not None and (flow.batch is None or len(mine) < flow.batch.count):
        whens.append(mine[-1].at + flow.debounce)
    if flow.batch is not None and len(mine) >= flow.batch.count:
        mine = mine[: flow.batch.count]
        whens = [mine[-1].at]
    elif flow.batch is not None:
        whens.append(mine[0].at + flow.batch.within)
    return [(min(whens), tuple(one.id for one in mine))]


def _may_begin(flow: Flow, out: Released, now: float) -> bool:
    throttle = flow.throttle
    return throttle is None or sum(now - at < throttle.period for at, _ in out) < throttle.count


@settings(max_examples=600, deadline=None)
@given(FLOWS, ARRIVALS)
def test_the_plan_keeps_each_promise(flow: Flow, arrivals: list[WaitingRequest]) -> None:
    assert planned(flow, arrivals) == promised(flow, arrivals)


@given(FLOWS.map(lambda flow: replace(flow, throttle=None)), ARRIVALS, st.integers(-100, 100))
def test_a_step_of_the_clock_neither_loses_nor_holds_for_ever(
    flow: Flow, arrivals: list[WaitingRequest], step: int
) -> None:
    """Everything came before the clock was set: it is due at the latest after the longest wait there is."""
    groups: dict[tuple[str, str | None], list[WaitingRequest]] = {}
    for one in arrivals:
        groups.setdefault(group_of(flow, one.target, one.key), []).append(one)
    now = float(step)
    plan = plan_pending(flow, groups, (), now)
    longest = max(flow.debounce or 0.0, flow.batch.within if flow.batch else 0.0)
    assert plan.again is None or now < plan.again <= now + longest
    due = {one.id for each in plan.now for one in each.requests}
    later = {one.id for waiting in groups.values() for one in waiting} - due
    assert (plan.again is None) == (not later)


def test_a_throttled_line_goes_in_the_order_of_arrival_whatever_the_clock_did() -> None:
    flow = Flow(throttle=ThrottleSpec(1, 10.0))
    line = [WaitingRequest(1, "raw", None, 100.0), WaitingRequest(2, "raw", None, 50.0)]
    plan = plan_pending(flow, {ONE_LINE: line}, (), 60.0)
    assert [one.requests[0].id for one in plan.now] == [1]
    assert plan.again == 70.0


def test_runs_that_began_after_now_hold_back_for_one_period_at_the_most() -> None:
    flow = Flow(throttle=ThrottleSpec(1, 10.0))
    plan = plan_pending(flow, {ONE_LINE: [WaitingRequest(1, "raw", None, 5.0)]}, (1000.0,), 5.0)
    assert plan.now == ()
    assert plan.again == 15.0
