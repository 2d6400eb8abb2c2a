"""The incremental evaluation and the slow one agree, whatever happens in whatever order, also across restarts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from tests.automation.plant import ACTIVE, Plant, Run
from tests.automation.reference import Reference
from tests.definitions.conditions import operands, trees

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions, validate
from freshet.definitions.mapping import All, Identity, Last, Mapping
from freshet.definitions.partitions import DynamicPartitions, StaticPartitions
from freshet.engine.automation import Evaluation
from freshet.store.records import Event

C = AutomationCondition
SETS = (None, DynamicPartitions("a"), DynamicPartitions("b"), StaticPartitions(["x", "y"], name="s"))
MAX_WAIT = "64s"  # its 64th part is exact in binary, so that both sides round alike
POLICIES = (
    C.eager(MAX_WAIT),
    C.eager(MAX_WAIT),
    C.on_missing(),
    C.on_lapse(2, delay=MAX_WAIT, max_wait=MAX_WAIT),
    C.eager(MAX_WAIT) | C.on_lapse(2, delay=MAX_WAIT, max_wait=MAX_WAIT),
)
expressions = trees(operands, max_leaves=6, max_wait=MAX_WAIT)
conditions: st.SearchStrategy[AutomationCondition | None] = st.one_of(
    st.none(), st.sampled_from(POLICIES), st.sampled_from(POLICIES), expressions
)


@st.composite
def graphs(draw: st.DrawFn) -> Definitions:
    assets: list[AssetSpec] = []
    for index in range(draw(st.integers(2, 6))):
        partitions = draw(st.sampled_from(SETS))
        deps: list[DepSpec] = []
        for above in assets:
            if not draw(st.booleans()):
                continue
            mappings: list[Mapping | None] = [None]
            if above.partitions is not None:
                mappings += [All(), Last()]
                if partitions == above.partitions:
                    mappings.append(Identity())
            deps.append(DepSpec(above.name, None, draw(st.sampled_from(mappings))))
        policy = FreshnessSpec(3600.0) if draw(st.booleans()) else None
        assets.append(AssetSpec(f"n{index}", tuple(deps), partitions, freshness=policy, automation=draw(conditions)))
    definitions = Definitions(assets=tuple(assets), partitions=tuple(s for s in SETS if s is not None))
    assert not validate(definitions)
    return definitions


def sketch(definitions: Definitions) -> str:
    """The graph on a few lines, for a failure's report."""
    return "\n".join(
        f"{spec.name} of {spec.partitions and spec.partitions.name} below "
        f"{[(dep.asset, definitions.mapping(spec, dep).kind) for dep in spec.deps]}, "
        f"policy {spec.freshness is not None}: {spec.automation}"
        for spec in definitions.assets
    )


class Watched(Plant):
    """A plant whose every evaluation is compared."""

    def __init__(self, definitions: Definitions) -> None:
        self.reference = Reference(definitions, {"a": set(), "b": set(), "s": {1, 2}})
        super().__init__(definitions)

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
        self.reference.restarted()
        self.restart(behind)


class Agreement(RuleBasedStateMachine):
    plant: Watched

    @initialize(definitions=graphs())
    def begin(self, definitions: Definitions) -> None:
        self.plant = Watched(definitions)

    def steps(self, *states: str) -> list[tuple[Run, str]]:
        plant = self.plant
        found = [(run, name) for run in plant.runs.values() for name in run.assets if run.states[name] in states]
        return [step for step in found if step[0].states[step[1]] != "queued" or plant.ready(*step)]

    def pick(self, data: st.DataObject, options: list[Any]) -> Any:
        return data.draw(st.sampled_from(options)) if options else None

    @rule(name=st.sampled_from(["a", "b"]), number=st.integers(1, 4))
    def add_partition(self, name: str, number: int) -> None:
        busy = {
            run.partition for run in self.plant.runs.values() if any(state in ACTIVE for state in run.states.values())
        }
        if number not in self.plant.live[name] | busy:
            self.plant.add(name, number)

    @rule(name=st.sampled_from(["a", "b"]), number=st.integers(1, 4))
    def delete_partition(self, name: str, number: int) -> None:
        if number in self.plant.live[name]:
            self.plant.delete(name, number)

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
        self.plant.reference.restarted()
        self.plant.restart()

    @precondition(lambda self: not self.plant.asked)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        behind: list[tuple[Event, ...]] = []
        for _ in range(data.draw(st.integers(1, 3))):
            step = self.pick(data, self.steps("queued", "started"))
            if step is None:
                break
            run, name = step
            act = (
                self.plant.start
                if run.states[name] == "queued"
                else self.pick(data, [self.plant.succeed, self.plant.fail])
            )
            behind.append(act(run, name, look=False))
        self.plant.crash(behind)


common: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(max_examples=60, stateful_step_count=40, **common)


@pytest.mark.slow
def test_agreement_at_length() -> None:
    run_state_machine_as_test(Agreement, settings=settings(max_examples=500, stateful_step_count=60, **common))
