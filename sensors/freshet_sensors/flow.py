"""The options of every sensor, for those that have a word of their own for one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from freshet import Batch, Duration

__all__ = ["BatchedOptions", "FlowOptions", "GivenOptions"]


class FlowOptions(TypedDict, total=False):
    """Of `freshet.SensorOptions`, those that no sensor here has a word of its own for."""

    debounce: Duration | None
    throttle: str | None
    overlap: Literal["allow", "skip", "queue", "latest", "cancel"]
    run_key: str | None
    partition: str | None


class BatchedOptions(FlowOptions, total=False):
    """And `batch`, for sensors whose `params` are the query's; the run's are `run_params`."""

    batch: Batch | int | Duration | None


class GivenOptions(FlowOptions, total=False):
    """And `params`, for sensors whose `batch` is the source's; the run's is `run_batch`."""

    params: Mapping[str, Any] | None
