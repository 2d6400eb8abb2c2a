"""A plant whose every evaluation is compared with the slow one."""

from __future__ import annotations

from collections.abc import Iterable

from tests.automation.plant import ACTIVE, Plant
from tests.automation.plant_sets import PlantSets
from tests.automation.random_graphs import sketch
from tests.automation.reference import Reference

from freshet.definitions.graph import Definitions
from freshet.engine.automation import Evaluation
from freshet.store.records import Event

__all__ = ["Watched"]


class Watched(Plant):
    reference: Reference

    def __init__(self, definitions: Definitions, live: dict[str, Iterable[int]] | None = None) -> None:
        self.reference = Reference(definitions, PlantSets(definitions, live or {}).states())
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
        live = {name: set(numbers) for name, numbers in self.live.items()}
        self.reference.restarted(live, self.sets.added_at)
        self.restart(behind)
