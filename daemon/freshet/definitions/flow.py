"""What every sensor offers for the runs it asks for: when they begin, how many at once, and what they are given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import NoneType
from typing import Literal, TypedDict, get_args

from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect
from freshet.definitions.names import nearest_hint
from freshet.definitions.outcome import Json
from freshet.definitions.template import check_template, check_templates
from freshet.errors import DefinitionError

__all__ = [
    "BATCH_MAX",
    "Batch",
    "BatchSpec",
    "Flow",
    "Overlap",
    "SensorOptions",
    "ThrottleSpec",
    "flow_of",
    "overlap_option",
]

Overlap = Literal["allow", "skip", "queue", "latest", "cancel"]

BATCH_MAX = 1000
"""Items that one run may be for."""
_THROTTLE_MAX = 10_000
_RATE = re.compile(r"\s*(\d+)\s*/\s*(\S+)\s*")
_UNITS = {
    **dict.fromkeys(("s", "sec", "second"), "1s"),
    **dict.fromkeys(("m", "min", "minute"), "1m"),
    **dict.fromkeys(("h", "hour"), "1h"),
    **dict.fromkeys(("d", "day"), "1d"),
}


@dataclass(frozen=True)
class Batch:
    """Many items, one run: it begins when `count` items wait, or when the oldest has waited for `within`."""

    count: int = 100
    within: Duration = "10s"


class SensorOptions(TypedDict, total=False):
    """What every sensor takes besides its own: `def __init__(self, name, *, ..., **options: Unpack[SensorOptions])`,
    handed on to `Sensor.__init__`, which says what they mean."""

    debounce: Duration | None
    batch: Batch | int | Duration | None
    throttle: str | None
    overlap: Overlap
    run_key: str | None
    partition: str | None
    params: Mapping[str, Json] | None
    was: str | None


@dataclass(frozen=True)
class BatchSpec:
    """`within`: seconds."""

    count: int
    within: float


@dataclass(frozen=True)
class ThrottleSpec:
    """At most `count` runs begin in any stretch of `period` seconds."""

    count: int
    period: float


@dataclass(frozen=True)
class Flow:
    """The options as plain data. Durations are seconds."""

    debounce: float | None = None
    batch: BatchSpec | None = None
    throttle: ThrottleSpec | None = None
    overlap: Overlap = "allow"
    run_key: str | None = None
    partition: str | None = None
    params: dict[str, Json] = field(default_factory=dict[str, Json])

    @property
    def waits(self) -> bool:
        """Whether requests wait before they become runs."""
        return self.debounce is not None or self.batch is not None or self.throttle is not None

    @property
    def fills(self) -> bool:
        """Whether templates fill what requests leave out."""
        return self.run_key is not None or self.partition is not None or bool(self.params)


def flow_of(
    what: str,
    *,
    debounce: Duration | None = None,
    batch: Batch | int | Duration | None = None,
    throttle: str | None = None,
    overlap: Overlap = "allow",
    run_key: str | None = None,
    partition: str | None = None,
    params: Mapping[str, Json] | None = None,
    was: str | None = None,
) -> Flow:
    """The options of a sensor, checked (`was` is none of them). Raises `DefinitionError` naming `what`, the sensor."""
    expect(params, (dict, NoneType), f"{what}: params", 'for example params={"path": "{metadata.path}"}')
    for name, value in (params or {}).items():
        check_templates(value, f"{what}: params[{name!r}]")
    return Flow(
        debounce=None if debounce is None else _stretch(debounce, f"{what}: debounce"),
        batch=None if batch is None else _batch(batch, f"{what}: batch"),
        throttle=None if throttle is None else _throttle(throttle, f"{what}: throttle"),
        overlap=overlap_option(overlap, what),
        run_key=None if run_key is None else check_template(run_key, f"{what}: run_key"),
        partition=None if partition is None else check_template(partition, f"{what}: partition"),
        params=dict(params or {}),
    )


def overlap_option(overlap: Overlap, what: str) -> Overlap:
    """The policy. Raises `DefinitionError` that names `what` declares it."""
    if overlap not in get_args(Overlap):
        known = get_args(Overlap)
        raise DefinitionError(f"{what}: overlap={overlap!r} is unknown", hint=nearest_hint(str(overlap), known))
    return overlap


def _stretch(value: Duration, what: str) -> float:
    seconds = parse_duration(value, what=what)
    if seconds <= 0:
        raise DefinitionError(f"{what}={value!r} must be more than zero", hint='for example "5s", or leave it out')
    return seconds


def _batch(value: Batch | int | Duration, what: str) -> BatchSpec:
    hint = 'write Batch(count=100, within="10s"), 100 or "10s"'
    expect(value, (Batch, int, str, timedelta), what, hint)
    if isinstance(value, str | timedelta):
        value = Batch(count=BATCH_MAX, within=value)
    elif isinstance(value, int):
        value = Batch(count=value)
    if type(value.count) is not int or not 1 <= value.count <= BATCH_MAX:
        raise DefinitionError(f"{what}: count={value.count!r}", hint=f"a number from 1 to {BATCH_MAX:,}")
    return BatchSpec(value.count, _stretch(value.within, f"{what}: within"))


def _throttle(value: str, what: str) -> ThrottleSpec:
    found = _RATE.fullmatch(expect(value, (str,), what, 'for example "10/min" or "1/30s"'))
    if found is None or not 1 <= int(found[1]) <= _THROTTLE_MAX:
        hint = f'for example "10/min" or "1/30s", up to {_THROTTLE_MAX:,} in a period'
        raise DefinitionError(f"{what}={value!r} is no rate", hint=hint)
    return ThrottleSpec(int(found[1]), _stretch(_UNITS.get(found[2], found[2]), what))
