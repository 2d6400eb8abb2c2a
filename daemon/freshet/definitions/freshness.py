"""How old an asset may get."""

from __future__ import annotations

from dataclasses import dataclass

from freshet.definitions.durations import Duration, parse_duration
from freshet.errors import DefinitionError

__all__ = ["Freshness", "FreshnessSpec"]


@dataclass(frozen=True)
class FreshnessSpec:
    """The policy as plain data: seconds after the last materialization until it warns and until it lapses."""

    within: float
    warn: float | None = None


class Freshness:
    """`Freshness(within="1h", warn="45m")`: the asset lapses one hour after its last materialization.

    The time counts from the commit of the last materialization and, where there is none yet, from the
    moment this asset first had a policy. For a partitioned asset it is the latest activity of any partition.
    """

    def __init__(self, within: Duration, warn: Duration | None = None) -> None:
        seconds = parse_duration(within, what="Freshness(within=)")
        early = None if warn is None else parse_duration(warn, what="Freshness(warn=)")
        if seconds < 1:
            raise DefinitionError(f"Freshness(within={within!r}) is under a second", hint="the finest grain is 1s")
        if early is not None and early >= seconds:
            raise DefinitionError(
                f"Freshness(warn={warn!r}) is not before within={within!r}", hint="give warn a shorter duration"
            )
        self.spec = FreshnessSpec(within=seconds, warn=early)

    def __repr__(self) -> str:
        return f"Freshness(within={self.spec.within}, warn={self.spec.warn})"
