"""The runs that schedules without a body ask for: worked out once for each target, then only filled in."""

from __future__ import annotations

from datetime import UTC, datetime

from freshet.definitions.graph import Definitions
from freshet.definitions.schedule import ScheduleSpec
from freshet.engine.requests import SCHEDULED_TIME, scheduled_runs
from freshet.store.records import RunToAdmit

__all__ = ["Samples"]


class Samples:
    """Of one version of the definitions. Runs of one target and instant share what they say, which nobody changes."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._samples: dict[str, RunToAdmit] = {}
        self._tags: dict[str, tuple[float, dict[str, str]]] = {}

    def runs(self, spec: ScheduleSpec, nominal: float) -> tuple[RunToAdmit, ...]:
        """What a schedule asks for at an instant. Raises as `scheduled_runs`."""
        target = spec.target or ""
        like = self._samples.get(target)
        if like is None:
            made = scheduled_runs(self._definitions, spec, nominal)
            if len(made) == 1 and made[0].set is None:
                self._samples[target] = made[0]
            return made
        at, tags = self._tags.get(target, (None, like.tags))
        if at != nominal:
            tags = {**like.tags, SCHEDULED_TIME: datetime.fromtimestamp(nominal, UTC).isoformat()}
            self._tags[target] = nominal, tags
        run = RunToAdmit(
            like.kind,
            like.target,
            like.steps,
            f"schedule:{spec.name}",
            params=spec.params,
            tags=tags,
            priority=like.priority,
        )
        return (run,)
