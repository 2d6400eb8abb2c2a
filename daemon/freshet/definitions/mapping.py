"""Which partitions of an upstream a partition depends on. Pure data; the algebra on bitmaps is the engine's."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from typing import Literal

from freshet.definitions.names import check_key
from freshet.definitions.partitions import DimensionSet, MultiPartitions, PartitionsSpec, TimePartitions
from freshet.errors import DefinitionError

__all__ = [
    "All",
    "ByDimension",
    "DimensionMapping",
    "Identity",
    "Last",
    "Mapping",
    "Static",
    "TimeWindow",
    "default_mapping",
    "gives_one",
    "paired_dimensions",
]


@dataclass(frozen=True)
class Identity:
    """The partition of the same key; both sides hold the same set (or none)."""

    kind: Literal["identity"] = "identity"


@dataclass(frozen=True)
class All:
    """Every partition of the upstream; a function gets them as a dict by key."""

    kind: Literal["all"] = "all"


@dataclass(frozen=True)
class Last:
    """The upstream's newest partition: of a dynamic set the one added last (also one that was there before, was deleted
    and came back), of a static set the last in its list, in time the latest window, of several dimensions the
    combination that was first used last."""

    kind: Literal["last"] = "last"


@dataclass(frozen=True)
class TimeWindow:
    """Between two sets in time: the upstream windows that share a moment with the downstream's, reaching from `start`
    windows before the first of them (negative: earlier) to `end` windows after the last, in the upstream's windows.

    `TimeWindow()`: a day of its 24 hours, an hour of the day that holds it. `TimeWindow(start=-6, end=0)` between daily
    sets: the day itself and the six before. Raises `DefinitionError` where `start` is after `end`.
    """

    start: int = 0
    end: int = 0
    kind: Literal["time_window"] = "time_window"

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("end", self.end)):
            if type(value) is not int or abs(value) > 1_000_000:
                raise DefinitionError(
                    f"TimeWindow({name}={value!r}) is no number of windows", hint="for example start=-6, end=0"
                )
        if self.start > self.end:
            raise DefinitionError(
                f"TimeWindow(start={self.start}, end={self.end}) is empty", hint="start must not be after end"
            )


@dataclass(frozen=True)
class Static:
    """`Static({"de": "europe", "fr": "europe", "us": ["america", "nato"]})`: from an upstream key to the downstream key
    or keys that depend on it. A downstream key that is not named depends on nothing; an upstream key that is not named
    is read by nothing. Both sides are StaticPartitions."""

    below: tuple[tuple[str, tuple[str, ...]], ...]
    kind: Literal["static"] = "static"

    def __init__(
        self,
        below: Dict[str, str | Iterable[str]] | tuple[tuple[str, tuple[str, ...]], ...],
        kind: Literal["static"] = "static",
    ) -> None:
        pairs = below if isinstance(below, tuple) else tuple(below.items())
        made = tuple((check_key(up), tuple(check_key(key) for key in _several(down))) for up, down in pairs)
        if not made:
            raise DefinitionError("Static({}): names no key", hint='write Static({"upstream key": "downstream key"})')
        object.__setattr__(self, "below", made)
        object.__setattr__(self, "kind", "static")


DimensionMapping = Identity | All | Last | TimeWindow | Static


@dataclass(frozen=True)
class ByDimension:
    """Between sets of which at least one has several dimensions: each dimension of the upstream by itself.

    Between two such sets, dimensions of one name go together; an upstream dimension without a counterpart gives all its
    keys, a downstream one changes nothing. Between such a set and one with a single dimension, `dimension` names which
    goes with it; without, the one that holds the same set, or the only one in time where the other is in time.
    `ByDimension(day=TimeWindow(start=-6))` says how a dimension maps; otherwise the default between its two sets.
    """

    dimension: str = ""
    by: tuple[tuple[str, DimensionMapping], ...] = ()
    kind: Literal["by_dimension"] = "by_dimension"

    def __init__(
        self,
        dimension: str = "",
        by: Iterable[tuple[str, DimensionMapping]] = (),
        kind: Literal["by_dimension"] = "by_dimension",
        **mappings: DimensionMapping,
    ) -> None:
        object.__setattr__(self, "dimension", dimension)
        object.__setattr__(self, "by", (*(tuple(pair) for pair in by), *mappings.items()))
        object.__setattr__(self, "kind", "by_dimension")

    def mapping(self, dimension: str) -> DimensionMapping | None:
        """What was said of a dimension."""
        return dict(self.by).get(dimension)


Mapping = Identity | All | Last | TimeWindow | Static | ByDimension


def default_mapping(upstream: PartitionsSpec | None, downstream: PartitionsSpec | None) -> Mapping:
    """The mapping where the user named none.

    Same set on both sides, or an upstream without partitions: the same key (the one value). Between two sets in time:
    the windows that share a moment (of a coarser set the one that holds it, of a finer one those within). Where a
    dimension on one side has a counterpart on the other: by dimension. Otherwise: all of the upstream.
    """
    if upstream is None or (downstream is not None and upstream.name == downstream.name):
        return Identity()
    if downstream is None:
        return All()
    if isinstance(upstream, MultiPartitions) or isinstance(downstream, MultiPartitions):
        return ByDimension() if paired_dimensions(ByDimension(), upstream, downstream) else All()
    return _default_single(upstream, downstream)


def _default_single(upstream: DimensionSet, downstream: DimensionSet) -> DimensionMapping:
    if upstream.name == downstream.name:
        return Identity()
    if isinstance(upstream, TimePartitions) and isinstance(downstream, TimePartitions):
        return TimeWindow()
    return All()


def paired_dimensions(
    mapping: ByDimension, upstream: PartitionsSpec, downstream: PartitionsSpec
) -> tuple[tuple[str | None, str | None, DimensionMapping], ...]:
    """Which dimension of the upstream goes with which of the downstream, and how: (upstream's, downstream's, mapping),
    None standing for a set of a single dimension. Empty where nothing goes together."""
    if isinstance(upstream, MultiPartitions) and isinstance(downstream, MultiPartitions):
        return tuple(
            (one.name, one.name, mapping.mapping(one.name) or _default_single(one.set, downstream.dimension(one.name)))
            for one in upstream.dimensions
            if one.name in downstream.names
        )
    if isinstance(upstream, MultiPartitions) and not isinstance(downstream, MultiPartitions):
        name = _counterpart(mapping.dimension, upstream, downstream)
        if name is None:
            return ()
        return ((name, None, mapping.mapping(name) or _default_single(upstream.dimension(name), downstream)),)
    if isinstance(downstream, MultiPartitions) and not isinstance(upstream, MultiPartitions):
        name = _counterpart(mapping.dimension, downstream, upstream)
        if name is None:
            return ()
        return ((None, name, mapping.mapping(name) or _default_single(upstream, downstream.dimension(name))),)
    return ()


def _counterpart(named: str, several: MultiPartitions, single: DimensionSet) -> str | None:
    if named:
        return named if named in several.names else None
    same = [one.name for one in several.dimensions if one.set.name == single.name]
    if not same and isinstance(single, TimePartitions):
        same = [one.name for one in several.dimensions if isinstance(one.set, TimePartitions)]
    return same[0] if len(same) == 1 else None


def gives_one(mapping: Mapping, upstream: PartitionsSpec | None, downstream: PartitionsSpec | None) -> bool:
    """Whether a function's argument is the value of one upstream partition, rather than a dict of values by key."""
    if upstream is None or isinstance(mapping, Identity | Last):
        return True
    if isinstance(mapping, TimeWindow):
        return mapping.start == mapping.end and _within_one(upstream, downstream)
    if isinstance(mapping, ByDimension) and downstream is not None:
        pairs = paired_dimensions(mapping, upstream, downstream)
        whole = upstream.names if isinstance(upstream, MultiPartitions) else (None,)
        return {above for above, _, _ in pairs} == {*whole} and all(
            gives_one(inner, _part(upstream, above), _part(downstream, below)) for above, below, inner in pairs
        )
    return False


_COARSER = {"hourly": ("daily", "weekly", "monthly"), "daily": ("weekly", "monthly")}


def _within_one(upstream: PartitionsSpec, downstream: PartitionsSpec | None) -> bool:
    """Whether each downstream window lies within one upstream window."""
    if not isinstance(upstream, TimePartitions) or not isinstance(downstream, TimePartitions):
        return False
    if upstream.timezone != downstream.timezone:
        return False
    return upstream.cadence in (downstream.cadence, *_COARSER.get(downstream.cadence, ()))


def _part(spec: PartitionsSpec, dimension: str | None) -> PartitionsSpec:
    return spec.dimension(dimension) if dimension is not None and isinstance(spec, MultiPartitions) else spec


def _several(keys: str | Iterable[str]) -> Iterable[str]:
    return (keys,) if isinstance(keys, str) else keys
