"""What a sensor may say: the types it yields, and the exceptions that it and a step may raise.

Everything yielded commits in one transaction with the cursor, or none of it does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.partitions import DynamicPartitions

if TYPE_CHECKING:
    from freshet.definitions.listen import Happened

__all__ = [
    "AddPartitions",
    "DeletePartitions",
    "GiveUp",
    "Json",
    "Report",
    "RetryLater",
    "RunRequest",
    "SensorResult",
    "Skip",
    "patience",
]

Json = Any
"""Any value that JSON can hold: None, bool, int, float, str, list, dict with str keys."""


@dataclass(frozen=True)
class RunRequest:
    """Ask for one run of `target` (an asset or a job; without one, the sensor's own target).

    `run_key` admits at most one run per (target, partition, run_key), for ever. Without one, every
    request is a run. `priority`: higher runs earlier; within `PRIORITY_MAX` of 0.

    `cause`: which of the events of `ctx.events()` it is asked for because of; without one, any that this look was given
    may have been. Chains of automatic runs that cause each other are stopped at a length (`[automation] max_chain`).
    """

    target: str | None = None
    partition: str | None = None
    run_key: str | None = None
    params: Mapping[str, Json] = field(default_factory=dict[str, Json])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    priority: int = 0
    cause: Happened | None = None


@dataclass(frozen=True)
class AddPartitions:
    """Add keys with their metadata to a dynamic set; a key that is there gets its metadata replaced."""

    set: str | DynamicPartitions
    keys: Mapping[str, Mapping[str, Json]] | Iterable[str]


@dataclass(frozen=True)
class DeletePartitions:
    """Take keys out of a dynamic set; their history stays."""

    set: str | DynamicPartitions
    keys: Iterable[str]


@dataclass(frozen=True)
class Report:
    """An asset was materialized outside Freshet. `data_version`: of its data, 1 to 64 printable characters (an ETag, a
    commit); where it is as at the report before, what asks for `data_version_changed` is not woken.

    `at`: when it was made, as seconds since 1970 or a datetime with a zone; without it, when the report commits, as for
    a moment to come. A report that is not later than what is known of its partition changes nothing: it is recorded as
    the event `reported`. Later ones count, and freshness counts from `at`.
    """

    asset: str
    partition: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json])
    data_version: str | None = None
    at: float | datetime | None = None


@dataclass(frozen=True)
class Skip:
    """Say why a tick did nothing. `waiting`: nothing can come before something else is there (a folder, a connection):
    the sensor is shown as waiting, with the reason, and the log says when that begins and ends."""

    reason: str
    waiting: bool = False


SensorResult = RunRequest | AddPartitions | DeletePartitions | Report | Skip


class RetryLater(Exception):
    """The source asks for patience.

    In a sensor: nothing of this tick commits, the next look is after `after`. In a step of an asset or job: the
    attempt has failed and counts against its `retries`; if one is left, it comes after `after` instead of the delay
    that `Retries` gives.
    """

    def __init__(self, message: str = "", *, after: Duration = "30s") -> None:
        super().__init__(message)
        self.after = parse_duration(after, what="RetryLater(after=)")


class GiveUp(Exception):
    """It cannot work until a person acts.

    A sensor is quarantined with this message and not tried again. A step of an asset or job fails for good at once,
    however many `retries` are left.
    """


def patience(error: RetryLater) -> float | None:
    """The seconds it asks for; None, the engine's own delay, where a subclass made something else of them."""
    after: Any = getattr(error, "after", None)
    usable = isinstance(after, (int, float)) and math.isfinite(after) and after >= 0
    return float(after) if usable else None
