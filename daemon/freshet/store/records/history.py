"""Going back to an earlier tick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from freshet.definitions.outcome import Json

__all__ = ["RollbackPlan", "TakenKey"]


class TakenKey(NamedTuple):
    """A run key that is taken, and by which run (0: by one that another stands for). `key`: of the partition."""

    target: str
    key: str | None
    run_key: str
    run_id: int


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What going back means. `cursor`: as it was then. `removed`: entries of the ledger that were not there;
    `restored`: those that come back as they were. `keys`: the first of the `key_count` run keys that were taken since
    and became runs. `waiting`: requests of since that wait; they stay, and run once."""

    cursor: Json
    removed: int
    restored: int
    keys: tuple[TakenKey, ...]
    key_count: int
    waiting: int
