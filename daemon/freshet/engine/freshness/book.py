"""The freshness ticker's decisions: one entry an asset, its next deadline in a heap."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import asdict, replace

from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions
from freshet.engine.freshness.deadlines import State, lapse_deadline, next_deadline, state_at, warn_deadline
from freshet.store.records import Event, FreshnessChange, FreshnessRow

__all__ = ["FreshnessBook"]

_EVENTS: dict[State, str] = {
    "fresh": "freshness_restored",
    "warn": "freshness_warned",
    "lapsed": "freshness_lapsed",
}


class FreshnessBook:
    """Where each asset under a policy stands, and what changes when.

    The baseline is the commit of the last materialization of any partition; where there is none, the moment the
    asset first had a policy (`since`). It never moves back. Each change of state is one event, a lapse one for each
    baseline: an edited policy sets the next deadline anew and takes nothing back.
    """

    def __init__(self, definitions: Definitions, rows: Iterable[FreshnessRow]) -> None:
        """`rows`: as stored; a state that was committed for an older baseline than the row's is taken as ended by the
        materialization since, and its restoration is among the first changes of `due`."""
        self._policies: dict[str, FreshnessSpec] = {}
        self._rows: dict[str, FreshnessRow] = {}
        self._heap: list[tuple[float, str]] = []
        self._entry: dict[str, float] = {}
        self._restored: list[FreshnessChange] = []
        for row in rows:
            restored = row
            if row.state_seq is not None and row.state_seq != row.baseline_seq:
                restored = replace(row, state="fresh", state_seq=None)
                if row.state != "fresh":
                    self._restored.append(FreshnessChange(restored, _EVENTS["fresh"]))
            self._rows[row.asset] = restored
        self.redefine(definitions)

    def redefine(self, definitions: Definitions) -> None:
        """Take new policies into force: deadlines move, states stay."""
        self._policies = {spec.name: spec.freshness for spec in definitions.assets if spec.freshness is not None}
        self._heap, self._entry = [], {}
        for asset, row in self._rows.items():
            policy = self._policies.get(asset)
            if policy is not None:
                self._rows[asset] = replace(row, policy=asdict(policy))
                self._push(asset)

    def due(self, now: float) -> list[FreshnessChange]:
        """What has changed by `now`. A deadline passed long ago counts now and is named in the change; where the lapse
        has passed too, the warning is left out. An asset without a row begins its first episode."""
        changes, self._restored = self._restored, []
        for asset in self._policies.keys() - self._rows.keys():
            self._rows[asset] = FreshnessRow(asset, 0, asdict(self._policies[asset]), now, 0, now, "fresh")
            changes.append(FreshnessChange(self._rows[asset]))
            self._push(asset)
        while (when := self.next_deadline()) is not None and when <= now:
            asset = heapq.heappop(self._heap)[1]
            del self._entry[asset]
            row, policy = self._rows[asset], self._policies[asset]
            state = state_at(policy, row.baseline_at, now, row.state)
            if state == row.state:
                continue
            row = self._rows[asset] = replace(row, state=state)
            lapse = lapse_deadline(policy, row.baseline_at)
            deadline = lapse if state == "lapsed" else warn_deadline(policy, row.baseline_at)
            changes.append(FreshnessChange(row, _EVENTS[state], deadline))
            self._push(asset)
        return changes

    def on_events(self, events: Iterable[Event]) -> list[FreshnessChange]:
        """What a committed transaction changes: materializations move baselines, and restore what had warned or
        lapsed. An event that is older than the baseline is ignored."""
        changes: list[FreshnessChange] = []
        for event in events:
            row = self._rows.get(event.asset or "")
            if event.type != "materialized" or row is None or event.seq <= row.baseline_seq:
                continue
            if row.asset not in self._policies:
                continue
            name = None if row.state == "fresh" else _EVENTS["fresh"]
            at = max(event.at, row.baseline_at)
            self._rows[row.asset] = replace(row, baseline_seq=event.seq, baseline_at=at, state="fresh")
            changes.append(FreshnessChange(self._rows[row.asset], name))
            self._push(row.asset)
        return changes

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
        return None if policy is None else next_deadline(policy, row.baseline_at, row.state)

    def _push(self, asset: str) -> None:
        """An asset has one entry. Where its deadline moves back, the entry stays and moves when it comes up."""
        deadline, known = self._deadline(asset), self._entry.get(asset)
        if deadline is not None and (known is None or deadline < known):
            self._entry[asset] = deadline
            heapq.heappush(self._heap, (deadline, asset))
