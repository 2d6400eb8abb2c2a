"""What an evaluation gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pyroaring import BitMap

from freshet.store.records import ConditionChunk

__all__ = ["Evaluation", "Request", "Told"]


@dataclass(frozen=True, slots=True)
class Request:
    """Runs asked for: `assets`, in dependency order, are steps of one run for each partition.

    `set` None: one run without partitions, and `partition` is 0. Otherwise `partition` holds the numbers.
    """

    assets: tuple[str, ...]
    partition: int | BitMap
    set: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """Something that conditions found out, to be an event for each partition (0 without partitions)."""

    type: Literal["refresh_exhausted", "refresh_recovered"]
    asset: str
    partitions: BitMap
    set: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`seq`: the last event looked at. `chunks`: what changed in the memory of conditions; it commits together
    with the runs. `visited`: how many nodes and assets were looked at. `wake_at`: call `timer` then, if nothing
    happens before (None: nothing waits for a time). `told`: commits with them. `before`: the partitions, by asset,
    that are requested because of what came before the transaction looked at.

    Evaluations are committed in the order in which they were made. One whose commit failed is committed again as it
    is; to drop one instead, load from the store: memory has already moved on.
    """

    seq: int
    requests: tuple[Request, ...]
    chunks: tuple[ConditionChunk, ...]
    visited: int
    wake_at: float | None
    told: tuple[Told, ...] = ()
    before: Mapping[str, BitMap] = field(default_factory=dict[str, BitMap])

    def following(self, before: Evaluation) -> Evaluation:
        """Both as one, to be committed together: `before` was made just before this."""
        chunks = {(one.asset, one.node, one.chunk): one for one in (*before.chunks, *self.chunks)}
        return replace(
            self,
            requests=(*before.requests, *self.requests),
            chunks=tuple(chunks.values()),
            visited=before.visited + self.visited,
            told=(*before.told, *self.told),
            before={
                asset: before.before.get(asset, BitMap()) | self.before.get(asset, BitMap())
                for asset in {*before.before, *self.before}
            },
        )
