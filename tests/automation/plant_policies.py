"""Freshness as a store in miniature keeps it: a row for each asset with a policy, or for each of its partitions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from freshet.definitions.graph import Definitions
from freshet.store.records import FreshnessRow

__all__ = ["Policies", "State"]

Place = tuple[str, int]
State = Literal["fresh", "warn", "lapsed"]


class Policies:
    """`by_partition`: the assets whose policy holds for each partition."""

    def __init__(self, definitions: Definitions) -> None:
        self._rows: dict[Place, FreshnessRow] = {}
        self.edit(definitions)

    def edit(self, definitions: Definitions) -> None:
        """Rows of assets that are gone go; the policies of others stay."""
        specs = [spec for spec in definitions.assets if spec.freshness is not None]
        self.by_partition = {
            spec.name for spec in specs if spec.partitions and spec.freshness and spec.freshness.per_partition
        }
        self.names = {spec.name for spec in specs}
        begun = {(name, 0): _fresh(name, 0) for name in self.names}
        self._rows = begun | {place: row for place, row in self._rows.items() if place[0] in self.names}

    def rows(self) -> list[FreshnessRow]:
        """As the store gives them."""
        return list(self._rows.values())

    def renew(self, asset: str, partition: int, seq: int) -> None:
        """The baseline moves; the state is committed for the one before, until it is said to be restored."""
        place = (asset, partition if asset in self.by_partition else 0)
        row = self._rows.get(place)
        if row is not None:
            state_seq = row.baseline_seq if row.state_seq is None else row.state_seq
            self._rows[place] = replace(row, baseline_seq=seq, state_seq=state_seq)

    def stands(self, asset: str, partition: int = 0) -> str:
        row = self._rows.get((asset, partition))
        return row.state if row is not None and row.state_seq in (None, row.baseline_seq) else "fresh"

    def become(self, asset: str, partition: int, state: State) -> None:
        """`partition`: 0 for the whole asset."""
        row = self._rows.get((asset, partition)) or _fresh(asset, partition)
        self._rows[asset, partition] = replace(row, state=state, state_seq=None)

    def standing(self, state: State) -> set[Place]:
        return {place for place in self._rows if self.stands(*place) == state}

    def forget(self, places: Iterable[Place]) -> None:
        for place in places:
            self._rows.pop(place, None)


def _fresh(asset: str, partition: int) -> FreshnessRow:
    return FreshnessRow(asset, partition, None, 0.0, 0, 0.0, "fresh")
