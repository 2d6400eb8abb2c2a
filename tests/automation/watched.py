"""A plant whose every evaluation is compared with the slow one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from tests.automation.plant import ACTIVE, Plant
from tests.automation.plant_sets import PlantSets
from tests.automation.random_graphs import sketch
from tests.automation.reference import Reference
from tests.automation.reference_facts import Held

from freshet.definitions.graph import Definitions
from freshet.engine.automation import Evaluation
from freshet.store.records import Event

__all__ = ["Watched"]


class Watched(Plant):
    reference: Reference
    replaying = False
    unpruned: Held | None = None
    """What was remembered before an edit, as long as no evaluation after it has committed."""
    moments: frozenset[float] | set[float] = frozenset()

    def __init__(self, definitions: Definitions, live: dict[str, Iterable[int]] | None = None) -> None:
        self.reference = Reference(definitions, PlantSets(definitions, live or {}).states())
        super().__init__(definitions, live)

    def settle(self, evaluation: Evaluation, events: tuple[Event, ...]) -> None:
        self.before, self.unpruned = self.unpruned or self.reference.held.copy(), None
        expected = self.reference.evaluate(events, self.now)
        before = len(self.waves)
        super().settle(evaluation, events)
        assert set(self.waves[before:]) == expected, (
            f"asked for {self.waves[before:]}, not {expected}\n{sketch(self.definitions)}\n{events}"
        )
        moments, needed = self.reference.moments(self.now)
        if self.reference.facts.asked:  # what is asked for is looked at again when that is committed
            moments |= self.moments
        self.moments = moments
        if not self.replaying:  # what went and was not looked at still waits
            assert evaluation.wake_at in {*moments, None}, f"nothing waits for that\n{sketch(self.definitions)}"
        assert (evaluation.wake_at or math.inf) <= min(needed, default=math.inf), sketch(self.definitions)

    def memory(self) -> Held:
        return self.before

    def crash(self, lost: int = 0, edited: Callable[[], Definitions] | None = None) -> None:
        """Restart, perhaps with other definitions; the last `lost` evaluations did not commit. What others asked for is
        admitted first."""
        taken_back = self.lose(lost)
        self.busy = True
        self.admit()
        if taken_back:
            self.reference.held = taken_back[0].memory
        self.unpruned = self.reference.held.copy()
        if edited is not None:
            definitions = edited()
            self.edit(definitions)
            self.reference.redefine(definitions)
        self.reference.prune()
        self.restart()

    def gone(self) -> dict[str, set[int]]:
        """The partitions that go in the end in transactions that nobody has looked at."""
        found: dict[str, set[int]] = {}
        for event in [event for events in self.unlooked for event in events]:
            known = found.setdefault(event.set or "", set())
            if event.type == "partition_deleted":
                known.update(event.numbers)
            elif event.type == "partition_added":
                known.difference_update(event.numbers)
        return found

    def restart(self) -> None:
        """What has changed in the transactions that nobody has looked at is known from the start; but partitions that
        come are not there before their turn, if they are to stay, and runs are under way, or asked for, until
        theirs."""
        facts, live = self.reference.facts, {name: set(numbers) for name, numbers in self.live.items()}
        facts.materialized = {place for place, made in self.made.items() if made.materialized_seq is not None}
        facts.failed = {
            place
            for place, made in self.made.items()
            if made.failed_seq is not None and made.failed_seq > (made.materialized_seq or 0)
        }
        facts.held = {place for place, made in self.made.items() if made.held}
        facts.results = {
            (*place, name): passed for place, made in self.made.items() for name, passed in made.results.items()
        }
        facts.results |= {(asset, 0, name): passed for (asset, name), passed in self.whole.items()}
        facts.in_progress = {
            (name, run.partition)
            for run in self.runs.values()
            for name, state in run.states.items()
            if state in ACTIVE and run.partition in self.partitions(name)
        }
        facts.lapsed, facts.warned = self.policies.standing("lapsed"), self.policies.standing("warn")
        facts.asked = set()
        seen: set[tuple[str | None, int]] = set()
        for event in [event for events in self.unlooked for event in events]:
            of_run = event.asset is not None and event.run_id is not None
            for place in {(event.asset or event.set, number) for number in event.numbers if of_run or event.set} - seen:
                seen.add(place)
                if event.asset is None:
                    if event.type == "partition_added":
                        live[event.set or ""].discard(place[1])
                elif event.type == "requested":
                    facts.in_progress.discard((event.asset, place[1]))
                    facts.asked.add((event.asset, place[1]))
                else:
                    facts.in_progress.add((event.asset, place[1]))
        self.reference.restarted(live, self.sets.added_by, self.gone(), self.seq)
        self.replaying = True
        super().restart()
        self.replaying = False
