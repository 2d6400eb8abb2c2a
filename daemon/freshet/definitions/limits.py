"""Limits of what is under way at once, as the settings give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from freshet.definitions.pool import Rate

__all__ = ["Limits", "PoolLimit", "tag_limit"]


@dataclass(frozen=True, slots=True)
class PoolLimit:
    """How many slots a pool has, and how many of its steps may start in a span of time."""

    slots: int
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be under way at once. `runs`: runs, all together; `tags`: runs with a tag, `key` for each value of it
    apart, `key=value` for that one, which then counts by itself. A run counts from its first step's start to its end.
    """

    pools: Mapping[str, PoolLimit] = field(default_factory=dict[str, PoolLimit])
    runs: int | None = None
    tags: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def on_runs(self) -> bool:
        """Whether there is a limit that counts runs."""
        return self.runs is not None or bool(self.tags)

    def of_tags(self, tags: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
        """The limits that a run with these tags counts in: `key=value`, and how many."""
        if not self.tags or not tags:
            return ()
        found: list[tuple[str, int]] = []
        for key, value in tags.items():
            name = tag_limit(key, value)
            capacity = self.tags.get(name, self.tags.get(key))
            if capacity is not None:
                found.append((name, capacity))
        return tuple(sorted(found))


def tag_limit(key: str, value: str) -> str:
    """How a limit by a tag's value is called."""
    return f"{key}={value}"
