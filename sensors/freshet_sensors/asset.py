"""AssetSensor: what happens to an asset becomes a run of something else."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, cast

from freshet import (
    AddPartitions,
    Asset,
    Batch,
    DefinitionError,
    DeletePartitions,
    Duration,
    Happened,
    Job,
    Listen,
    ListenType,
    Report,
    RunRequest,
    Sensor,
    SensorContext,
)
from freshet_sensors.events import Start, batches, checked_names, checked_start

__all__ = ["AssetSensor"]

Change = Literal[
    "materialized", "failed", "lapsed", "warned", "restored", "exhausted", "recovered", "check_passed", "check_failed"
]
Result = RunRequest | AddPartitions | DeletePartitions | Report
Mapped = Result | Iterable[Result] | None

_TYPES: dict[str, ListenType] = {
    "materialized": "materialized",
    "failed": "failed",
    "lapsed": "freshness_lapsed",
    "warned": "freshness_warned",
    "restored": "freshness_restored",
    "exhausted": "refresh_exhausted",
    "recovered": "refresh_recovered",
    "check_passed": "check_passed",
    "check_failed": "check_failed",
}
_CHANGES: dict[str, str] = {kind: change for change, kind in _TYPES.items()}
_FIELDS = ("asset", "partition", "event", "seq", "run", "check")


class AssetSensor(Sensor):
    """Asks for a run of `target` for each event of an asset: at once, since the commit of the event wakes it.

    `asset`, or `assets`: whose events, by themselves or by name. `on`: which: "materialized", "failed" (for good),
    "lapsed", "warned", "restored" (of its freshness), "exhausted" (all that `on_lapse` may try has failed), "recovered"
    (after that), "check_passed", "check_failed" (each check by itself; of one that looks at all partitions together the
    event has none). The run key is `ASSET@SEQ`, the event's number, so that each
    event is answered once by each target, through restarts and rollbacks, also where several sensors ask.
    `start`: "now", or "all" that ever happened.

    `partition`: the run is for the partition of the event (a key that has been deleted since is passed over). False
    for a target without partitions; a target given by itself says so itself. `params`: what of the event becomes
    parameters of the run: of asset, partition, event (as in `on`), seq, run, check (its name). `map(event)`, maybe an
    `async def`, takes a `freshet.Happened` and returns the `RunRequest`s and what else a sensor may yield instead, or
    None.

    What the target makes must not be what it listens to: that is refused, also across several sensors. An asset that
    is to follow another needs no sensor: see `deps=` and `AutomationCondition`. `interval`: of the full look, which
    finds the same events where a wake was lost. `debounce`, `batch`, `throttle`, `overlap`: see `freshet.Sensor`.
    """

    def __init__(
        self,
        name: str,
        *,
        asset: str | Asset | None = None,
        assets: Iterable[str | Asset] = (),
        on: Change | Iterable[Change] = "materialized",
        target: object = None,
        partition: bool = True,
        params: Iterable[str] = (),
        map: Callable[[Happened], Mapped | Awaitable[Mapped]] | None = None,
        start: Start = "now",
        interval: Duration = "30s",
        timeout: Duration = "60s",
        debounce: Duration | None = None,
        batch: Batch | int | Duration | None = None,
        throttle: str | None = None,
        overlap: Literal["allow", "skip", "queue", "latest", "cancel"] = "allow",
    ) -> None:
        several: list[str | Asset] = [assets] if isinstance(assets, str | Asset) else list(assets)
        given = [*([] if asset is None else [asset]), *several]
        if not given:
            raise DefinitionError(f"{name}: whose events?", hint='give asset="orders", or assets=[...]')
        if target is None and map is None:
            raise DefinitionError(f"{name}: what is to be done?", hint="give a target=, or map= a function")
        if map is not None and not callable(map):
            raise DefinitionError(f"{name}: map= takes a function, not {map!r}", hint="map=lambda event: RunRequest()")
        changes = checked_names(f"{name}: on", on, _TYPES)
        self.listens = Listen([_TYPES[change] for change in changes], given)
        self._refuse(name, target.spec.name if isinstance(target, Asset | Job) else target)
        self._map = map
        self._start: Start = checked_start(name, start)
        whole = isinstance(target, Job) or (isinstance(target, Asset) and target.spec.partitions is None)
        self._partition = partition and not whole
        chosen = [params] if isinstance(params, str) else [*params]
        self._params = checked_names(f"{name}: params", chosen, _FIELDS) if chosen else ()
        super().__init__(
            name,
            target=target,
            interval=interval,
            timeout=timeout,
            options={"assets": list(self.listens.assets or ()), "on": list(changes), "start": start},
            listens=self.listens,
            gives=self._params if map is None else None,
            debounce=debounce,
            batch=batch,
            throttle=throttle,
            overlap=overlap,
        )

    async def evaluate(self, ctx: SensorContext) -> AsyncIterator[Result]:
        """Answer what was committed since the last look, in order."""
        async for events in batches(ctx, self.listens, self._start):
            for event in events:
                for result in await self._results(event):
                    yield result

    async def _results(self, event: Happened) -> list[Result]:
        if self._map is None:
            if self._partition and not event.live:
                return []
            key = event.partition if self._partition else None
            fields: dict[str, Any] = {"asset": event.asset, "partition": event.partition}
            fields |= {"event": _CHANGES[event.type], "seq": event.seq, "run": event.run}
            data: Any = event.data
            fields["check"] = data.get("check") if event.type in ("check_passed", "check_failed") else None
            request = RunRequest(partition=key, params={name: fields[name] for name in self._params})
            return self._keyed([request], event)
        mapped: Any = self._map(event)
        if inspect.isawaitable(mapped):
            mapped = await mapped
        if mapped is None:
            return []
        if isinstance(mapped, str | bytes | Mapping):
            raise TypeError(f"map returned {mapped!r:.100} ({type(mapped).__name__}); return RunRequests, or None")  # pyright: ignore[reportUnknownArgumentType]
        single = isinstance(mapped, RunRequest | AddPartitions | DeletePartitions | Report)
        return self._keyed([mapped] if single else list(cast("Iterable[Result]", mapped)), event)

    def _keyed(self, results: list[Result], event: Happened) -> list[Result]:
        """Each run with a key of its own: where `map` gave none, the event's, counted from the second on."""
        keyed: list[Result] = []
        for number, one in enumerate(results, 1):
            if isinstance(one, RunRequest):
                self._refuse(self.name, one.target)
                own = f"{event.asset}@{event.seq}" + (f"#{number}" if number > 1 else "")
                one = replace(one, run_key=own if one.run_key is None else one.run_key, cause=one.cause or event)
            keyed.append(one)
        return keyed

    def _refuse(self, name: str, target: object) -> None:
        """Raises `DefinitionError` for a run of what is listened to: it would never end."""
        if target in (self.listens.assets or ()):
            raise DefinitionError(
                f"{name}: it listens to {target!r}, and asks for runs of it",
                hint="give another target=; to try again, retries=; to refresh it, AutomationCondition.on_lapse()",
            )
