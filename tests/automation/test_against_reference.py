"""The incremental evaluation and the slow one agree, whatever happens in whatever order, also across restarts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from tests.automation.plant import ACTIVE, Plant, Run
from tests.automation.plant_sets import PlantSets
from tests.automation.random_graphs import graphs, sketch
from tests.automation.reference import Reference

from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import DynamicPartitions, MultiPartitions, TimePartitions
from freshet.engine.automation import Evaluation
from freshet.store.records import Event

MOST = {"a": 4, "b": 4, "days": 4, "later": 4, "thirds": 7, "hours": 8, "grid": 8, "cube": 8, "plan": 8}


class Watched(Plant):
    """A plant whose every evaluation is compared."""

    def __init__(self, definitions: Definitions, live: dict[str, Iterable[int]]) -> None:
        self.reference = Reference(definitions, PlantSets(definitions, live).states())
        super().__init__(definitions, live)

    def settle(self, evaluation: Evaluation, events: tuple[Event, ...]) -> None:
        expected = self.reference.evaluate(events, self.now)
        before = len(self.waves)
        super().settle(evaluation, events)
        assert set(self.waves[before:]) == expected, f"{sketch(self.definitions)}\n{events}"
        assert evaluation.wake_at is None or evaluation.wake_at > self.now

    def crash(self, behind: list[tuple[Event, ...]]) -> None:
        """Restart with transactions committed that nobody has looked at."""
        facts = self.reference.facts
        facts.materialized = {place for place, made in self.made.items() if made.materialized_seq is not None}
        facts.failed = {
            place
            for place, made in self.made.items()
            if made.failed_seq is not None and made.failed_seq > (made.materialized_seq or 0)
        }
        facts.in_progress = {
            (name, run.partition)
            for run in self.runs.values()
            for name, state in run.states.items()
            if state in ACTIVE and run.partition in self.partitions(name)
        }
        facts.lapsed = {row.asset for row in self.policies.values() if self.stands(row.asset) == "lapsed"}
        facts.warned = {row.asset for row in self.policies.values() if self.stands(row.asset) == "warn"}
        seen: set[tuple[str | None, int | None]] = set()
        for event in [event for events in behind for event in events]:
            if event.asset is not None and (place := (event.asset, event.partition or 0)) not in seen:
                seen.add(place)
                (facts.in_progress.discard if event.type == "requested" else facts.in_progress.add)(place)
        self.reference.restarted({name: set(numbers) for name, numbers in self.live.items()})
        self.restart(behind)


class Agreement(RuleBasedStateMachine):
    plant: Watched

    @initialize(definitions=graphs(), data=st.data())
    def begin(self, definitions: Definitions, data: st.DataObject) -> None:
        live: dict[str, Iterable[int]] = {}
        for name, spec in definitions.partition_set.items():
            count = data.draw(st.integers(0, 2))
            if isinstance(spec, TimePartitions):
                live[name] = range(spec.first, spec.first + count)
            elif isinstance(spec, DynamicPartitions):
                live[name] = range(1, 1 + count)
        self.plant = Watched(definitions, live)

    def steps(self, *states: str) -> list[tuple[Run, str]]:
        plant = self.plant
        found = [(run, name) for run in plant.runs.values() for name in run.assets if run.states[name] in states]
        return [step for step in found if step[0].states[step[1]] != "queued" or plant.ready(*step)]

    def pick(self, data: st.DataObject, options: list[Any]) -> Any:
        return data.draw(st.sampled_from(options)) if options else None

    def sets(self, kind: type[Any]) -> list[str]:
        return [name for name, spec in self.plant.definitions.partition_set.items() if isinstance(spec, kind)]

    def busy(self) -> set[tuple[str | None, int]]:
        return {(self.plant.reference.set_of(run.assets[0]), run.partition) for run in self.plant.active()}

    @precondition(lambda self: self.sets(DynamicPartitions))
    @rule(data=st.data(), ranged=st.booleans())
    def add_keys(self, data: st.DataObject, ranged: bool) -> None:
        name, numbers = self.addable(data)
        if numbers:
            self.plant.add(name, *numbers, ranged=ranged)

    def addable(self, data: st.DataObject) -> tuple[str, set[int]]:
        """No number comes back while a run of it, or of a combination that comes with it, is under way."""
        plant, busy, name = self.plant, self.busy(), data.draw(st.sampled_from(self.sets(DynamicPartitions)))
        numbers = {
            number
            for number in data.draw(st.sets(st.integers(1, MOST[name]), min_size=1, max_size=3)) - plant.live[name]
            if busy.isdisjoint(
                {(name, number)}
                | {(several, one) for several, ones in plant.sets.with_key(name, number).items() for one in ones}
            )
        }
        return name, numbers

    @precondition(lambda self: self.sets(DynamicPartitions))
    @rule(data=st.data(), ranged=st.booleans())
    def delete_keys(self, data: st.DataObject, ranged: bool) -> None:
        name, numbers = self.deletable(data)
        if numbers:
            self.plant.delete(name, *numbers, ranged=ranged)

    def deletable(self, data: st.DataObject) -> tuple[str, set[int]]:
        name = data.draw(st.sampled_from(self.sets(DynamicPartitions)))
        return name, data.draw(st.sets(st.integers(1, MOST[name]), min_size=1, max_size=2)) & self.plant.live[name]

    @precondition(lambda self: self.sets(TimePartitions))
    @rule(data=st.data(), count=st.integers(1, 3))
    def open_windows(self, data: st.DataObject, count: int) -> None:
        name = data.draw(st.sampled_from(self.sets(TimePartitions)))
        if len(self.plant.live[name]) + count <= MOST[name]:
            self.plant.open(name, count)

    @precondition(lambda self: self.sets(MultiPartitions))
    @rule(data=st.data())
    def use_combinations(self, data: st.DataObject) -> None:
        name, places = self.usable(data)
        if places:
            self.plant.use(name, *places)

    def usable(self, data: st.DataObject) -> tuple[str, list[tuple[int, ...]]]:
        plant, name = self.plant, data.draw(st.sampled_from(self.sets(MultiPartitions)))
        busy = {plant.sets.places[name].get(number) for several, number in self.busy() if several == name}
        free = [place for place in plant.sets.free_places(name) if place not in busy]
        if not free or len(plant.live[name]) >= MOST[name]:
            return name, []
        return name, data.draw(st.lists(st.sampled_from(free), min_size=1, max_size=3, unique=True))

    @rule(data=st.data(), begin=st.booleans())
    def request_by_hand(self, data: st.DataObject, begin: bool) -> None:
        plant = self.plant
        places = [(spec.name, p) for spec in plant.definitions.assets for p in sorted(plant.partitions(spec.name))]
        place = self.pick(data, places)
        if place is not None:
            plant.request(place[0], partition=place[1], begin=begin)

    @rule()
    def admit(self) -> None:
        if self.plant.asked:
            waves = self.plant.asked.pop(0)
            self.plant.admit_runs(sorted(waves, key=str))

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        step = self.pick(data, self.steps("queued"))
        if step is not None:
            self.plant.start(*step)

    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        step = self.pick(data, self.steps("started"))
        if step is not None:
            self.plant.succeed(*step)

    @rule(data=st.data())
    def run_something(self, data: st.DataObject) -> None:
        self.admit()
        step = self.pick(data, self.steps("queued"))
        if step is not None:
            self.plant.start(*step)
            self.plant.succeed(*step)

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        step = self.pick(data, self.steps("started"))
        if step is not None:
            self.plant.fail(*step)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        runs = [run for run in self.plant.runs.values() if any(state in ACTIVE for state in run.states.values())]
        run = self.pick(data, runs)
        if run is not None:
            self.plant.cancel(run)

    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        plant = self.plant
        places = [(spec.name, p) for spec in plant.definitions.assets for p in sorted(plant.partitions(spec.name))]
        place = self.pick(data, places)
        if place is not None:
            plant.report(*place)

    @rule(data=st.data(), state=st.sampled_from(["fresh", "warn", "lapsed", "lapsed"]))
    def freshness(self, data: st.DataObject, state: Any) -> None:
        policies = sorted(self.plant.policies)
        asset = self.pick(data, policies)
        if asset is not None and (state == "fresh" or self.plant.stands(asset) != "lapsed"):
            self.plant.freshness(asset, state)

    @rule(seconds=st.sampled_from([0.5, 1.0, 7.0, 30.0, 65.0, 200.0]))
    def time_passes(self, seconds: float) -> None:
        self.plant.now += seconds
        self.plant.tick()

    @precondition(lambda self: not self.plant.asked)
    @rule()
    def restart(self) -> None:
        self.plant.reference.restarted(self.plant.live)
        self.plant.restart()

    @precondition(lambda self: not self.plant.asked)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        behind: list[tuple[Event, ...]] = []
        for _ in range(data.draw(st.integers(1, 3))):
            act = self.unlooked(data)
            if not act:
                break
            behind.append(act)
        self.plant.crash(behind)

    def unlooked(self, data: st.DataObject) -> tuple[Event, ...]:
        """A transaction that a look after the crash sees again. Partitions are not added in one: the reference, which
        looks at all there are, would see them before it comes."""
        plant = self.plant
        if self.sets(DynamicPartitions) and data.draw(st.integers(0, 3)) == 0:
            name, numbers = self.deletable(data)
            return plant.delete(name, *numbers, look=False)
        step = self.pick(data, self.steps("queued", "started"))
        if step is None:
            return ()
        run, asset = step
        if run.states[asset] == "queued":
            return plant.start(run, asset, look=False)
        return data.draw(st.sampled_from([plant.succeed, plant.fail]))(run, asset, look=False)


common: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(max_examples=120, stateful_step_count=40, **common)


@pytest.mark.slow
def test_agreement_at_length() -> None:
    """`FRESHET_AGREEMENT`: how many graphs."""
    examples = int(os.environ.get("FRESHET_AGREEMENT", "500"))
    run_state_machine_as_test(Agreement, settings=settings(max_examples=examples, stateful_step_count=60, **common))
