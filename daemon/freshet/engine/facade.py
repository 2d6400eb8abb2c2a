"""The engine's face to HTTP: `control.Control`, implemented."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from freshet import __version__
from freshet.definitions.graph import Definitions
from freshet.definitions.names import nearest_hint
from freshet.definitions.outcome import Json
from freshet.engine.automation import AssetCounts
from freshet.engine.backfill.active import BackfillView
from freshet.engine.backfill.select import BackfillRequest
from freshet.engine.blocked import Blocked, blocked
from freshet.engine.bus import Subscription
from freshet.engine.check_desk import CheckDesk
from freshet.engine.control import (
    BackfillChange,
    Door,
    EngineStatus,
    HookView,
    ReplayReport,
    RollbackReport,
    ScheduleView,
    SensorState,
    TickReport,
)
from freshet.engine.engine import Engine
from freshet.engine.inbox_desk import Chosen
from freshet.engine.partitions.page import PartitionsQuery, page_of
from freshet.engine.pieces import key_pieces
from freshet.engine.plugins import PluginView
from freshet.engine.queue_desk import QueueDesk
from freshet.engine.reloader import Reloaded
from freshet.engine.requests import (
    call_job,
    check_partitions,
)
from freshet.engine.rollback import roll_back
from freshet.engine.run_desk import RunDesk
from freshet.engine.why import WhyView, why
from freshet.errors import FreshetError, UnknownName
from freshet.executors.base import ItemRef, LoadReport
from freshet.store.records import ImportedCheck, PartitionDelta, ReportedMaterialization, RunRow
from freshet.store.store import Store

__all__ = ["EngineControl"]

Method = TypeVar("Method", bound=Callable[..., Any])


def _loud(method: Method) -> Method:
    """A bug on the way of a change ends the engine, as it does in the engine's own loops: what was committed and not
    launched would stay started for ever. Who asked gets the error too."""

    @functools.wraps(method)
    async def loud(self: EngineControl, *args: Any, **kwargs: Any) -> Any:
        try:
            return await method(self, *args, **kwargs)
        except FreshetError:
            raise
        except Exception as error:
            self.fail(error)
            raise

    return cast("Method", loud)


class EngineControl:
    """See `control.Control` for what each method means."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self._engine = engine
        self._store = store

    @functools.cached_property
    def _runs(self) -> RunDesk:
        """Of an engine that has started."""
        return RunDesk(self._engine.instruments, self._engine.launcher)

    @property
    def store(self) -> Store:
        """For reads."""
        return self._store

    @property
    def definitions(self) -> Definitions:
        """In force."""
        return self._engine.instruments.in_force.definitions

    @property
    def load_report(self) -> LoadReport:
        """Of the last load."""
        report = self._engine.load_report
        assert report is not None, "the engine has started"
        return report

    async def reload(self) -> Reloaded:
        """Put the plugins in force as they are now."""
        return await self._engine.reloader.reload()

    def plugins(self) -> tuple[PluginView, ...]:
        """Each file by itself."""
        return tuple(self._engine.reloader.plugins.values())

    def fail(self, error: Exception) -> None:
        """End the engine with this error."""
        self._engine.instruments.work.fail(error)

    def status(self) -> EngineStatus:
        """Now."""
        engine = self._engine
        if engine.state == "starting":
            return starting(engine)
        host = engine.instruments.in_force.host
        return EngineStatus(
            state=engine.state,
            version=__version__,
            definitions_version=self.definitions.version,
            started_at=engine.started_at,
            now=engine.instruments.clock.now(),
            queued=len(engine.launcher.queue) + len(engine.launcher.retry_at),
            running=len(engine.launcher.running),
            workers=engine.launcher.queue.capacity,
            refused_ticks=engine.ticks.refused,
            host=None if host is None else host.status(),
            loops={"automation": engine.automator.silent_for(), "backfills": engine.backfills.silent_for()},
            problem=engine.problem or self._store.problem,
            needs_restart=engine.needs_restart,
            loop_holds=engine.loop_holds,
            held_back=next((str(one) for one in engine.reloader.refused), None),
        )

    def sensors(self) -> tuple[SensorState, ...]:
        """All, by name."""
        return self._engine.desk.states()

    @property
    def door(self) -> Door | None:
        """While it takes work."""
        return self._engine.inbox if self._engine.state == "ready" else None

    async def hooks(self) -> tuple[HookView, ...]:
        """All, by path."""
        return await self._engine.inbox_desk.views()

    @_loud
    async def replay(
        self,
        sensor: str,
        *,
        ids: Sequence[int] | None = None,
        since: float | None = None,
        until: float | None = None,
        dry_run: bool = False,
        again: bool = False,
    ) -> ReplayReport:
        """Let kept deliveries wait again."""
        chosen = Chosen(ids, since, until)
        return await self._engine.inbox_desk.replay(sensor, chosen, dry_run=dry_run, again=again)

    def schedules(self) -> tuple[ScheduleView, ...]:
        """All, by name."""
        return self._engine.timetable.views()

    def asset_counts(self, asset: str) -> AssetCounts:
        """Counted in bitmaps."""
        return self._engine.automator.counts(asset)

    def partition_count(self, set: str) -> int:
        """Counted in a bitmap."""
        return len(self._engine.instruments.in_force.partitions.sets.named(set))

    def partitions(self, set: str, query: PartitionsQuery) -> tuple[int, ...]:
        """Numbers out of bitmaps."""
        if query.asset is not None and query.state is not None:
            return page_of(self._engine.automator.in_state(query.asset, query.state), query)
        return page_of(self._engine.instruments.in_force.partitions.sets.named(set), query)

    def blocked(self, run_id: int) -> Blocked | None:
        """Why no step of a run is under way."""
        return blocked(self._engine, run_id)

    async def why(self, asset: str, key: str | None = None) -> WhyView:
        """Its condition as it stands, and what became of it."""
        return await why(self._engine, asset, key)

    @_loud
    async def materialize(
        self,
        assets: Sequence[str],
        *,
        key: str | None = None,
        upstream: bool = False,
        downstream: bool = False,
        priority: int = 0,
        tags: dict[str, str] | None = None,
    ) -> tuple[int, ...]:
        """Admit one run of the selection, in dependency order."""
        run = self._runs.of_assets(
            assets, key, upstream=upstream, downstream=downstream, priority=priority, tags=tags or {}
        )
        return (await self._runs.admit(run),)

    @_loud
    async def report_made(self, report: ReportedMaterialization) -> bool:
        """Commit a materialization that happened elsewhere."""
        return await self._runs.report(report)

    @_loud
    async def verify(self, asset: str, *, key: str | None = None, checks: Sequence[str] = ()) -> int:
        """Admit one run of checks alone."""
        return await CheckDesk(self._engine.instruments, self._runs.admit).verify(asset, key, checks)

    @_loud
    async def record_checks(self, results: Sequence[ImportedCheck]) -> int:
        """Keep results from elsewhere."""
        return await CheckDesk(self._engine.instruments, self._runs.admit).record(results)

    async def clear_cache(self, asset: str, key: str | None = None) -> int:
        """Forget what was made."""
        return await self._engine.launcher.cache.clear(asset, key)

    @_loud
    async def call(
        self, job: str, params: dict[str, Json], *, priority: int = 0, tags: dict[str, str] | None = None
    ) -> int:
        """Admit one run of a job."""
        run = call_job(self.definitions, job, params, priority=priority, tags=tags or {})
        return await self._runs.admit(run)

    @_loud
    async def tick(self, sensor: str, *, dry_run: bool = False, cursor: Json = ..., full: bool = True) -> TickReport:
        """Tick now and wait."""
        return await self._engine.desk.tick(sensor, dry_run=dry_run, cursor=cursor)

    @_loud
    async def set_cursor(self, sensor: str, cursor: Json) -> SensorState:
        """Replace the cursor."""
        return await self._engine.desk.set_cursor(sensor, cursor)

    @_loud
    async def roll_back(self, sensor: str, to: int, *, again: bool = False, dry_run: bool = False) -> RollbackReport:
        """Back to the end of a tick."""
        engine = self._engine
        ticker = engine.desk.find(sensor)
        return await roll_back(engine.instruments, engine.ticks, ticker, to=to, again=again, dry_run=dry_run)

    @_loud
    async def pause(self, sensor: str) -> SensorState:
        """Stop ticking."""
        return await self._engine.desk.pause(sensor)

    @_loud
    async def resume(self, sensor: str) -> SensorState:
        """Tick again."""
        return await self._engine.desk.resume(sensor)

    @_loud
    async def pause_schedule(self, schedule: str) -> ScheduleView:
        """Fire nothing."""
        return await self._engine.timetable.pause(self._schedule(schedule))

    @_loud
    async def resume_schedule(self, schedule: str) -> ScheduleView:
        """Fire again."""
        return await self._engine.timetable.resume(self._schedule(schedule))

    def _schedule(self, name: str) -> str:
        if name not in self._engine.timetable.schedules:
            raise UnknownName(f"there is no schedule {name!r}", hint=nearest_hint(name, self.definitions.schedule))
        return name

    @_loud
    async def add_partitions(self, set: str, keys: dict[str, dict[str, Json]]) -> int:
        """Returns how many were new."""
        return await self._change(PartitionDelta(set, add=tuple(keys.items())))

    @_loud
    async def delete_partitions(self, set: str, keys: Sequence[str]) -> int:
        """Returns how many were there."""
        return await self._change(PartitionDelta(set, delete=tuple(keys)))

    async def _change(self, delta: PartitionDelta) -> int:
        async def pieces() -> AsyncIterator[PartitionDelta]:
            for (piece,) in key_pieces((delta,)):
                yield check_partitions(self.definitions, piece)
                await asyncio.sleep(0)

        return await self.change_partitions(delta.set, pieces())

    @_loud
    async def change_partitions(self, set: str, deltas: AsyncIterator[PartitionDelta]) -> int:
        """Returns how many keys were new, or were there to delete."""
        check_partitions(self.definitions, PartitionDelta(set))
        return await self._engine.staging.change(deltas)

    @_loud
    async def cancel(self, run_id: int, item: ItemRef | None = None) -> RunRow:
        """Cancel a queued or running run, or an item of it."""
        if item is None:
            await self._runs.cancel(run_id)
        else:
            self._engine.launcher.cancel_item(run_id, item)
        return await self._runs.find(run_id)

    @_loud
    async def retry(self, run_id: int, *, whole: bool = False) -> int:
        """Admit one run of what another did not make, or of all of it."""
        return await self._runs.again(run_id, whole=whole)

    @_loud
    async def begin_backfill(self, request: BackfillRequest) -> BackfillView:
        """Begin a backfill."""
        return await self._engine.backfill_desk.begin(request)

    async def backfill(self, backfill_id: int) -> BackfillView:
        """As it stands."""
        return await self._engine.backfill_desk.view(backfill_id)

    async def backfills(self, *, limit: int = 50, before: int | None = None) -> tuple[BackfillView, ...]:
        """Newest first."""
        return await self._engine.backfill_desk.views(limit=limit, before=before)

    @_loud
    async def change_backfill(self, backfill_id: int, change: BackfillChange) -> BackfillView:
        """Pause, resume, cancel, or begin anew what it left unmade."""
        return await self._engine.backfill_desk.change(backfill_id, change)

    @property
    def queue(self) -> QueueDesk:
        """Pools, and the priority of runs."""
        return QueueDesk(self._engine)

    def subscribe(self) -> AbstractContextManager[Subscription]:
        """All events from now on."""
        return self._engine.instruments.bus.subscribe()


def starting(engine: Engine) -> EngineStatus:
    """Before the engine has loops."""
    return EngineStatus(
        state="starting",
        version=__version__,
        definitions_version="",
        started_at=engine.started_at,
        now=engine.clock.now(),
        queued=0,
        running=0,
        workers=engine.options.workers,
        refused_ticks=0,
        host=None,
        problem=engine.problem,
    )
