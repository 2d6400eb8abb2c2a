"""RunStatusSensor: the end of runs becomes a call of a job that tells somebody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal

from freshet import (
    Asset,
    Batch,
    DefinitionError,
    Duration,
    Happened,
    Job,
    Listen,
    ListenType,
    RunRequest,
    Sensor,
    SensorContext,
)
from freshet_sensors.events import Start, batches, checked_names, checked_start

__all__ = ["RunStatusSensor"]

Status = Literal["failed", "succeeded", "canceled"]

_TYPES: dict[str, ListenType] = {"failed": "run_failed", "succeeded": "run_succeeded", "canceled": "run_canceled"}
_FIELDS = ("run", "target", "status", "error", "partition")
_TOLD_BY = "freshet/told_by"


class RunStatusSensor(Sensor):
    """Calls the job `target` for each run that ends, at once, with what is to be told as its parameters.

    `on`: "failed", "succeeded", "canceled". `targets`: only of runs of these assets and jobs. `params`: which
    parameters the job takes, of run (its id), target, status, error (its message, None where there is none), partition
    (its key, None without).

    The run key is `SENSOR:RUN@SEQ`, the event's number: each sensor tells of each run once, also where several have one
    target. Runs of `target` itself, and those that any RunStatusSensor asked for (marked by the tag `freshet/told_by`,
    the sensor's name), are never told of. So a notifier that fails tells nobody: look at `freshet runs`. `start`:
    "now", or "all" that ever ended. `interval`: of the full look, which finds the same runs where a wake was lost.
    `debounce`, `batch`, `throttle`, `overlap`: see `freshet.Sensor`.
    """

    def __init__(
        self,
        name: str,
        *,
        on: Status | Iterable[Status] = ("failed",),
        targets: Iterable[str | Asset | Job] | None = None,
        target: object,
        params: Iterable[str] = _FIELDS,
        start: Start = "now",
        interval: Duration = "30s",
        timeout: Duration = "60s",
        debounce: Duration | None = None,
        batch: Batch | int | Duration | None = None,
        throttle: str | None = None,
        overlap: Literal["allow", "skip", "queue", "latest", "cancel"] = "allow",
    ) -> None:
        if not isinstance(target, str | Job):
            raise DefinitionError(f"{name}: target= takes a job, not {target!r}", hint="write a @job that tells it")
        self._on = checked_names(f"{name}: on", on, _TYPES)
        self.listens = Listen([_TYPES[status] for status in self._on], targets)
        own = target if isinstance(target, str) else target.spec.name
        if own in (self.listens.assets or ()):
            raise DefinitionError(f"{name}: it would tell of its own runs of {own!r}", hint="take it out of targets=")
        self._own = own
        self._start: Start = checked_start(name, start)
        chosen = [params] if isinstance(params, str) else [*params]
        self._params = checked_names(f"{name}: params", chosen, _FIELDS) if chosen else ()
        shown: dict[str, Any] = {"on": list(self._on), "start": start}
        if self.listens.assets is not None:
            shown["targets"] = list(self.listens.assets)
        super().__init__(
            name,
            target=target,
            interval=interval,
            timeout=timeout,
            options=shown,
            listens=self.listens,
            gives=self._params,
            debounce=debounce,
            batch=batch,
            throttle=throttle,
            overlap=overlap,
        )

    async def evaluate(self, ctx: SensorContext) -> AsyncIterator[RunRequest]:
        """Tell of the runs that have ended since the last look, in order."""
        async for events in batches(ctx, self.listens, self._start):
            for event in events:
                data: dict[str, Any] = event.data or {}
                if data.get("target") != self._own and _TOLD_BY not in data.get("tags", {}):
                    yield self._told(event, data)

    def _told(self, event: Happened, data: dict[str, Any]) -> RunRequest:
        fields: dict[str, Any] = {
            "run": event.run,
            "target": data.get("target"),
            "status": event.type.removeprefix("run_"),
            "error": data.get("error", {}).get("message"),
            "partition": event.partition,
        }
        return RunRequest(
            run_key=f"{self.name}:{event.run}@{event.seq}",
            params={name: fields[name] for name in self._params},
            tags={_TOLD_BY: self.name},
            cause=event,
        )
