"""How old an asset may get."""

from __future__ import annotations

from dataclasses import dataclass

from freshet.definitions.cron import check_cron
from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect
from freshet.definitions.zones import check_zone
from freshet.errors import DefinitionError

__all__ = ["Freshness", "FreshnessSpec"]


@dataclass(frozen=True)
class FreshnessSpec:
    """The policy as plain data: either `within` seconds of the last materialization, or by each instant of `cron` with
    one begun at most `window` seconds before it. `warn`: seconds after the materialization, or before the instant.
    `timezone`: None until the configuration's is filled in."""

    within: float | None = None
    warn: float | None = None
    cron: str | None = None
    timezone: str | None = None
    window: float | None = None
    per_partition: bool = False


class Freshness:
    """`Freshness(within="1h", warn="45m")`: the asset lapses one hour after its last materialization.

    The time counts from the commit of the last materialization and, where there is none yet, from the moment this asset
    first had a policy. A report with `at=` counts from then, if that is later than what is known.

    `Freshness(cron="0 6 * * *", timezone="Europe/Berlin", window="2h", warn="30m")`: by each of these instants there
    must be a materialization that was begun no earlier than `window` before it. Without one the asset lapses at that
    instant, and stays so until one is made begun late enough (one that was under way too long does not end it).
    `warn`: so long before the instant it warns; at most `window`, since before that nothing can have come yet. Clock
    changes count as in schedules. Without `timezone` it is the configuration's.

    For a partitioned asset the policy holds for the latest activity of any partition; with `per_partition=True` for
    each live partition by itself, from its own materialization or, before the first, from when it was added.

    An edit of the policy moves the next deadline and takes nothing back: what has lapsed stays so until it is made.
    """

    def __init__(
        self,
        within: Duration | None = None,
        warn: Duration | None = None,
        *,
        cron: str | None = None,
        timezone: str | None = None,
        window: Duration | None = None,
        per_partition: bool = False,
    ) -> None:
        if (within is None) == (cron is None):
            raise DefinitionError(
                "Freshness takes either within= or cron=",
                hint='write Freshness(within="1h"), or Freshness(cron="0 6 * * *", window="2h")',
            )
        expect(per_partition, (bool,), "Freshness(per_partition=)", "write True or False")
        early = None if warn is None else parse_duration(warn, what="Freshness(warn=)")
        if cron is None:
            assert within is not None, "either is given"
            self.spec = _within(within, early, warn, per_partition)
            for name, value in (("timezone", timezone), ("window", window)):
                if value is not None:
                    raise DefinitionError(f"Freshness({name}=) goes with cron=", hint=f"take {name}= out")
            return
        self.spec = FreshnessSpec(
            warn=early,
            cron=check_cron(cron, what="Freshness(cron=)"),
            timezone=None if timezone is None else check_zone(timezone, what="Freshness(timezone=)"),
            window=_window(window, early),
            per_partition=per_partition,
        )

    def __repr__(self) -> str:
        given = [(name, value) for name, value in vars(self.spec).items() if value is not None and value is not False]
        return f"Freshness({', '.join(f'{name}={value!r}' for name, value in given)})"


def _within(within: Duration, early: float | None, warn: Duration | None, per_partition: bool) -> FreshnessSpec:
    seconds = parse_duration(within, what="Freshness(within=)")
    if seconds < 1:
        raise DefinitionError(f"Freshness(within={within!r}) is under a second", hint="the finest grain is 1s")
    if early is not None and early >= seconds:
        raise DefinitionError(
            f"Freshness(warn={warn!r}) is not before within={within!r}", hint="give warn a shorter duration"
        )
    return FreshnessSpec(within=seconds, warn=early, per_partition=per_partition)


def _window(window: Duration | None, early: float | None) -> float:
    if window is None:
        raise DefinitionError(
            "Freshness(cron=) takes a window=", hint='say how long before the deadline is early enough: window="2h"'
        )
    seconds = parse_duration(window, what="Freshness(window=)")
    if seconds < 1:
        raise DefinitionError(f"Freshness(window={window!r}) is under a second", hint="the finest grain is 1s")
    if early is not None and early > seconds:
        raise DefinitionError(
            "Freshness(warn=) is longer than window=: it would warn before anything could have come",
            hint="give warn a shorter duration; it counts back from the deadline",
        )
    return seconds
