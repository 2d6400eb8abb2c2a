"""What fires, what is skipped, and when to look again: against a list made one by one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tests.time.brute import at

from freshet.definitions.schedule import Schedule, ScheduleSpec
from freshet.engine.schedules.plan import GRACE, Plan, ScheduleState, anchor, delay_of, plan

T0 = at(2026, 3, 28, 12)
"""Half a day before the clocks of Berlin go forward."""


def spec(**options: Any) -> ScheduleSpec:
    options = options if "every" in options else {"cron": "* * * * *", **options}
    return Schedule("nightly", target="sales", **options).spec.resolved("Europe/Berlin")


def decided(made: Plan) -> list[float]:
    """Every instant a plan decided, as far as its records tell: fired ones, and the ends of ranges."""
    return sorted([*made.fire, *(one for skipped in made.skipped for one in (skipped.first, skipped.last))])


specs = st.builds(
    spec,
    cron=st.sampled_from(["* * * * *", "*/10 * * * *", "30 2 * * *", "*/15 * * * * *", "0 0 * * *", "0,30 2,3 * * *"]),
    misfire=st.sampled_from(["latest", "all", "skip"]),
    max_late=st.sampled_from([None, "0s", "90s", "1h", "2d"]),
    max_catch_up=st.sampled_from([1, 3, 100]),
    jitter=st.sampled_from(["0s", "7s", "15m"]),
)
spans = st.one_of(st.floats(0, 120), st.floats(0, 9_000), st.floats(0, 100_000))


def expected(made: ScheduleSpec, state: ScheduleState, now: float, watching_since: float) -> tuple[list[float], Any]:
    """The policies as their words say, instant by instant."""
    delay, times = delay_of(made), made.times
    due = list(itertools.takewhile(lambda one: one + delay <= now, times.instants(state.decided)))
    too_late = [one for one in due if made.max_late is not None and now - (one + delay) > made.max_late]
    left = [one for one in due if one not in set(too_late)]
    missed = [one for one in left if one + delay < watching_since or now - (one + delay) > GRACE]
    on_time = left[len(missed) :]
    kept = {"skip": [], "all": missed[-made.max_catch_up :], "latest": missed[-1:] if not on_time else []}[made.misfire]
    dropped = missed[: len(missed) - len(kept)]
    reason = "max_catch_up" if made.misfire == "all" else "misfire"
    ranges = [(one, why) for one, why in ((too_late, "max_late"), (dropped, reason)) if one]
    return kept + on_time, [(one[0], one[-1], len(one), why) for one, why in ranges]


@settings(max_examples=200, deadline=None)
@given(made=specs, down=spans, up=st.one_of(st.just(0.0), st.floats(0, 30)))
@example(made=spec(cron="30 2 * * *"), down=43_200.0, up=0.0)
def test_a_downtime_of_any_length(made: ScheduleSpec, down: float, up: float) -> None:
    state, now = anchor(made, T0), T0 + down + up
    got = plan(made, state, now, watching_since=T0 + down)
    fire, skipped = expected(made, state, now, T0 + down)
    assert list(got.fire) == fire
    assert [(one.first, one.last, one.count, one.reason) for one in got.skipped] == skipped
    assert all(one + delay_of(made) <= now for one in got.fire), "never early"
    assert got.due is not None and got.due > now
    assert got.next == made.times.after(max([state.decided, *decided(got)]))


@settings(max_examples=100, deadline=None)
@given(made=specs, moments=st.lists(st.floats(0, 200_000), min_size=1, max_size=12))
def test_a_restart_at_any_moment_decides_the_same(made: ScheduleSpec, moments: list[float]) -> None:
    """However often it is looked at, and whatever was lost in between: each instant is decided once."""
    state, count, seen = anchor(made, T0), 0, list[float]()
    for moment in sorted(moments):
        got = plan(made, state, T0 + moment, watching_since=T0 + moment)
        assert decided(got) == sorted(decided(got)) and all(one > state.decided for one in decided(got))
        seen += got.fire
        count += len(got.fire) + sum(one.count for one in got.skipped)
        state = got.state
    end = T0 + max(moments)
    due = list(itertools.takewhile(lambda one: one + delay_of(made) <= end, made.times.instants(T0)))
    assert count == len(due) and len(set(seen)) == len(seen)
    assert state.decided == max(due, default=T0)


@settings(deadline=None)
@given(made=specs, span=st.floats(0, 4000))
def test_woken_when_due_every_tick_fires(made: ScheduleSpec, span: float) -> None:
    """Whatever the policy: a daemon that is up fires each tick, and being woken when it is due is enough."""
    state, fired, now = anchor(made, T0), list[float](), T0
    for _ in range(200):
        made_plan = plan(made, state, now, watching_since=T0)
        fired += made_plan.fire
        assert not made_plan.skipped
        state = made_plan.state
        assert made_plan.due is not None and made_plan.due > now, "no plan without progress"
        if (now := made_plan.due) > T0 + span:
            break
    assert fired == list(itertools.islice(made.times.instants(T0), len(fired)))


@settings(deadline=None)
@given(made=specs, back=st.floats(0, 10**6), later=st.floats(0, 300))
def test_a_backward_step_fires_nothing_again(made: ScheduleSpec, back: float, later: float) -> None:
    first = plan(made, anchor(made, T0), T0 + 7000)
    again = plan(made, first.state, T0 + 7000 - back)
    assert (again.fire, again.skipped, again.state, again.due) == ((), (), first.state, first.due)
    assert all(one > first.state.decided for one in plan(made, again.state, T0 + 7000 + later).fire)


def test_an_edit_starts_anew() -> None:
    old, new = spec(cron="0 * * * *"), spec(cron="*/5 * * * *")
    state = anchor(old, T0)
    edited = plan(new, state, T0 + 86_400)
    assert not edited.fire and not edited.skipped
    assert edited.state == ScheduleState(new.version, T0 + 86_400, T0 + 86_400)
    assert edited.due == T0 + 86_400 + 300
    assert plan(new, None, T0) == replace(edited, state=anchor(new, T0), next=T0 + 300, due=T0 + 300)


def test_what_makes_another_version() -> None:
    made = spec(cron="0 6 * * *")
    assert made.version == spec(cron="0  6 * * *", misfire="all", jitter="5m", params={"a": 1}).version
    other_zone = Schedule("nightly", cron="0 6 * * *", target="x").spec.resolved("UTC")
    assert len({made.version, other_zone.version, spec(cron="1 6 * * *").version, spec(every="10s").version}) == 4
    assert spec(every="10s").version == Schedule("x", every="10s", target="x", timezone="UTC").spec.version


@pytest.mark.parametrize(("policy", "fires"), [("latest", 1), ("all", 100), ("skip", 0)])
def test_a_year_of_seconds_is_a_row(policy: str, fires: int) -> None:
    made, year = spec(cron="* * * * * *", misfire=policy), 366 * 86_400
    got = plan(made, anchor(made, T0), T0 + year + 0.25, watching_since=T0 + year + 0.125)
    assert len(got.fire) == fires and len(got.skipped) == 1
    assert got.skipped[0].count == year - fires
    assert list(got.fire) == [T0 + year - fires + 1 + index for index in range(fires)], "the newest, oldest first"


def test_many_on_time_come_in_pieces() -> None:
    made = spec(every="100ms", misfire="skip")
    state, now, fired = anchor(made, T0), T0 + 2000.0, list[float]()
    while (got := plan(made, state, now, grace=3000.0)).fire:
        assert len(got.fire) <= 10_000 and (got.due or 0) >= now
        fired += got.fire
        state = got.state
    assert fired == list(itertools.islice(made.times.instants(T0), 20_000))


def test_jitter_is_a_steady_delay_of_its_own() -> None:
    delays = [delay_of(Schedule(f"s{number}", cron="@daily", target="x", jitter="10m").spec) for number in range(200)]
    assert len(set(delays)) == 200 and all(0 <= one < 600 for one in delays)
    assert 240 < sum(delays) / 200 < 360
    assert delays[7] == delay_of(Schedule("s7", every="1h", target="y", jitter="10m").spec)
    made = spec(cron="0 * * * *", jitter="10m")
    assert plan(made, anchor(made, T0), T0).due == T0 + 3600 + delay_of(made)
    assert plan(made, anchor(made, T0), T0).next == T0 + 3600, "the nominal instant is not moved"


def test_ticks_of_the_night_when_clocks_change() -> None:
    made = spec(cron="30 2 * * *", misfire="all")
    spring = plan(made, anchor(made, at(2026, 3, 28, 12)), at(2026, 3, 29, 12))
    assert spring.fire == (at(2026, 3, 29, 1),)
    autumn = plan(made, anchor(made, at(2026, 10, 24, 12)), at(2026, 10, 25, 12))
    assert autumn.fire == (at(2026, 10, 25, 0, 30),)


@given(now=st.floats(0, 1000))
def test_near_1970_nothing_is_different(now: float) -> None:
    made = spec(every="10s", jitter="9s")
    assume(delay_of(made) > 0)
    got = plan(made, anchor(made, 0.0), now, grace=2000.0)
    assert list(got.fire) == [10.0 * one for one in range(1, 200) if 10.0 * one + delay_of(made) <= now]
