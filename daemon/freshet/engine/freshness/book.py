"""The freshness ticker's decisions: one entry an asset, its next deadline in a heap."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from freshet.definitions.deadlines import (
    FreshState,
    Standing,
    lapse_deadline,
    next_deadline,
    state_at,
    warn_deadline,
    when_made,
)
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions
from freshet.store.records import Event, FreshnessChange, FreshnessRow

__all__ = ["FreshnessBook", "by_partition"]

_EVENTS: dict[FreshState, str] = {"warn": "freshness_warned", "lapsed": "freshness_lapsed"}


def by_partition(definitions: Definitions) -> dict[str, FreshnessSpec]:
    """The policies that hold for each partition of an asset: the store keeps where those stand."""
    found = ((spec.name, spec.freshness) for spec in definitions.assets if spec.partitions is not None)
    return {name: policy for name, policy in found if policy is not None and policy.per_partition}


class FreshnessBook:
    """Where each asset under a policy stands, and what changes when; of partitions it knows nothing.

    The baseline is the last materialization of any partition that counts (`deadlines.when_made`); where there is none,
    the moment the asset first had a policy (`since`). It never moves back. Time alone only makes it worse: each change
    is one event, a lapse one for each baseline. What a materialization ends, the store tells with it.
    """

    def __init__(self, definitions: Definitions, rows: Iterable[FreshnessRow]) -> None:
        self._policies: dict[str, FreshnessSpec] = {}
        self._rows: dict[str, FreshnessRow] = {row.asset: row for row in rows if row.partition == 0}
        self._heap: list[tuple[float, str]] = []
        self._entry: dict[str, float] = {}
        self.redefine(definitions)

    def redefine(self, definitions: Definitions) -> None:
        """Take new policies into force: deadlines move, states stay."""
        others = by_partition(definitions).keys()
        found = ((spec.name, spec.freshness) for spec in definitions.assets if spec.name not in others)
        self._policies = {name: policy for name, policy in found if policy is not None}
        self._heap, self._entry = [], {}
        for asset, row in self._rows.items():
            policy = self._policies.get(asset)
            if policy is not None:
                self._rows[asset] = replace(row, policy=asdict(policy))
                self._push(asset)

    def due(self, now: float) -> list[FreshnessChange]:
        """What has become worse by `now`. A deadline passed long ago counts now and is named in the change; where the
        lapse has passed too, the warning is left out."""
        changes: list[FreshnessChange] = []
        while (when := self.next_deadline()) is not None and when <= now:
            asset = heapq.heappop(self._heap)[1]
            del self._entry[asset]
            row, policy = self._rows[asset], self._policies[asset]
            state = state_at(policy, row.counts, now, row.state)
            if state == row.state:
                continue
            row = self._rows[asset] = replace(row, state=state)
            lapsed = state == "lapsed"
            deadline = lapse_deadline(policy, row.counts) if lapsed else warn_deadline(policy, row.counts)
            changes.append(FreshnessChange(row, _EVENTS[state], deadline))
            self._push(asset)
        return changes

    def on_events(self, events: Iterable[Event]) -> bool:
        """A committed transaction: its materializations move baselines, and end what had warned or lapsed, as the store
        has done with it. Returns whether anything moved. An event that is older than the baseline is ignored."""
        moved = False
        for event in events:
            row = self._rows.get(event.asset or "")
            policy = self._policies.get(event.asset or "")
            if event.type != "materialized" or row is None or policy is None or event.seq <= row.baseline_seq:
                continue
            after = _after(policy, row, event)
            if after is not None:
                self._rows[row.asset] = after
                self._push(row.asset)
                moved = True
        return moved

    def next_deadline(self) -> float | None:
        """When to call `due` next; None if nothing can change by time alone."""
        while self._heap:
            when, asset = self._heap[0]
            current = self._deadline(asset)
            if current == when:
                return when
            heapq.heappop(self._heap)
            if self._entry.get(asset) == when:
                del self._entry[asset]
                self._push(asset)
        return None

    def row(self, asset: str) -> FreshnessRow | None:
        """Where an asset stands; None without a policy."""
        return self._rows.get(asset) if asset in self._policies else None

    def _deadline(self, asset: str) -> float | None:
        row, policy = self._rows[asset], self._policies.get(asset)
        return None if policy is None else next_deadline(policy, row.counts, row.state)

    def _push(self, asset: str) -> None:
        """An asset has one entry. Where its deadline moves back, the entry stays and moves when it comes up."""
        deadline, known = self._deadline(asset), self._entry.get(asset)
        if deadline is not None and (known is None or deadline < known):
            self._entry[asset] = deadline
            heapq.heappush(self._heap, (deadline, asset))


def _after(policy: FreshnessSpec, row: FreshnessRow, event: Event) -> FreshnessRow | None:
    data: Any = event.data or {}
    before = Standing(row.since, row.baseline_seq > 0, row.baseline_at, row.counts, row.state)
    at = data.get("at", event.at)
    after = when_made(policy, before, made_at=at, begun=data.get("begun", at), told="at" in data, now=event.at)
    if after is None:
        return None
    return replace(row, baseline_seq=event.seq, baseline_at=after.made_at, counts_from=after.counts, state=after.state)
