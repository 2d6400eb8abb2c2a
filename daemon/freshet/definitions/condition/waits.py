"""Conditions that wait: for a pause, for several to come together, or not longer than so."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from freshet.definitions.condition import nodes
from freshet.definitions.condition.given import given_count
from freshet.definitions.durations import Duration, parse_duration
from freshet.errors import DefinitionError

if TYPE_CHECKING:
    from freshet.definitions.condition.base import AutomationCondition

__all__ = ["Waits"]


class Waits:
    """A part of `AutomationCondition`. None of these is in Dagster.

    They go by the time at which transactions were committed, however late they are looked at, and are remembered
    through restarts. What they wait for is counted in 64ths of it: never too early, by that much late at the most.
    """

    def recently(self, within: Duration) -> AutomationCondition:
        """This is true, or was until less than `within` ago."""
        return nodes.Recently(_own(self), within=_seconds(within, "recently()"))

    def debounce(self, quiet: Duration, *, max_wait: Duration | None = None) -> AutomationCondition:
        """This, when it has not come true again for `quiet`; after `max_wait` it waits no more (None: however long it
        goes on).

        It comes true where it is true and was not before, and where it is true and what a `since` in it waits for
        (`newly_...`) happens again: each further update counts for `eager().debounce("10s")`.

        ==================================================  =============================================
        this                                                debounced
        ==================================================  =============================================
        comes true                                          false, for `quiet`
        comes true again meanwhile                          false, for `quiet` from then on
        has stayed true, and `quiet` or `max_wait` is over  true, as long as this is
        comes true again after that                         false once more, for `quiet`
        is false before                                     false; it waits no more
        is true only for a moment (`newly_...`)             true for a moment, when `quiet` or `max_wait` is
                                                            over
        ==================================================  =============================================
        """
        silence, longest = _seconds(quiet, "debounce()"), None
        if max_wait is not None:
            longest = _seconds(max_wait, "debounce(max_wait=)")
            if longest < silence:
                said = f"debounce({quiet!r}, max_wait={max_wait!r}) never waits for {quiet!r}"
                raise DefinitionError(said, hint="give a longer max_wait=; batch(within=) counts from the first alone")
        return nodes.Debounce(_own(self), quiet=silence, max_wait=longest)

    def batch(self, count: int | None = None, *, within: Duration | None = None) -> AutomationCondition:
        """This, when it has come true `count` times, or `within` after the first of them, whichever is first.

        What counts as coming true is as in `debounce`; of one partition, several in one transaction are one.

        ==================================================  =============================================
        this                                                in a batch
        ==================================================  =============================================
        comes true, fewer than `count` times so far         false
        comes true for the `count`th time                   true, as long as this is
        came true first `within` ago                        true, as long as this is
        comes true again after that                         false once more: the first of the next batch
        is false before                                     false; the count begins anew
        is true only for a moment (`newly_...`)             true for a moment, when the batch is full or
                                                            `within` is over
        ==================================================  =============================================
        """
        if count is not None:
            given_count(count, "batch(count=)", "is never full")
        if count is None and within is None:
            raise DefinitionError(
                "batch() waits for nothing", hint='write batch(count=100, within="10s"), or one of them'
            )
        seconds = None if within is None else _seconds(within, "batch(within=)")
        return nodes.Batch(_own(self), count=count, within=seconds)


def _seconds(given: Duration, what: str) -> float:
    seconds = parse_duration(given, what=what)
    if seconds <= 0:
        raise DefinitionError(f"{what}: {given!r} is no time at all", hint='give more than zero, for example "10s"')
    return seconds


def _own(condition: Waits) -> AutomationCondition:
    return cast("AutomationCondition", condition)
