"""What the steps of assets and jobs take while they are under way."""

from __future__ import annotations

from collections.abc import Sequence

from freshet.definitions.asset import AssetSpec
from freshet.definitions.executor import PROCESS, lane_of
from freshet.definitions.job import JobSpec
from freshet.definitions.pool import PoolUse, StepUse

__all__ = ["step_uses"]

_PLAIN = StepUse()


def step_uses(assets: Sequence[AssetSpec], jobs: Sequence[JobSpec]) -> dict[str, StepUse]:
    """By name, of those that take more, or else, than a worker."""
    found = dict[str, StepUse]()
    steps: tuple[AssetSpec | JobSpec, ...] = (*assets, *jobs)
    for one in steps:
        if one.pool is not None or one.executor is not PROCESS:
            pool = None if one.pool is None else PoolUse(one.pool, one.slots)
            use = StepUse(pool, lane_of(one.executor))
            if use != _PLAIN:
                found[one.name] = use
    return found
