"""Reports, time, steps of the clock, restarts, edits, and keys that go and come again, in any order: each lapse is told
once, in time, as a model that looks at every second says."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.rig import Rig, rig

from freshet import DynamicPartitions, Freshness, external_asset
from freshet.engine.clock import SimulatedClock
from freshet.store.records import ReportedMaterialization

KEYS = DynamicPartitions("keys")
WITHIN = [(60.0, None), (60.0, 45.0), (20.0, 5.0), (300.0, 100.0)]
EVERY = [(60.0, None), (30.0, 20.0), (150.0, 60.0)]
"""Window and warning before each full minute but every other one."""
PERIOD = 120.0

Action = tuple[str, int, float]
Place = tuple[str, int]


@dataclass
class Stand:
    """One asset, or partition of one, as the model has it. `at`: what is known last, None before anything is."""

    since: float
    at: float | None = None
    state: int = 0
    told_for: float | None = None


@dataclass
class Model:
    """Keeps when things were made and looks at each second."""

    policies: dict[str, tuple[float, float | None]]
    stands: dict[Place, Stand] = field(default_factory=dict[Place, Stand])
    told: list[tuple[str, Place, float]] = field(default_factory=list[tuple[str, Place, float]])

    def deadline(self, asset: str, stand: Stand) -> float:
        length, _ = self.policies[asset]
        base = stand.since if stand.at is None else stand.at
        if not asset.endswith("cron"):
            return base + length
        instant = (stand.since // PERIOD + 1) * PERIOD
        while stand.at is not None and stand.at >= instant - length:
            instant += PERIOD
        return instant

    def worst(self, asset: str, stand: Stand, now: float) -> int:
        length, warn = self.policies[asset]
        deadline = self.deadline(asset, stand)
        early = None if warn is None else deadline - (warn if asset.endswith("cron") else length - warn)
        return 2 if now >= deadline else 1 if early is not None and now >= early else 0

    def look(self, now: float) -> None:
        for place, stand in self.stands.items():
            state = self.worst(place[0], stand, now)
            if state > stand.state:
                stand.state = state
                self.told.append((("", "warned", "lapsed")[state], place, now))

    def report(self, place: Place, at: float | None, now: float) -> bool:
        stand = self.stands[place]
        told = now if at is None else min(at, now)
        if at is not None and stand.at is not None and told <= stand.at:
            return False
        stand.at = told if stand.at is None else max(told, stand.at)
        state = self.worst(place[0], stand, now)
        if stand.state and (state == 0 or (stand.state == 2 and state == 1)):
            stand.state = 0
            self.told.append(("restored", place, now))
        return True


actions = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([1, 7, 30, 61, 400]), st.just(0.0)),
        st.tuples(st.just("report"), st.integers(0, 5), st.sampled_from([-1.0, -1.0, 0.0, 10.0, 50.0, 200.0])),
        st.tuples(st.just("step"), st.sampled_from([-300, -20, 15, 200]), st.just(0.0)),
        st.tuples(st.just("restart"), st.sampled_from([0, 5, 90]), st.just(0.0)),
        st.tuples(st.just("edit"), st.integers(0, 11), st.just(0.0)),
        st.tuples(st.just("add"), st.integers(0, 0), st.just(0.0)),
        st.tuples(st.just("delete"), st.integers(1, 3), st.just(0.0)),
        st.tuples(st.just("renew"), st.integers(1, 3), st.just(0.0)),
    ),
    min_size=1,
    max_size=14,
)


def definitions(model: Model) -> list[object]:
    made: list[object] = []
    for name, (length, warn) in model.policies.items():
        each = name.startswith("each")
        early = None if warn is None else f"{int(warn)}s"
        if name.endswith("cron"):
            policy = Freshness(cron="*/2 * * * *", window=f"{int(length)}s", warn=early, per_partition=each)
        else:
            policy = Freshness(f"{int(length)}s", early, per_partition=each)
        made.append(external_asset(name, freshness=policy, partitions=KEYS if each else None))
    return made


async def delete(engine: Rig, model: Model, number: int) -> None:
    await engine.control.delete_partitions("keys", [f"k{number}"])
    for name in ("each", "each_cron"):
        model.stands.pop((name, number), None)


async def add(engine: Rig, model: Model, number: int, since: float) -> None:
    await engine.control.add_partitions("keys", {f"k{number}": {}})
    for name in ("each", "each_cron"):
        model.stands.setdefault((name, number), Stand(since))


async def play(steps: list[Action], folder: Path) -> None:
    clock = SimulatedClock()
    begin = clock.now()  # what is added, after a step back, before there was a policy counts from the policy
    model = Model({"whole": WITHIN[1], "whole_cron": EVERY[1], "each": WITHIN[1], "each_cron": EVERY[1]})
    model.stands = {(name, 0): Stand(clock.now()) for name in ("whole", "whole_cron")}
    count = 0
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(rig(folder, definitions(model), clock=clock))
        for kind, number, value in steps:
            if kind == "wait":
                for _ in range(number):
                    await engine.advance(1)
                    model.look(clock.now())
            elif kind == "report":
                place = sorted(model.stands)[number % len(model.stands)]
                at = None if value < 0 else clock.now() - value
                key = f"k{place[1]}" if place[1] else None
                counted = await engine.control.report_made(ReportedMaterialization(place[0], key, at=at))
                assert counted == model.report(place, at, clock.now())
            elif kind == "step":
                clock.step_wall(float(number))
            elif kind == "add" and count < 3:
                count += 1
                await add(engine, model, count, max(begin, clock.now()))
            elif kind in ("delete", "renew") and number <= count:
                await delete(engine, model, number)
                if kind == "renew":  # perhaps before anyone has looked
                    await add(engine, model, number, max(begin, clock.now()))
            elif kind in ("restart", "edit"):
                await stack.aclose()
                if kind == "edit":
                    name = sorted(model.policies)[number % 4]
                    choices = EVERY if name.endswith("cron") else WITHIN
                    model.policies[name] = choices[number % len(choices)]
                else:
                    await clock.advance(float(number), _nothing)
                engine = await stack.enter_async_context(rig(folder, definitions(model), clock=clock, stop=number != 5))
            await engine.advance(0)  # what is due at this very moment
            model.look(clock.now())
            assert await heard(engine) == sorted(model.told), (kind, number, value)


async def heard(engine: Rig) -> list[tuple[str, Place, float]]:
    await engine.settle()
    found = [event for event in await engine.events() if event.type.startswith("freshness_")]
    return sorted((one.type.removeprefix("freshness_"), (one.asset or "", one.partition or 0), one.at) for one in found)


async def _nothing() -> None:
    return


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=actions)
def test_each_lapse_is_told_once_and_in_time(steps: list[Action]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(steps, Path(folder)))
