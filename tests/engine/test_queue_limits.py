"""Limits of the run queue against brute force: never exceeded, never idle while something admissible waits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.definitions.limits import Limits, PoolLimit
from freshet.definitions.pool import PoolUse, Rate, StepUse
from freshet.engine.queue import RunQueue, StepId
from freshet.store.records import Admission, QueuedStep, RunToAdmit, StepToAdmit, StepToRun

LIMITS = Limits(
    pools={"a": PoolLimit(2), "b": PoolLimit(3), "r": PoolLimit(2, Rate(3, 10.0)), "shut": PoolLimit(0)},
    runs=5,
    tags={"team": 2, "team=gold": 3, "kind=big": 1},
)
POOLS = {
    "a": PoolUse("a"),
    "aa": PoolUse("a", 2),
    "b": PoolUse("b"),
    "bb": PoolUse("b", 2),
    "bbb": PoolUse("b", 3),
    "r": PoolUse("r"),
    "shut": PoolUse("shut"),
    "ask": PoolUse("a"),
}
USES = {name: StepUse(pool, "inline" if name == "ask" else "process") for name, pool in POOLS.items()}
USES["idle"] = StepUse(None, "inline")
POOLS["sole a"] = POOLS["a"]
USES["sole a"] = USES["a"]
ALONE = frozenset({"sole", "sole a"})
NAMES = ["free", "free", "sole", "sole", *USES]
INLINE = 3
TAGS: list[dict[str, str]] = [
    {},
    {"team": "x"},
    {"team": "y"},
    {"team": "gold"},
    {"kind": "big"},
    {"kind": "big", "team": "x"},
]


@dataclass
class World:
    """The queue, and beside it what a list says that is gone through anew each time."""

    queue: RunQueue
    tags: dict[int, dict[str, str]] = field(default_factory=dict[int, dict[str, str]])
    steps: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    waiting: set[StepId] = field(default_factory=set[StepId])
    running: set[StepId] = field(default_factory=set[StepId])
    resting: set[StepId] = field(default_factory=set[StepId])
    fresh: set[StepId] = field(default_factory=set[StepId])
    at: dict[StepId, int] = field(default_factory=dict[StepId, int])
    begun: set[int] = field(default_factory=set[int])
    sure: set[int] = field(default_factory=set[int])
    paused: set[str] = field(default_factory=set[str])
    starts: list[float] = field(default_factory=list[float])
    now: float = 0.0

    def name(self, step: StepId) -> str:
        return self.steps[step[0]][step[1]]

    def sole(self, step: StepId) -> tuple[str, int] | None:
        name = self.name(step)
        return (name, self.at[step]) if name in ALONE else None

    def made_elsewhere(self, step: StepId) -> bool:
        sole = self.sole(step)
        return sole is not None and any(self.sole(one) == sole for one in (self.running | self.resting) - {step})

    def used(self, pool: str) -> int:
        return sum(use.slots for step in self.running if (use := POOLS.get(self.name(step))) and use.pool == pool)

    def counts(self) -> Counter[str]:
        return Counter(name for run in self.begun for name, _ in LIMITS.of_tags(self.tags[run]))

    def rate_is_spent(self) -> bool:
        return sum(at + 10.0 > self.now for at in self.starts) >= 3

    def starts_of_now(self) -> list[StepId]:
        """Steps that were taken just now."""
        return sorted(self.fresh & self.running)

    def never_exceeded(self) -> None:
        inline = sum(self.name(step) in ("ask", "idle") for step in self.running)
        assert inline == INLINE - self.queue.room("inline") <= INLINE
        assert len(self.running) - inline == self.queue.in_use <= self.queue.capacity
        assert len(self.begun) <= 5
        for pool, limit in LIMITS.pools.items():
            assert self.used(pool) <= limit.slots
        capacity = {"team=x": 2, "team=y": 2, "team=gold": 3, "kind=big": 1}
        assert all(count <= capacity[name] for name, count in self.counts().items())
        made = Counter(self.sole(step) for step in self.running | self.resting)
        assert all(count == 1 for sole, count in made.items() if sole is not None)
        for at in self.starts:
            assert sum(at <= other < at + 10.0 for other in self.starts) <= 3

    def blocked_but_for_slots(self, step: StepId) -> bool:
        if self.made_elsewhere(step):
            return True
        if self.queue.room("inline" if self.name(step) in ("ask", "idle") else "process") <= 0:
            return True
        if step[0] not in self.begun:
            counts = self.counts()
            if len(self.begun) >= 5 or any(counts[name] >= most for name, most in LIMITS.of_tags(self.tags[step[0]])):
                return True
        use = POOLS.get(self.name(step))
        spent = step not in self.resting and self.rate_is_spent()
        return use is not None and (use.pool in self.paused or (use.pool == "r" and spent))

    def lacks_slots(self, step: StepId) -> bool:
        use = POOLS.get(self.name(step))
        return use is not None and self.used(use.pool) + use.slots > LIMITS.pools[use.pool].slots

    def held_back(self, step: StepId) -> bool:
        """Another one wants more slots of its pool than are free, and nothing else blocks that."""
        use = POOLS.get(self.name(step))
        others = [one for one in self.waiting if (of := POOLS.get(self.name(one))) and use and of.pool == use.pool]
        return any(self.lacks_slots(one) and not self.blocked_but_for_slots(one) for one in others)

    def never_idle(self) -> None:
        for step in self.waiting:
            assert self.blocked_but_for_slots(step) or self.lacks_slots(step) or self.held_back(step), self.name(step)

    # --- what happens ---------------------------------------------------------------------------------------

    def turn(self) -> None:
        self.fresh.clear()
        for taken in self.queue.take(self.now):
            self.starts_now((taken.run_id, taken.position))
        self.looks_right()

    def starts_now(self, step: StepId) -> None:
        self.waiting.discard(step)
        self.running.add(step)
        self.begun.add(step[0])
        if step in self.resting:
            self.resting.discard(step)
            return
        self.fresh.add(step)
        if self.name(step) == "r":
            self.starts.append(self.now)

    def looks_right(self) -> None:
        self.never_exceeded()
        self.never_idle()
        assert len(self.queue) == len(self.waiting)
        assert all(step in self.queue for step in self.waiting)

    def arrives(
        self, run: int, names: list[str], tags: dict[str, str], origin: str, priority: int, order: Random
    ) -> None:
        self.comes(run, names, tags, order)
        self.queue.register(run, origin, priority=priority, tags=tags)
        for position in range(len(names)):
            self.put((run, position))

    def comes(self, run: int, names: list[str], tags: dict[str, str], order: Random) -> None:
        """Steps of a run that would make the same have partitions of their own."""
        self.steps[run], self.tags[run] = names, tags
        for position in range(len(names)):
            self.at[run, position] = order.randrange(2) + 2 * position

    def put(self, step: StepId) -> None:
        self.waiting.add(step)
        name = self.name(step)
        self.queue.put(QueuedStep(*step, name, 0, None, self.at[step]), use=USES.get(name))

    def booked(self, run: int, names: list[str], tags: dict[str, str], order: Random) -> None:
        """A run that is committed as started, as far as it was reserved; or whose commit fails."""
        asked = RunToAdmit("asset", names[-1], tuple(map(StepToAdmit, names)), "cli", tags=tags)
        booking = self.queue.book([asked, asked], USES, self.now)
        assert booking.start == 0
        if order.random() < 0.3:
            self.queue.forgo(booking)
            return
        self.comes(run, names, tags, order)
        begin = booking.runs[0].begin  # the other one was a duplicate
        begun = [at for at in range(begin) if not self.made_elsewhere((run, at))]  # as the store finds
        started = tuple(
            StepToRun(run, at, names[at], "asset", 1, 0, None, self.at[run, at], None, {}, {}, {}) for at in begun
        )
        self.queue.settle(booking, booking.runs, [Admission(run, 0, 0, started)])
        for at in range(len(names)):
            if at in begun:
                self.starts_now((run, at))
            else:
                self.put((run, at))

    def ends(self, step: StepId, *, again: bool) -> None:
        for of in (self.running, self.resting, self.waiting):
            of.discard(step)
        if step[0] in self.begun:
            self.sure.add(step[0])
        self.queue.release(step)
        self.uncounts(step[0])
        if again:
            self.put(step)
        elif not any(run == step[0] for run, _ in (*self.running, *self.resting, *self.waiting)):
            self.begun.discard(step[0])
            self.queue.left(step[0])

    def uncounts(self, run: int) -> None:
        """A run of which all that is under way rests counts in no limit."""
        if any(one == run for one, _ in self.resting) and not any(one == run for one, _ in self.running):
            self.begun.discard(run)
            self.sure.discard(run)

    def rests(self, step: StepId) -> None:
        self.running.discard(step)
        self.fresh.discard(step)
        self.resting.add(step)
        self.queue.rest(step)
        self.uncounts(step[0])

    def goes_on(self, step: StepId) -> None:
        """It is put again; one that was, rests further."""
        if step in self.waiting:
            self.waiting.discard(step)
            self.queue.stay(step)
        else:
            self.put(step)

    def refunded(self, step: StepId) -> None:
        """Its start was not committed."""
        self.running.discard(step)
        if self.name(step) == "r":
            self.starts.pop()
        if step[0] not in self.sure and not any(run == step[0] for run, _ in self.running):
            self.begun.discard(step[0])
        self.uncounts(step[0])
        self.queue.refund(step)
        self.put(step)

    def canceled(self, run: int) -> None:
        self.waiting = {step for step in self.waiting if step[0] != run}
        self.queue.discard_run(run)
        if not any(one == run for one, _ in (*self.running, *self.resting)):
            self.begun.discard(run)
            self.queue.left(run)


RUN = st.tuples(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
    st.sampled_from(TAGS),
    st.sampled_from(["cli", "sensor:a"]),
    st.integers(-1, 1),
)


@settings(max_examples=400, deadline=None)
@given(
    runs=st.lists(RUN, min_size=1, max_size=25),
    capacity=st.integers(1, 8),
    order=st.randoms(use_true_random=False),
)
def test_limits_are_never_exceeded_and_nothing_admissible_waits(
    runs: list[tuple[list[str], dict[str, str], str, int]], capacity: int, order: Random
) -> None:
    world = World(RunQueue(capacity, LIMITS, lanes={"inline": INLINE}, alone=ALONE, open=True))
    for run, (names, tags, origin, priority) in enumerate(runs, start=1):
        if order.random() < 0.3:
            world.booked(run, names, tags, order)
            world.never_exceeded()
            world.turn()
        else:
            world.arrives(run, names, tags, origin, priority, order)
            if order.random() < 0.7:
                world.turn()
        for _ in range(order.randrange(3)):
            _something(world, order)
    _runs_dry(world, order)
    assert not world.waiting and not world.resting, "all that can be done was done"


def _runs_dry(world: World, order: Random) -> None:
    world.paused.clear()
    for pool in LIMITS.pools:
        world.queue.pause(pool, paused=False)
    for run in {run for run, position in world.waiting if world.name((run, position)) == "shut"}:
        world.canceled(run)
    world.turn()
    for step in sorted(world.resting - world.waiting):
        world.goes_on(step)
    world.turn()
    while world.running or world.queue.opens_at() is not None:
        if world.running:
            world.ends(order.choice(sorted(world.running)), again=False)
        else:
            world.now = world.queue.opens_at() or world.now
        world.turn()


def _something(world: World, order: Random) -> None:
    match order.randrange(9):
        case 0 | 1 if world.running:
            world.ends(order.choice(sorted(world.running)), again=order.random() < 0.2)
        case 5 if world.starts_of_now():
            world.refunded(order.choice(world.starts_of_now()))
        case 2 if world.waiting:
            world.canceled(order.choice(sorted(world.waiting))[0])
        case 3 if world.waiting:
            world.queue.reprioritize(order.choice(sorted(world.waiting))[0], order.randrange(-3, 3))
        case 4:
            pool = order.choice(sorted(LIMITS.pools))
            world.paused ^= {pool}
            world.queue.pause(pool, paused=pool in world.paused)
        case 6 if world.running:
            world.rests(order.choice(sorted(world.running)))
        case 7 if world.resting:
            world.goes_on(order.choice(sorted(world.resting)))
        case 8 if world.resting:
            world.ends(order.choice(sorted(world.resting)), again=order.random() < 0.2)
        case _:
            world.now += order.choice([1.0, 5.0, 11.0])
    world.turn()


def _fill(queue: RunQueue, count: int, names: list[str], tags: list[dict[str, str]], origins: int = 3) -> None:
    for run in range(1, count + 1):
        name = names[run % len(names)]
        queue.register(run, f"sensor:{run % origins}", tags=tags[run % len(tags)])
        queue.put(QueuedStep(run, 0, name, 0, None), use=USES.get(name))


def test_a_start_that_was_not_committed_gives_back_all_that_it_took() -> None:
    world = World(RunQueue(4, LIMITS, lanes={"inline": INLINE}, open=True))
    world.arrives(1, ["r", "aa"], {"kind": "big"}, "cli", 0, Random(0))
    world.arrives(2, ["free"], {"kind": "big"}, "cli", -1, Random(0))
    for _ in range(5):
        world.turn()
        assert world.running == {(1, 0), (1, 1)}
        world.refunded((1, 0))
        world.never_exceeded()
        world.refunded((1, 1))
    world.canceled(1)
    world.turn()
    assert world.running == {(2, 0)}


@given(counts=st.lists(st.integers(1, 30), min_size=2, max_size=5), capacity=st.integers(1, 4))
def test_requesters_take_turns_however_much_each_asks_for(counts: list[int], capacity: int) -> None:
    queue, run, of = RunQueue(capacity, open=True), 0, dict[int, int]()
    for origin, count in enumerate(counts):
        for _ in range(count):
            run += 1
            of[run] = origin
            queue.register(run, str(origin))
            queue.put(QueuedStep(run, 0, "a", 0, None))
    had = Counter[int]()
    while taken := queue.take():
        for step in taken:
            had[of[step.run_id]] += 1
            queue.release((step.run_id, 0))
            left = [had[origin] for origin, count in enumerate(counts) if had[origin] < count]
            assert not left or max(left) - min(left) <= 1
            assert all(had[origin] <= min(left, default=10**9) + 1 for origin in range(len(counts)))


def test_who_could_not_go_is_owed_nothing() -> None:
    queue = RunQueue(1, Limits(pools={"a": PoolLimit(1)}), open=True)
    queue.pause("a", paused=True)
    for run in range(1, 41):
        queue.register(run, "busy" if run <= 30 else "blocked")
        queue.put(QueuedStep(run, 0, "a", 0, None), use=StepUse(PoolUse("a")) if run > 25 else None)
    for run in range(1, 26):
        assert [step.run_id for step in queue.take()] == [run]
        queue.release((run, 0))
    queue.pause("a", paused=False)
    order: list[str] = []
    while taken := queue.take():
        order.append("busy" if taken[0].run_id <= 30 else "blocked")
        queue.release((taken[0].run_id, 0))
    assert sorted(order[:4]) == ["blocked", "blocked", "busy", "busy"]


def test_a_step_that_wants_many_slots_is_not_overtaken_for_ever() -> None:
    queue = RunQueue(8, Limits(pools={"b": PoolLimit(3)}), open=True)
    _fill(queue, 2, ["b"], [{}])
    assert len(queue.take()) == 2
    queue.register(3, "cli")
    queue.put(QueuedStep(3, 0, "bbb", 0, None), use=USES["bbb"])
    queue.register(4, "cli")
    queue.put(QueuedStep(4, 0, "b", 0, None), use=USES["b"])
    assert queue.take() == []
    queue.release((1, 0))
    assert queue.take() == []
    queue.release((2, 0))
    assert [step.run_id for step in queue.take()] == [3]
    queue.release((3, 0))
    assert [step.run_id for step in queue.take()] == [4]


def test_a_rate_counts_what_started_before_a_restart_and_says_when_it_opens() -> None:
    queue = RunQueue(8, LIMITS, open=True)
    for at in (-9.0, -3.0):
        queue.started_before("r", at)
    _fill(queue, 3, ["r"], [{}])
    assert [step.run_id for step in queue.take(0.0)] == [1]
    assert queue.opens_at() == 1.0
    assert queue.take(0.999) == []
    assert [step.run_id for step in queue.take(1.0)] == [2]


NO_TAGS: list[dict[str, str]] = [{}]


@pytest.mark.parametrize(
    ("names", "tags", "origins"),
    [
        (["free"], NO_TAGS, 3),
        (["b"], NO_TAGS, 200),
        (["a", "b", "bb", "free"], [{"team": f"t{n}"} for n in range(1000)], 3),
        (["aa", "b", "r"], [{"team": f"t{n}"} for n in range(100_000)], 2),
        (["bb"], [{"team": "gold"}, {"kind": "big"}, {"team": "x"}], 1),
    ],
)
def test_the_next_of_a_hundred_thousand_is_found_without_looking_at_the_others(
    names: list[str], tags: list[dict[str, str]], origins: int
) -> None:
    count, starts = 100_000, 300
    queue = RunQueue(4, Limits(LIMITS.pools, runs=3, tags=LIMITS.tags), open=True)
    _fill(queue, count, names, tags, origins)
    running = queue.take()
    begun = process_time()
    for turn in range(1, starts):
        if not running:
            running = queue.take(100.0 * turn)
        ended = running.pop(0)
        queue.release((ended.run_id, 0))
        queue.left(ended.run_id)
        running += queue.take(100.0 * turn)
    assert process_time() - begun < starts * 0.001


@pytest.mark.parametrize("partitions", [1, 10, 100_000])
def test_the_next_of_a_hundred_thousand_is_found_however_many_make_the_same(partitions: int) -> None:
    count, starts = 100_000, 300
    queue = RunQueue(4, alone={"made"}, open=True)
    for run in range(1, count + 1):
        queue.register(run, f"sensor:{run % 3}", priority=run % 2)
        queue.put(QueuedStep(run, 0, "made", 0, None, run % partitions))
    running = queue.take()
    assert len(running) == min(4, partitions)
    begun = process_time()
    for _ in range(starts):
        ended = running.pop(0)
        queue.release((ended.run_id, 0))
        queue.left(ended.run_id)
        running += queue.take()
        assert len({step.partition for step in running}) == len(running) == min(4, partitions)
    assert process_time() - begun < starts * 0.005
