"""From a key that somebody named to the partition that is meant. Pure; what only the store knows is left to it."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

from freshet.definitions.names import check_key, nearest_hint
from freshet.definitions.partitions import (
    DynamicPartitions,
    MultiPartitions,
    PartitionsSpec,
    StaticPartitions,
    TimePartitions,
    said_set,
)
from freshet.definitions.zones import ZoneClock
from freshet.errors import FreshetError, PartitionKeyError, UnknownName
from freshet.store.records import PartitionRef

__all__ = ["not_yet", "partition_ref"]


def partition_ref(spec: PartitionsSpec, key: str, now: float, of: str = "") -> PartitionRef:
    """The partition of that key, in its normal form. `of`: whose set it is, for messages, where nobody named it.

    Raises `PartitionKeyError` for what can be no key, a window before the set's start, and one that is not live at
    `now`; `UnknownName` with the nearest for a key that a static list does not hold. Whether a dynamic key is there is
    for the store to say.
    """
    normal = check_key(key)
    match spec:
        case DynamicPartitions():
            return PartitionRef(spec.name, normal)
        case StaticPartitions():
            if normal not in spec.keys:
                said = f"{said_set(spec, of)} has no key {normal!r}"
                raise UnknownName(said, hint=nearest_hint(normal, spec.keys))
            return PartitionRef(spec.name, normal)
        case TimePartitions():
            return PartitionRef(spec.name, normal, number=_live_number(spec, normal, now, of))
        case MultiPartitions():
            keys = _parsed(spec, normal, of)
            parts = tuple(_part(spec, name, part, now, of) for name, part in keys.items())
            return PartitionRef(spec.name, spec.key(keys), parts=parts)


def _parsed(spec: MultiPartitions, key: str, of: str) -> dict[str, str]:
    try:
        return spec.parse(key)
    except PartitionKeyError as error:
        if not spec.made_up or not of:
            raise
        raise PartitionKeyError(f"the partition of {of}: {error.message}", hint=error.hint) from None


def _part(spec: MultiPartitions, dimension: str, key: str, now: float, of: str) -> PartitionRef:
    try:
        return partition_ref(spec.dimension(dimension), key, now)
    except FreshetError as error:
        whose = f" of {_named(spec, of)}" if of or not spec.made_up else ""
        raise type(error)(f"the dimension {dimension!r}{whose}: {error.message}", hint=error.hint) from None


def _named(spec: PartitionsSpec, of: str) -> str:
    return (of or "its set") if spec.made_up else repr(spec.name)


def _live_number(spec: TimePartitions, key: str, now: float, of: str) -> int:
    number, named = spec.number(key), _named(spec, of)
    if number < spec.first:
        raise PartitionKeyError(
            f"the partition {key!r} lies before the start of {named}",
            hint=f"the first is {spec.key(spec.first)!r}",
        )
    if spec.is_live(number, now):
        return number
    said, hint = f"the partition {key!r} of {named} {not_yet(spec)}", ""
    with contextlib.suppress(OverflowError):
        at = spec.windows.edge(number + 1 - spec.end_offset)
        said += f": it is from {_on_the_clock(spec, at)} on"
    if spec.windows.at(now) == number:
        hint = "TimePartitions(end_offset=1) shows a window while it is open"
    elif (last := spec.closed_by(now)) is not None:
        hint = f"the last is {spec.key(last)!r}"
    raise PartitionKeyError(said, hint=hint)


def not_yet(spec: TimePartitions) -> str:
    """What is to be said of a window that is still to come."""
    return f"is not shown yet (end_offset={spec.end_offset})" if spec.end_offset else "is not closed yet"


def _on_the_clock(spec: TimePartitions, at: float) -> str:
    offset = timedelta(seconds=ZoneClock(spec.zone).offset(int(at)))
    return datetime.fromtimestamp(at, UTC).astimezone(timezone(offset)).isoformat(timespec="minutes")
