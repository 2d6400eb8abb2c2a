"""Which mapping fits between which sets. A misfit is told with its remedy."""

from __future__ import annotations

from freshet.definitions.mapping import (
    All,
    ByDimension,
    Identity,
    Last,
    Mapping,
    Static,
    TimeWindow,
    paired_dimensions,
)
from freshet.definitions.names import nearest_hint
from freshet.definitions.partitions import (
    DynamicPartitions,
    MultiPartitions,
    PartitionsSpec,
    StaticPartitions,
    TimePartitions,
)

__all__ = ["misfit"]

_KEYED = DynamicPartitions, StaticPartitions


def misfit(mapping: Mapping, upstream: PartitionsSpec | None, downstream: PartitionsSpec | None) -> tuple[str, str]:
    """What is wrong with `mapping` between two sets, and the remedy; two empty texts where it fits."""
    match mapping:
        case Identity():
            if upstream is not None and (downstream is None or downstream.name != upstream.name):
                return "needs the same partitions on both sides", _other(upstream, downstream)
        case All() | Last():
            if upstream is None:
                return "goes to an asset without partitions", "leave the mapping out"
        case TimeWindow():
            if not isinstance(upstream, TimePartitions) or not isinstance(downstream, TimePartitions):
                return "needs TimePartitions on both sides", _by_time(mapping, upstream, downstream)
        case Static():
            return _static(mapping, upstream, downstream)
        case ByDimension():
            return _by_dimension(mapping, upstream, downstream)
    return "", ""


def _static(mapping: Static, upstream: PartitionsSpec | None, downstream: PartitionsSpec | None) -> tuple[str, str]:
    if not isinstance(upstream, StaticPartitions) or not isinstance(downstream, StaticPartitions):
        keyed = isinstance(upstream, _KEYED) and isinstance(downstream, _KEYED)
        hint = "write the keys down: StaticPartitions on both sides" if keyed else _other(upstream, downstream)
        return "needs StaticPartitions on both sides", hint
    for above, below in mapping.below:
        for spec, key in ((upstream, above), *((downstream, one) for one in below)):
            if key not in spec.keys:
                its = "the partitions above" if spec is upstream else "its own partitions"
                said = its if spec.made_up else repr(spec.name)
                return f"names {key!r}, which is no key of {said}", nearest_hint(key, spec.keys)
    return "", ""


def _by_dimension(
    mapping: ByDimension, upstream: PartitionsSpec | None, downstream: PartitionsSpec | None
) -> tuple[str, str]:
    several = [one for one in (upstream, downstream) if isinstance(one, MultiPartitions)]
    if not several or upstream is None or downstream is None:
        return "needs MultiPartitions on one side, and partitions on the other", _other(upstream, downstream)
    common = [name for name in several[0].names if name in several[-1].names]
    if mapping.dimension and len(several) == 2:
        return "names a dimension between two MultiPartitions", "say how dimensions map: ByDimension(day=TimeWindow())"
    for name in (mapping.dimension, *(name for name, _ in mapping.by)):
        if name and name not in common:
            return f"names the dimension {name!r}, which is not there", nearest_hint(name, common)
    pairs = paired_dimensions(mapping, upstream, downstream)
    if not pairs:
        return "finds no dimension that goes with the other side", f"name it: ByDimension({common[0]!r})" if (
            common
        ) else "use All() or Last()"
    for name, _ in mapping.by:
        if name not in {one for pair in pairs for one in pair[:2]}:
            return f"says how {name!r} maps, which has no counterpart", f"name it: ByDimension({name!r}, ...)"
    for above, below, inner in pairs:
        said, hint = misfit(inner, _part(upstream, above), _part(downstream, below))
        if said:
            return f"({above or below}): {type(inner).__name__}() {said}", hint
    return "", ""


def _part(spec: PartitionsSpec, dimension: str | None) -> PartitionsSpec:
    return spec.dimension(dimension) if dimension is not None and isinstance(spec, MultiPartitions) else spec


def _by_time(mapping: TimeWindow, upstream: PartitionsSpec | None, downstream: PartitionsSpec | None) -> str:
    """Where one side has a dimension in time, and the other is in time or has that dimension, too: the dimension."""
    above, below = _in_time(upstream), _in_time(downstream)
    both = above & below or ((above | below) if None in (*above, *below) else set())
    named = [one for one in both if one is not None]
    if not above or not below or len(named) != 1:
        return _other(upstream, downstream)
    given = ", ".join(f"{one}={getattr(mapping, one)}" for one in ("start", "end") if getattr(mapping, one))
    return f"map the dimension: ByDimension({named[0]}=TimeWindow({given}))"


def _in_time(spec: PartitionsSpec | None) -> set[str | None]:
    """Its dimensions in time; None for a set in time itself."""
    if isinstance(spec, MultiPartitions):
        return {one.name for one in spec.dimensions if isinstance(one.set, TimePartitions)}
    return {None} if isinstance(spec, TimePartitions) else set()


def _other(upstream: PartitionsSpec | None, downstream: PartitionsSpec | None) -> str:
    if upstream is None:
        return "leave the mapping out"
    if isinstance(upstream, TimePartitions) and isinstance(downstream, TimePartitions):
        return "use TimeWindow(), All() or Last()"
    return "use All() or Last()"
