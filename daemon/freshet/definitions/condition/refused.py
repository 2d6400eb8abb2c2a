"""Names of Dagster's that would mean nothing here: who brings them along is told what to write instead."""

from __future__ import annotations

from typing import NoReturn

from freshet.errors import DefinitionError

__all__ = ["Refused"]


class Refused:
    """A part of `AutomationCondition`. Each raises `DefinitionError`."""

    @staticmethod
    def backfill_in_progress() -> NoReturn:
        """Not here. A backfill asks for its runs as it goes: what it has not come to is nobody's yet, and what it has
        come to is `in_progress` as by any other run, which a request joins."""
        raise DefinitionError(
            "backfill_in_progress(): a partition of a backfill is in progress when its run is queued or running",
            hint="write AutomationCondition.in_progress()",
        )

    @staticmethod
    def executed_with_root_target() -> NoReturn:
        """Not here. Dagster's `any_deps_updated` leaves out by it what a run made that makes the asset of the condition
        next. Here such a run's step begins after that and reads it, which is what `newly_handled` tells: a request by
        the update in between joins the step that is queued."""
        raise DefinitionError(
            "executed_with_root_target(): what a run makes on the way to an asset is read by its step of that asset",
            hint="leave it out; where it matters say .since_last_handled()",
        )
