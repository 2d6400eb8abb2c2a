"""The reference's facts and memory: sets of partitions, and what one transaction does to them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from freshet.definitions.graph import Definitions
from freshet.store.records import Event

__all__ = ["Facts", "Held", "News", "Path", "Place", "World", "up_to"]

Place = tuple[str, int]
Path = tuple[str, ...]


def up_to(value: float, grain: float) -> float:
    return math.ceil(value / grain) * grain


@dataclass
class Facts:
    materialized: set[Place] = field(default_factory=set[Place])
    failed: set[Place] = field(default_factory=set[Place])
    in_progress: set[Place] = field(default_factory=set[Place])
    queued: set[Place] = field(default_factory=set[Place])
    asked: set[Place] = field(default_factory=set[Place])
    lapsed: set[str] = field(default_factory=set[str])
    warned: set[str] = field(default_factory=set[str])
    live: dict[str, set[int]] = field(default_factory=dict[str, set[int]])


@dataclass
class News:
    """What one transaction did."""

    now: float
    updated: set[Place] = field(default_factory=set[Place])
    reported: set[Place] = field(default_factory=set[Place])
    requested: set[Place] = field(default_factory=set[Place])
    started: set[Place] = field(default_factory=set[Place])
    failed: set[Place] = field(default_factory=set[Place])
    canceled: set[Place] = field(default_factory=set[Place])
    handled: set[Place] = field(default_factory=set[Place])
    added: set[Place] = field(default_factory=set[Place])
    lapsed: set[str] = field(default_factory=set[str])
    asked: set[Place] = field(default_factory=set[Place])


@dataclass
class Held:
    """All memory. Keys: (asset with the condition, path of dependencies, expression, which)."""

    bits: dict[tuple[str, Path, str, str], set[int]] = field(default_factory=dict[tuple[str, Path, str, str], set[int]])
    numbers: dict[tuple[str, Path, str, str], dict[int, float]] = field(
        default_factory=dict[tuple[str, Path, str, str], dict[int, float]]
    )
    seen: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])


class World:
    def __init__(self, definitions: Definitions, live: dict[str, set[int]]) -> None:
        self.definitions = definitions
        self.facts = Facts(live={name: set(numbers) for name, numbers in live.items()})
        self.held = Held()

    # --- questions ------------------------------------------------------------------------------------------------

    def set_of(self, asset: str) -> str | None:
        partitions = self.definitions.asset[asset].partitions
        return None if partitions is None else partitions.name

    def live(self, asset: str) -> set[int]:
        name = self.set_of(asset)
        return {0} if name is None else self.facts.live.get(name, set())

    def newest(self, asset: str) -> set[int]:
        return {max(self.live(asset))} if self.live(asset) else set()

    def flying(self, place: Place) -> bool:
        return place in self.facts.in_progress or place in self.facts.asked

    def deps(self, asset: str) -> Iterator[tuple[str, str]]:
        """(upstream, kind): same, one, last or all."""
        spec = self.definitions.asset[asset]
        for dep in spec.deps:
            kind: str = self.definitions.mapping(spec, dep).kind
            if kind == "identity":
                kind = "same" if self.set_of(dep.asset) == self.set_of(asset) else "one"
            yield dep.asset, kind

    def mapped(self, upstream: str, kind: str, partition: int) -> set[int]:
        if kind == "same":
            return {partition} & self.live(upstream)
        if kind == "one":
            return {0}
        return self.newest(upstream) if kind == "last" else set(self.live(upstream))

    def sources(self, asset: str) -> set[str]:
        found: set[str] = set()
        for upstream, _ in self.deps(asset):
            if self.definitions.asset[upstream].freshness is not None:
                found.add(upstream)
            else:
                found |= self.sources(upstream)
        return found

    def restarted(self) -> None:
        """Whatever ran is queued again."""
        self.facts.queued = set(self.facts.in_progress)
        self.facts.asked = set()

    # --- a transaction ----------------------------------------------------------------------------------------

    def apply(self, event: Event, news: News, broken: set[int | None]) -> None:
        facts, partition = self.facts, event.partition or 0
        if event.set is not None and event.type in ("partition_added", "partition_deleted"):
            live = facts.live.setdefault(event.set, set())
            members = [spec.name for spec in self.definitions.assets if self.set_of(spec.name) == event.set]
            if event.type == "partition_added":
                live.add(partition)
                news.added |= {(asset, partition) for asset in members}
            else:
                live.discard(partition)
                for asset in members:
                    facts.materialized.discard((asset, partition))
                    facts.failed.discard((asset, partition))
                    self._forget(asset, partition)
            return
        if event.asset is None:
            return
        place = (event.asset, partition)
        if event.type.startswith("freshness_"):
            self._freshness(event.asset, event.type, news)
            return
        if event.type == "requested" or (event.type == "started" and place not in facts.in_progress):
            news.requested.add(place)
        if event.type in ("requested", "started"):
            facts.asked.discard(place)
            facts.in_progress.add(place)
            if event.type == "requested":
                facts.queued.add(place)
            else:
                facts.queued.discard(place)
                news.started.add(place)
                news.handled.add(place)
            return
        alive = partition in self.live(event.asset)
        if event.type == "materialized" and alive:
            facts.materialized.add(place)
            facts.failed.discard(place)
            facts.lapsed.discard(event.asset)
            facts.warned.discard(event.asset)
            news.updated.add(place)
            if event.run_id is None:
                news.reported.add(place)
                news.handled.add(place)
        elif event.type == "failed" and alive:
            facts.failed.add(place)
            news.failed.add(place)
        elif event.type == "released":
            if event.run_id not in broken:
                news.canceled.add(place)
            if event.idle and place in facts.queued:
                news.handled.add(place)
        if event.idle:
            facts.in_progress.discard(place)
            facts.queued.discard(place)

    def _freshness(self, asset: str, kind: str, news: News) -> None:
        self.facts.lapsed.discard(asset)
        self.facts.warned.discard(asset)
        if kind == "freshness_lapsed":
            self.facts.lapsed.add(asset)
            news.lapsed.add(asset)
        elif kind == "freshness_warned":
            self.facts.warned.add(asset)

    def _forget(self, asset: str, partition: int) -> None:
        for (owner, path, _, _), bits in self.held.bits.items():
            if (path[-1] if path else owner) == asset:
                bits.discard(partition)
        for (owner, path, _, _), numbers in self.held.numbers.items():
            if (path[-1] if path else owner) == asset:
                numbers.pop(partition, None)
