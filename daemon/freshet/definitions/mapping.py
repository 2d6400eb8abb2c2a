"""Which partitions of an upstream a partition depends on. Pure data; the algebra on bitmaps is the engine's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from freshet.definitions.partitions import PartitionsSpec

__all__ = ["All", "Identity", "Last", "Mapping", "default_mapping"]


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
    """The upstream's newest partition: of a dynamic set the one added last, of a static set the last in its list."""

    kind: Literal["last"] = "last"


Mapping = Identity | All | Last


def default_mapping(upstream: PartitionsSpec | None, downstream: PartitionsSpec | None) -> Mapping:
    """The mapping where the user named none.

    Same set on both sides, or an upstream without partitions: the same key (the one value). Otherwise:
    all of the upstream.
    """
    if upstream is None or (downstream is not None and upstream.name == downstream.name):
        return Identity()
    return All()
