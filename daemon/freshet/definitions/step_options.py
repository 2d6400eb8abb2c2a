"""What assets and jobs are declared with alike: when their steps run, how often, how long and in what."""

from __future__ import annotations

from typing import Any

from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.flow import Overlap, overlap_option
from freshet.definitions.names import check_priority
from freshet.definitions.retries import Retries, retry_spec
from freshet.definitions.surroundings import Surroundings

__all__ = ["step_options"]


def step_options(
    what: str,
    priority: int,
    retries: int | Retries,
    timeout: Duration | None,
    surroundings: Surroundings | None,
    overlap: Overlap,
) -> dict[str, Any]:
    """The part of a spec that these say. `what`: `asset orders`. Raises `DefinitionError`."""
    return {
        "priority": check_priority(priority, what=f"{what}: priority"),
        "retries": retry_spec(retries, f"{what}: retries"),
        "timeout": None if timeout is None else parse_duration(timeout, what=f"{what}: timeout"),
        "surroundings": surroundings,
        "overlap": overlap_option(overlap, what),
    }
