"""Partitions in two or more dimensions. Combinations are never enumerated: the store numbers those that are used."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from freshet.definitions.key_partitions import DynamicPartitions, StaticPartitions
from freshet.definitions.names import check_key, check_name, nearest_hint
from freshet.definitions.source import Source, caller_source
from freshet.definitions.time_partitions import TimePartitions
from freshet.errors import DefinitionError, PartitionKeyError

__all__ = ["MAX_COMBINATIONS", "Dimension", "DimensionSet", "MultiPartitions"]

MAX_COMBINATIONS = 10_000_000
"""Above so many combinations, a selection must name a range in each dimension."""

DimensionSet = DynamicPartitions | StaticPartitions | TimePartitions
_ESCAPE = {"%": "%25", "|": "%7C", "=": "%3D"}
_UNESCAPE = {text: char for char, text in _ESCAPE.items()}


@dataclass(frozen=True)
class Dimension:
    """One dimension: its name, and its set."""

    name: str
    set: DimensionSet


@dataclass(frozen=True)
class MultiPartitions:
    """`MultiPartitions(day=TimePartitions(...), region=StaticPartitions([...]))`: a partition for each combination.

    A key reads `day=2026-03-29|region=eu`, the dimensions in the order in which they are declared, `|`, `=` and `%` in
    their keys written as `%7C`, `%3D`, `%25`; all together up to 200 characters. Without a `name` the set is called
    after its dimensions and their sets. Raises `DefinitionError` for fewer than two dimensions.
    """

    dimensions: tuple[Dimension, ...]
    name: str = ""
    kind: Literal["multi"] = "multi"
    source: Source | None = field(default=None, compare=False)

    def __init__(
        self,
        dimensions: Sequence[Dimension] = (),
        name: str = "",
        kind: Literal["multi"] = "multi",
        source: Source | None = None,
        **sets: DimensionSet,
    ) -> None:
        named = (*dimensions, *(Dimension(dimension, one) for dimension, one in sets.items()))
        for one in named:
            check_name(one.name, what="MultiPartitions dimension")
            if not isinstance(one.set, DynamicPartitions | StaticPartitions | TimePartitions):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DefinitionError(
                    f"MultiPartitions: the dimension {one.name!r} is {one.set!r}",
                    hint="give DynamicPartitions, StaticPartitions or TimePartitions",
                )
        if len(named) < 2:
            raise DefinitionError("MultiPartitions: fewer than two dimensions", hint="use the one set itself")
        if name:
            check_name(name, what="MultiPartitions", identifier=False)
        object.__setattr__(self, "dimensions", named)
        object.__setattr__(self, "name", name or _default_name(named))
        object.__setattr__(self, "kind", "multi")
        object.__setattr__(self, "source", source or caller_source())

    def resolved(self, timezone: str) -> MultiPartitions:
        """The same with the configuration's zone where a dimension names none."""
        made = tuple(
            Dimension(one.name, one.set.resolved(timezone) if isinstance(one.set, TimePartitions) else one.set)
            for one in self.dimensions
        )
        return replace(self, dimensions=made, name="" if self.name == _default_name(self.dimensions) else self.name)

    @property
    def made_up(self) -> bool:
        """Whether nobody named it."""
        return self.name == _default_name(self.dimensions)

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions' names, as declared."""
        return tuple(one.name for one in self.dimensions)

    def dimension(self, name: str) -> DimensionSet:
        """The set of a dimension. Raises `KeyError`."""
        for one in self.dimensions:
            if one.name == name:
                return one.set
        raise KeyError(name)

    def key(self, parts: Mapping[str, str]) -> str:
        """The key of a combination. Raises `PartitionKeyError` naming a dimension that is missing or unknown."""
        self._check_names(parts)
        return check_key("|".join(f"{name}={_escape(parts[name])}" for name in self.names))

    def parse(self, key: str) -> dict[str, str]:
        """The keys of a combination by dimension, in the order declared; the text may give them in any order.

        Raises `PartitionKeyError` for another form, a dimension that is unknown, missing or twice, and for a static or
        time dimension's key that is not one of its set.
        """
        parts = dict[str, str]()
        for text in check_key(key).split("|"):
            name, separator, value = text.partition("=")
            if not separator or "=" in value or re.search(r"%(?!25|7C|3D)", value):
                raise PartitionKeyError(f"{text[:60]!r} in {key[:60]!r} is no dimension", hint=f"write {self._form}")
            if name in parts:
                raise PartitionKeyError(f"{key[:60]!r} gives {name!r} twice", hint=f"write {self._form}")
            parts[name] = _unescape(value)
        self._check_names(parts)
        for one in self.dimensions:
            _check_part(one, parts[one.name])
        return {name: parts[name] for name in self.names}

    @staticmethod
    def count(sizes: Mapping[str, int]) -> int:
        """How many combinations there are, by how many keys each dimension has."""
        return math.prod(sizes.values())

    @staticmethod
    def needs_ranges(sizes: Mapping[str, int]) -> bool:
        """Whether there are too many combinations to select any but by a range in each dimension."""
        return math.prod(sizes.values()) > MAX_COMBINATIONS

    @property
    def _form(self) -> str:
        return repr("|".join(f"{name}=..." for name in self.names))

    def _check_names(self, parts: Mapping[str, str]) -> None:
        for name in parts:
            if name not in self.names:
                said = "there is" if self.made_up else f"{self.name} has"
                raise PartitionKeyError(f"{said} no dimension {name[:60]!r}", hint=nearest_hint(name, self.names))
        for name in self.names:
            if name not in parts:
                of = "" if self.made_up else f" of {self.name}"
                raise PartitionKeyError(f"the dimension {name!r}{of} is missing", hint=f"write {self._form}")


def _check_part(dimension: Dimension, key: str) -> None:
    check_key(key)
    if isinstance(dimension.set, StaticPartitions) and key not in dimension.set.keys:
        hint = nearest_hint(key, dimension.set.keys)
        raise PartitionKeyError(f"the dimension {dimension.name!r} has no key {key[:60]!r}", hint=hint)
    if isinstance(dimension.set, TimePartitions):
        dimension.set.number(key)


def _escape(key: str) -> str:
    return "".join(_ESCAPE.get(char, char) for char in key)


def _unescape(text: str) -> str:
    return re.sub("%25|%7C|%3D", lambda match: _UNESCAPE[match[0]], text)


def _default_name(dimensions: Sequence[Dimension]) -> str:
    text = "|".join(f"{one.name}={one.set.name}" for one in dimensions)
    names = "-".join(one.name for one in dimensions)
    return f"{names[:80]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
