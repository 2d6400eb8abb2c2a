"""The incremental evaluation and the slow one agree, whatever happens in whatever order, also across restarts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from tests.automation.plant import Run
from tests.automation.plant_sets import SPELLINGS, Spelling
from tests.automation.random_edits import edits
from tests.automation.random_graphs import graphs
from tests.automation.watched import Watched

from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import DynamicPartitions, MultiPartitions, TimePartitions

MOST = {"a": 4, "b": 4, "days": 4, "later": 4, "thirds": 7, "hours": 8, "grid": 8, "cube": 8, "plan": 8, "twice": 8}


spellings = st.sampled_from(SPELLINGS)


class Agreement(RuleBasedStateMachine):
    plant: Watched
    first: Definitions

    @initialize(definitions=graphs(), data=st.data())
    def begin(self, definitions: Definitions, data: st.DataObject) -> None:
        live: dict[str, Iterable[int]] = {}
        for name, spec in definitions.partition_set.items():
            count = data.draw(st.sampled_from([2, 1, 0]))
            if isinstance(spec, TimePartitions):
                live[name] = range(spec.first, spec.first + count)
            elif isinstance(spec, DynamicPartitions):
                live[name] = range(1, 1 + count)
        self.plant = Watched(definitions, live)
        self.first = definitions

    def steps(self, *states: str) -> list[tuple[Run, str]]:
        plant = self.plant
        found = [(run, name) for run in plant.runs.values() for name in run.assets if run.states[name] in states]
        return [step for step in found if step[0].states[step[1]] != "queued" or plant.ready(*step)]

    def pick(self, data: st.DataObject, options: list[Any]) -> Any:
        return data.draw(st.sampled_from(options))

    def sets(self, kind: type[Any]) -> list[str]:
        return [name for name, spec in self.plant.definitions.partition_set.items() if isinstance(spec, kind)]

    def busy(self) -> set[tuple[str | None, int]]:
        return {(self.plant.reference.set_of(run.assets[0]), run.partition) for run in self.plant.active()}

    def places(self) -> list[tuple[str, int]]:
        plant = self.plant
        return [(spec.name, p) for spec in plant.definitions.assets for p in sorted(plant.partitions(spec.name))]

    # --- partitions -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.sets(DynamicPartitions))
    @rule(data=st.data(), ranged=spellings)
    def add_keys(self, data: st.DataObject, ranged: Spelling) -> None:
        """No number comes back while a run of it, or of a combination that comes with it, is under way."""
        plant, busy, name = self.plant, self.busy(), self.pick(data, self.sets(DynamicPartitions))
        free = [
            number
            for number in range(1, MOST[name] + 1)
            if number not in plant.live[name]
            and (name, number) not in busy
            and busy.isdisjoint(
                (several, one) for several, ones in plant.sets.with_key(name, number).items() for one in ones
            )
        ]
        if free:
            plant.add(name, *data.draw(st.sets(st.sampled_from(free), min_size=1, max_size=3)), ranged=ranged)

    @precondition(lambda self: self.deletable())
    @rule(data=st.data(), ranged=spellings)
    def delete_keys(self, data: st.DataObject, ranged: Spelling) -> None:
        name = self.pick(data, self.deletable())
        numbers = data.draw(st.sets(st.sampled_from(sorted(self.plant.live[name])), min_size=1, max_size=2))
        self.plant.delete(name, *numbers, ranged=ranged)

    def deletable(self) -> list[str]:
        return [name for name in self.sets(DynamicPartitions) if self.plant.live[name]]

    def unopened(self) -> list[str]:
        return [name for name in self.sets(TimePartitions) if len(self.plant.live[name]) < MOST[name]]

    @precondition(lambda self: self.unopened())
    @rule(data=st.data(), count=st.integers(1, 3))
    def open_windows(self, data: st.DataObject, count: int) -> None:
        name = self.pick(data, self.unopened())
        self.plant.open(name, min(count, MOST[name] - len(self.plant.live[name])))

    def usable(self) -> dict[str, list[tuple[int, ...]]]:
        """Combinations that may be numbered or come back."""
        plant, busy, found = self.plant, self.busy(), dict[str, list[tuple[int, ...]]]()
        for name in self.sets(MultiPartitions):
            running = {plant.sets.places[name].get(number) for several, number in busy if several == name}
            free = [place for place in plant.sets.free_places(name) if place not in running]
            if free and len(plant.live[name]) < MOST[name]:
                found[name] = free
        return found

    @precondition(lambda self: self.usable())
    @rule(data=st.data())
    def use_combinations(self, data: st.DataObject) -> None:
        usable = self.usable()
        name = self.pick(data, list(usable))
        places = data.draw(st.lists(st.sampled_from(usable[name]), min_size=1, max_size=4, unique=True))
        self.plant.use(name, *places)

    # --- runs -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.places())
    @rule(data=st.data(), begin=st.booleans())
    def request_by_hand(self, data: st.DataObject, begin: bool) -> None:
        asset, partition = self.pick(data, self.places())
        self.plant.request(asset, partition=partition, begin=begin)

    @precondition(lambda self: self.plant.asked)
    @rule()
    def admit(self) -> None:
        self.plant.admit_first()

    @precondition(lambda self: self.steps("queued"))
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.plant.start(*self.pick(data, self.steps("queued")))

    @precondition(lambda self: self.steps("started"))
    @rule(data=st.data(), same=st.booleans(), held=st.booleans())
    def succeed(self, data: st.DataObject, same: bool, held: bool) -> None:
        """Perhaps its blocking checks are still to come."""
        run, asset = self.pick(data, self.steps("started"))
        self.plant.succeed(run, asset, same=same, held=held and asset in self.plant.definitions.gates)

    @precondition(lambda self: self.checkable())
    @rule(data=st.data(), passed=st.booleans(), same=st.booleans(), stale=st.sampled_from([False, False, False, True]))
    def check(self, data: st.DataObject, passed: bool, same: bool, stale: bool) -> None:
        asset, partition = self.pick(data, self.checkable())
        names = [*(one.name for one in self.plant.definitions.checks_of[asset]), "dbt:c"]
        self.plant.check(asset, partition, self.pick(data, names), passed=passed, same=same, stale=stale)

    def checkable(self) -> list[tuple[str, int]]:
        """Partitions of assets with checks, and all of them together; those held twice over, to be chosen often."""
        assets = self.plant.definitions.checks_of
        places = [place for place in self.places() if place[0] in assets]
        held = [place for place in places if place in self.plant.reference.facts.held]
        return [*places, *((asset, 0) for asset in assets), *held, *held]

    @precondition(lambda self: self.steps("started"))
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        self.plant.fail(*self.pick(data, self.steps("started")))

    @precondition(lambda self: self.plant.asked or self.steps("queued"))
    @rule(
        outcomes=st.lists(st.sampled_from(["succeed", "succeed", "succeed", "checks", "fail"]), min_size=1, max_size=8)
    )
    def work(self, outcomes: list[str]) -> None:
        """What is asked for is admitted and run, one after the other."""
        for outcome in outcomes:
            if self.plant.asked:
                self.admit()
            for step in self.steps("queued")[:1]:
                self.plant.start(*step)
                if outcome == "fail":
                    self.plant.fail(*step)
                else:
                    self.plant.succeed(*step, held=outcome == "checks" and step[1] in self.plant.definitions.gates)

    @rule(spare=st.integers(0, 3), fails=st.booleans(), steps=st.integers(0, 12))
    def tide(self, spare: int, fails: bool, steps: int) -> None:
        """Everything moves on: windows open, combinations are used, what nothing makes by itself is reported."""
        for name in self.unopened():
            self.plant.open(name)
        for name, places in self.usable().items():
            self.plant.use(name, *places[: MOST[name] - len(self.plant.live[name])])
        for spec in self.plant.definitions.assets:
            if spec.automation is None:
                self.report_missing(spec.name, spare, fails=fails)
        self.work(["succeed"] * steps)

    @precondition(lambda self: self.plant.active())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.plant.cancel(self.pick(data, self.plant.active()))

    @precondition(lambda self: self.places())
    @rule(data=st.data(), same=st.booleans())
    def report(self, data: st.DataObject, same: bool) -> None:
        self.plant.report(*self.pick(data, self.places()), same=same)

    @rule(data=st.data())
    def recode(self, data: st.DataObject) -> None:
        """As when edited definitions are loaded."""
        names = [spec.name for spec in self.plant.definitions.assets]
        self.plant.recode(*data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)))

    @precondition(lambda self: self.places())
    @rule(data=st.data(), spare=st.integers(0, 9))
    def report_what_is_missing(self, data: st.DataObject, spare: int) -> None:
        """Of an asset, perhaps all but one."""
        self.report_missing(self.pick(data, sorted({asset for asset, _ in self.places()})), spare)

    def report_missing(self, asset: str, spare: int, *, fails: bool = False) -> None:
        made = self.plant.reference.facts.materialized
        missing = [p for p in sorted(self.plant.partitions(asset)) if (asset, p) not in made]
        for index, partition in enumerate(missing):
            if index != spare:
                self.plant.report(asset, partition)
            elif fails:
                self.plant.fail(self.plant.request(asset, partition=partition, begin=True), asset)

    def policies(self) -> list[tuple[str, int]]:
        """What may lapse."""
        each = self.plant.policies.by_partition
        of_parts = [(name, p) for name in sorted(each) for p in sorted(self.plant.partitions(name))]
        return [(name, 0) for name in sorted(self.plant.policies.names - each)] + of_parts

    @precondition(lambda self: self.policies())
    @rule(data=st.data(), state=st.sampled_from(["fresh", "warn", "lapsed", "lapsed"]))
    def freshness(self, data: st.DataObject, state: Any) -> None:
        asset, partition = self.pick(data, self.policies())
        if state == "fresh" or self.plant.policies.stands(asset, partition) != "lapsed":
            self.plant.freshness(asset, state, partition)

    @precondition(lambda self: self.policies() and not self.plant.busy)
    @rule(data=st.data(), end=st.sampled_from(["succeed", "fail", "cancel", "go on"]))
    def refresh(self, data: st.DataObject, end: str) -> None:
        """What has lapsed runs."""
        plant, (asset, part) = self.plant, self.pick(data, self.policies())
        if plant.policies.stands(asset, part) != "lapsed":
            plant.freshness(asset, "lapsed", part)
        for partition in [part] if part else plant.reference.newest(asset):
            run = plant.request(asset, partition=partition, begin=True)
            if end == "cancel":
                plant.cancel(run)
            elif end != "go on":
                (plant.succeed if end == "succeed" else plant.fail)(run, asset)

    @rule(seconds=st.sampled_from([0.5, 1.0, 7.0, 30.0, 65.0, 200.0]), noticed=st.booleans())
    def time_passes(self, seconds: float, noticed: bool) -> None:
        """Perhaps a transaction comes before the timer."""
        self.plant.now += seconds
        if noticed:
            self.plant.tick()

    @precondition(lambda self: self.plant.wake_at is not None and not self.plant.busy)
    @rule(early=st.booleans(), noticed=st.booleans())
    def wait(self, early: bool, noticed: bool) -> None:
        """Until what something waits for, or almost."""
        wake_at = self.plant.wake_at
        assert wake_at is not None
        self.plant.now = max(self.plant.now, wake_at - 0.125 if early else wake_at)
        if noticed:
            self.plant.tick()

    # --- transactions ---------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.plant.busy)
    @rule(data=st.data())
    def tick_outcome(self, data: st.DataObject) -> None:
        """Several things at once, as a sensor's tick commits them."""
        rules: list[Callable[[], None]] = [
            lambda: self.report(data, data.draw(st.booleans())) if self.places() else None,
            lambda: self.recode(data),
            lambda: self.check(data, *(data.draw(st.booleans()) for _ in "abc")) if self.checkable() else None,
            lambda: self.request_by_hand(data, data.draw(st.booleans())) if self.places() else None,
            lambda: self.add_keys(data, data.draw(spellings)) if self.sets(DynamicPartitions) else None,
            lambda: self.delete_keys(data, data.draw(spellings)) if self.deletable() else None,
            lambda: self.use_combinations(data) if self.usable() else None,
        ]
        self.plant.together(*data.draw(st.lists(st.sampled_from(rules), min_size=2, max_size=4, unique=True)))

    @precondition(lambda self: not self.plant.busy)
    @rule()
    def fall_behind(self) -> None:
        """From now on transactions commit, and nobody looks at them."""
        self.plant.fall_behind()

    @precondition(lambda self: self.plant.busy)
    @rule()
    def catch_up(self) -> None:
        self.plant.catch_up()

    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        """Perhaps the last evaluations did not commit."""
        self.plant.crash(data.draw(st.integers(0, len(self.plant.journal))))

    @rule(data=st.data())
    def edit(self, data: st.DataObject) -> None:
        """Restart with other definitions."""
        plant = self.plant

        def edited() -> Definitions:
            busy = {name for run in plant.active() for name in run.assets}
            return data.draw(edits(plant.definitions, self.first, busy))

        plant.crash(data.draw(st.integers(0, len(plant.journal))), edited)


class Unswayed(HypothesisProvider):
    """Draws none of the constants that Hypothesis finds in the modules loaded so far: with them, other graphs would
    come after each edit, and where other tests run before."""

    def _maybe_draw_constant(self, *_: Any, **__: Any) -> None:
        return None


# Where it draws by itself, Hypothesis varies each try five times: with graphs, that is the same over again.
AVAILABLE_PROVIDERS["anew"] = Unswayed
common: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "backend": "anew"}
TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(max_examples=170, stateful_step_count=40, derandomize=True, **common)
"""The same graphs each time: others are drawn at length."""


@pytest.mark.slow
def test_agreement_at_length() -> None:
    """`FRESHET_AGREEMENT`: how many graphs."""
    examples = int(os.environ.get("FRESHET_AGREEMENT", "500"))
    run_state_machine_as_test(Agreement, settings=settings(max_examples=examples, stateful_step_count=60, **common))
