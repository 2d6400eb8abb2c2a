"""What happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from freshet.definitions.outcome import Json

__all__ = [
    "Event",
    "EventType",
]

EventType = Literal[
    "requested",  # asset+partition is in a queued run
    "started",  # its step began (also directly, without `requested`, where capacity was free)
    "materialized",
    "reported",  # a report of what was known already, or of something older: nothing moved
    "failed",  # for good: no attempts left
    "chain_stopped",  # asked for, and not admitted: too many automatic runs led to it
    "released",  # canceled or skipped: no longer in progress, neither made nor failed
    "check_passed",
    "check_failed",
    "partition_added",
    "partition_deleted",
    "freshness_warned",
    "freshness_lapsed",
    "freshness_restored",
    "refresh_exhausted",  # on_lapse has no attempts left for the lapse
    "refresh_recovered",  # it was made after that
    "run_succeeded",
    "run_failed",
    "run_canceled",
    "run_interrupted",
    "ticker_failing",
    "ticker_recovered",
    "ticker_quarantined",
    "definitions_loaded",
    "code_changed",  # of an asset, with the definitions that were loaded
    "rewired",  # likewise: it depends on others, or on other partitions of them, or has a policy and had none
]


@dataclass(frozen=True, slots=True)
class Event:
    """One row of what happened. `idle`: for materialized, failed and released, whether no other active step holds
    the same asset and partition, so that it is no longer in progress.

    Partitions added or deleted many at once are one event: of consecutive numbers, `partition` is the first and
    `data["last"]` the last; of scattered ones, `data["numbers"]` names them all, ascending. A combination's
    `data["place"]` holds the numbers of its dimensions."""

    seq: int
    txn: int
    at: float
    type: str
    asset: str | None = None
    set: str | None = None
    partition: int | None = None
    run_id: int | None = None
    tick_id: int | None = None
    idle: bool = True
    data: Json = None

    @property
    def numbers(self) -> Sequence[int]:
        """The partitions that a `partition_added` or `partition_deleted` is about, ascending."""
        first = self.partition or 0
        data: Any = self.data or {}
        scattered: list[int] | None = data.get("numbers")
        return range(first, data.get("last", first) + 1) if scattered is None else scattered
