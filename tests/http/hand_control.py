"""An engine turned by hand: the real store and bus, sensors in memory, and runs that end when a test says so."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import anyio
import anyio.from_thread

from freshet.configuration import Settings, load_settings
from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.job import JobSpec
from freshet.definitions.names import nearest_hint
from freshet.definitions.outcome import Json
from freshet.definitions.partitions import DynamicPartitions, StaticPartitions
from freshet.definitions.sensor import SensorSpec
from freshet.definitions.source import Source
from freshet.engine.again import run_again
from freshet.engine.automation import AssetCounts
from freshet.engine.backfill.active import BackfillView
from freshet.engine.backfill.select import BackfillRequest, check_request
from freshet.engine.blocked import Blocked
from freshet.engine.bus import Bus, Subscription
from freshet.engine.check_desk import imported, verification
from freshet.engine.control import (
    BackfillChange,
    EngineStatus,
    Hook,
    HookView,
    ReplayReport,
    RollbackReport,
    ScheduleView,
    SensorState,
    TickReport,
)
from freshet.engine.inbox import InboxFull
from freshet.engine.partitions.page import PartitionsQuery, page_of
from freshet.engine.plugins import PluginView
from freshet.engine.queue_desk import QueueDesk
from freshet.engine.reloader import Reloaded
from freshet.engine.requests import call_job, check_partitions, find_asset, run_of_assets
from freshet.engine.why import WhyView
from freshet.errors import Conflict, UnknownName
from freshet.executors.base import HostStatus, ItemRef, LoadReport
from freshet.http.serve import serve
from freshet.http.sockets import Sockets, bind
from freshet.store.admission import admit
from freshet.store.assets import asset_bits
from freshet.store.caching import clear_cache
from freshet.store.checks import record_checks
from freshet.store.definitions import register_definitions
from freshet.store.finishing import finish_step
from freshet.store.inbox import keep_deliveries
from freshet.store.partitions import change_partitions
from freshet.store.queries import run as read_run
from freshet.store.records import (
    ImportedCheck,
    Kept,
    NewDelivery,
    PartitionDelta,
    ReportedMaterialization,
    RunRow,
    RunToAdmit,
    StepResult,
)
from freshet.store.reports import report as commit_report
from freshet.store.sets import read_sets
from freshet.store.steps import cancel_run, start_steps
from freshet.store.store import Store

NOW = 1_800_000_000.0
T = TypeVar("T")

BATCHES = DynamicPartitions("batches")
REGIONS = StaticPartitions(["north", "south"], name="regions")
DEFINITIONS = Definitions(
    assets=(
        AssetSpec("raw_orders", partitions=BATCHES, source=Source("/plugins/orders.py", 12), doc="As they came."),
        AssetSpec("clean_orders", deps=(DepSpec("raw_orders", "raw_orders"),), partitions=BATCHES),
        AssetSpec("sales", deps=(DepSpec("clean_orders"),), freshness=FreshnessSpec(60.0, 30.0)),
        AssetSpec("by_region", partitions=REGIONS),
    ),
    jobs=(JobSpec("notify", parameters={"properties": {"order_id": {}, "text": {}}, "required": ["order_id"]}),),
    sensors=(SensorSpec("landing", "FileSensor", target="raw_orders"), SensorSpec("shaky", "sensor")),
    partitions=(BATCHES,),
    version="abc123",
)


def _state(name: str) -> SensorState:
    return SensorState(
        name=name,
        status="ok",
        in_flight=False,
        due_at=NOW + 30,
        ticks=3,
        idle_ticks=2,
        failures=0,
        last_tick_at=NOW,
        last_error=None,
        isolated=False,
        cursor=None,
        revision=0,
    )


@dataclass(frozen=True)
class HandDoor:
    """A way in to the real store; nobody looks at what comes."""

    control: HandControl

    def hook(self, path: str) -> Hook | None:
        return self.control.taking.get(path)

    def secrets(self, hook: Hook) -> tuple[bytes, ...]:
        return self.control.secrets

    async def keep(self, new: NewDelivery) -> Kept:
        if self.control.full:
            raise InboxFull("it is full")
        (kept,) = await self.control.store.write(partial(keep_deliveries, deliveries=[new]))
        return kept


@dataclass
class HandControl:
    """Implements `Control`. `problem`, `needs_restart` and `state` are for tests to set."""

    store: Store
    definitions: Definitions = DEFINITIONS
    load_report: LoadReport = field(default_factory=lambda: LoadReport(DEFINITIONS))
    state: Literal["starting", "ready", "stopping"] = "ready"
    problem: str | None = None
    needs_restart: bool = False
    files: tuple[PluginView, ...] = ()
    reloaded: Reloaded = field(default_factory=lambda: Reloaded("unchanged", "1"))
    loops: dict[str, float | None] = field(default_factory=dict[str, float | None])
    bus: Bus = field(default_factory=Bus)
    states: dict[str, SensorState] = field(default_factory=lambda: {n: _state(n) for n in ("landing", "shaky")})
    report: TickReport | None = None
    fails: Exception | None = None
    watched: int = 0
    slots: int = 1
    asked: int = 0
    taking: dict[str, Hook] = field(default_factory=dict[str, Hook])
    secrets: tuple[bytes, ...] = ()
    full: bool = False

    def plugins(self) -> tuple[PluginView, ...]:
        return self.files

    async def reload(self) -> Reloaded:
        return self.reloaded

    def status(self) -> EngineStatus:
        return EngineStatus(
            state=self.state,
            version="1.2.3",
            definitions_version=self.definitions.version,
            started_at=NOW - 60,
            now=NOW,
            queued=0,
            running=0,
            workers=2,
            refused_ticks=0,
            host=HostStatus(7, "fork", {"shared": 8}, 2, 0),
            loops=self.loops,
            problem=self.problem,
            needs_restart=self.needs_restart,
        )

    def sensors(self) -> tuple[SensorState, ...]:
        return tuple(self.states[name] for name in sorted(self.states))

    @property
    def door(self) -> HandDoor | None:
        return HandDoor(self) if self.state == "ready" else None

    async def hooks(self) -> tuple[HookView, ...]:
        return tuple(HookView(one.sensor, one.intake, 0, None, 0, None) for one in self.taking.values())

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
        return ReplayReport(sensor, len(ids or ()), 0)

    def schedules(self) -> tuple[ScheduleView, ...]:
        return ()

    def asset_counts(self, asset: str) -> AssetCounts:
        with closing(sqlite3.connect(self.store.path)) as db:
            bits, sets = asset_bits(db).get(asset), read_sets(db)
        spec = self.definitions.asset[asset].partitions
        count = 1 if spec is None else len(sets[spec.name].live)
        if bits is None:  # nothing has happened to it
            return AssetCounts(count, 0, 0, 0)
        return AssetCounts(count, len(bits.materialized), len(bits.failed), len(bits.in_progress))

    def partition_count(self, set: str) -> int:
        with closing(sqlite3.connect(self.store.path)) as db:
            return len(read_sets(db)[set].live)

    def partitions(self, set: str, query: PartitionsQuery) -> tuple[int, ...]:
        with closing(sqlite3.connect(self.store.path)) as db:
            return page_of(read_sets(db)[set].live, query)

    @property
    def queue(self) -> QueueDesk:
        raise Conflict("no queue is kept by hand")

    def blocked(self, run_id: int) -> Blocked | None:
        self.asked += 1
        return Blocked("executor", "process", self.problem or "waits for a slot (2 of 2 in use)")

    async def why(self, asset: str, key: str | None = None) -> WhyView:
        find_asset(self.definitions, asset)
        raise Conflict("no conditions are evaluated by hand")

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
        for name in assets:
            find_asset(self.definitions, name)
        names = self.definitions.select(assets, upstream=upstream, downstream=downstream)
        run = run_of_assets(self.definitions, names, key=key, origin="manual", now=NOW, tags=tags, priority=priority)
        return (await self._admit(run),)

    async def report_made(self, report: ReportedMaterialization) -> bool:
        done = await self.store.write(partial(commit_report, reported=report, now=NOW))
        self.bus.publish(done.events)
        return done.counted

    async def verify(self, asset: str, *, key: str | None = None, checks: Sequence[str] = ()) -> int:
        return await self._admit(verification(self.definitions, asset, checks, key=key, now=NOW))

    async def record_checks(self, results: Sequence[ImportedCheck]) -> int:
        some = [imported(self.definitions, one, NOW) for one in results]
        self.bus.publish(await self.store.write(partial(record_checks, results=some, now=NOW)))
        return len(some)

    async def clear_cache(self, asset: str, key: str | None = None) -> int:
        return await self.store.write(partial(clear_cache, asset=asset, key=key))

    async def call(
        self, job: str, params: dict[str, Json], *, priority: int = 0, tags: dict[str, str] | None = None
    ) -> int:
        return await self._admit(call_job(self.definitions, job, params, priority=priority, tags=tags or {}))

    async def _admit(self, run: RunToAdmit) -> int:
        if self.fails is not None:
            raise self.fails
        admitted, _ = await self.store.write(
            partial(admit, runs=[run], start=self.slots, needs={}, now=NOW, version=self.definitions.version)
        )
        self.bus.publish(admitted.events)
        return admitted.runs[0].run_id

    async def tick(self, sensor: str, *, dry_run: bool = False, cursor: Json = ..., full: bool = True) -> TickReport:
        before = self._find(sensor).cursor if cursor is ... else cursor
        return self.report or TickReport(sensor, "ok", dry_run, before, {"seen": 1})

    async def set_cursor(self, sensor: str, cursor: Json) -> SensorState:
        return self._change(sensor, cursor=cursor)

    async def roll_back(self, sensor: str, to: int, *, again: bool = False, dry_run: bool = False) -> RollbackReport:
        keys = ({"target": "raw", "key": "a", "run_key": "a.csv", "run_id": 7},)
        return RollbackReport(sensor, to, again, dry_run, 9, 4, 2, 1, keys, 1, 3)

    async def pause(self, sensor: str) -> SensorState:
        return self._change(sensor, status="paused", due_at=None)

    async def resume(self, sensor: str) -> SensorState:
        return self._change(sensor, status="ok", due_at=NOW)

    async def pause_schedule(self, schedule: str) -> ScheduleView:
        raise UnknownName(f"there is no schedule {schedule!r}")

    async def resume_schedule(self, schedule: str) -> ScheduleView:
        raise UnknownName(f"there is no schedule {schedule!r}")

    async def fail(self, sensor: str, error: Json) -> None:
        """The sensor has failed twice."""
        self._change(sensor, status="failing", failures=2, last_error=error)

    async def look_since(self, sensor: str, at: float) -> None:
        """The sensor looks."""
        self._change(sensor, in_flight=True, looking_since=at)

    def _find(self, sensor: str) -> SensorState:
        if sensor not in self.states:
            raise UnknownName(f"there is no sensor {sensor!r}", hint=nearest_hint(sensor, self.states))
        return self.states[sensor]

    def _change(self, sensor: str, **changes: Any) -> SensorState:
        state = self._find(sensor)
        self.states[sensor] = replace(state, revision=state.revision + 1, **changes)
        return self.states[sensor]

    async def add_partitions(self, set: str, keys: dict[str, dict[str, Json]]) -> int:
        return await self._partitions(PartitionDelta(set, add=tuple(keys.items())))

    async def delete_partitions(self, set: str, keys: Sequence[str]) -> int:
        return await self._partitions(PartitionDelta(set, delete=tuple(keys)))

    async def change_partitions(self, set: str, deltas: AsyncIterator[PartitionDelta]) -> int:
        check_partitions(self.definitions, PartitionDelta(set))
        changes = [delta async for delta in deltas]
        return sum([await self._partitions(delta) for delta in changes])

    async def _partitions(self, delta: PartitionDelta) -> int:
        checked = check_partitions(self.definitions, delta)
        count, events = await self.store.write(partial(change_partitions, delta=checked, now=NOW))
        self.bus.publish(events)
        return count

    async def cancel(self, run_id: int, item: ItemRef | None = None) -> RunRow:
        self.bus.publish(await self.store.write(partial(cancel_run, run_id=run_id, now=NOW)))
        row = await self.store.read(partial(read_run, run_id=run_id))
        if row is None:
            raise UnknownName(f"there is no run {run_id}")
        return row

    async def retry(self, run_id: int, *, whole: bool = False) -> int:
        row = await self.store.read(partial(read_run, run_id=run_id))
        if row is None:
            raise UnknownName(f"there is no run {run_id}")
        return await self._admit(run_again(self.definitions, row, NOW, whole=whole))

    async def begin_backfill(self, request: BackfillRequest) -> BackfillView:
        check_request(self.definitions, request)
        raise Conflict("nothing is backfilled by hand", hint="see tests/backfill")

    async def backfill(self, backfill_id: int) -> BackfillView:
        return await self.change_backfill(backfill_id, "pause")

    async def backfills(self, *, limit: int = 50, before: int | None = None) -> tuple[BackfillView, ...]:
        return ()

    async def change_backfill(self, backfill_id: int, change: BackfillChange) -> BackfillView:
        raise UnknownName(f"there is no backfill {backfill_id}", hint="freshet backfills lists them")

    @contextmanager
    def subscribe(self) -> Generator[Subscription]:
        with self.bus.subscribe() as stream:
            self.watched += 1
            try:
                yield stream
            finally:
                self.watched -= 1

    async def until_watched(self) -> None:
        """Return when somebody waits for events."""
        while not self.watched:  # a poll is enough for a test
            await anyio.sleep(0.001)

    async def requeue(self, run_id: int) -> None:
        """As after an interruption: the run waits for a slot."""
        change = "UPDATE runs SET state = 'queued' WHERE id = ?"
        await self.store.write(lambda db: (db.execute(change, (run_id,)), None)[1])

    async def until_asked(self, times: int) -> None:
        """Return when somebody has been told so many times more what a run waits for."""
        before = self.asked
        while self.asked < before + times:
            await anyio.sleep(0.001)

    async def begin(self, run_id: int) -> None:
        """Start the first step of a run, for the first time or again."""
        write = partial(start_steps, steps=[(run_id, 0)], needs={}, now=NOW, version=self.definitions.version)
        assert (await self.store.write(write)).steps

    async def back_off(self, run_id: int, at: float) -> None:
        """The first step of a run has failed, and waits for its next try."""
        result = StepResult(run_id, 0, 1, "failed", NOW + 1, error={"type": "E", "message": "m"}, retry_at=at)
        await self.store.write(partial(finish_step, result=result))

    async def end(
        self,
        run_id: int,
        outcome: Literal["succeeded", "failed"] = "succeeded",
        error: Json = None,
        attempt: int = 1,
    ) -> None:
        """End the first step of a run that is started."""
        result = StepResult(run_id, 0, attempt, outcome, NOW + 1, error=error)
        finished = await self.store.write(partial(finish_step, result=result))
        assert not finished.refused
        self.bus.publish(finished.events)


@dataclass
class Served:
    """A `HandControl` behind the real servers, on a loop of another thread."""

    control: HandControl
    settings: Settings
    sockets: Sockets
    ready: anyio.Event
    portal: anyio.from_thread.BlockingPortal
    stop: Callable[[], None]

    @property
    def socket(self) -> Path:
        return self.settings.socket_path

    def call(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Await something there."""
        return self.soon(function, *args).result(timeout=30)

    def soon(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> Future[T]:
        """Begin something there."""
        return self.portal.start_task_soon(function, *args)


@contextmanager
def served_in(folder: Path, *, state: Path | None = None, at_once: bool = True, http: str = "") -> Generator[Served]:
    """Serve for as long as the block lasts; `at_once`: the engine is ready from the start. `http`: more of `[http]`."""
    config = folder / "freshet.toml"
    state_dir = state or folder / "state"
    state_dir.mkdir(parents=True, exist_ok=True)
    config.write_text(f'state_dir = "{state_dir}"\nplugins_dir = "."\n[http]\nport = 0\n{http}\n')
    settings = load_settings(config)
    with anyio.from_thread.start_blocking_portal(backend_options={"use_uvloop": True}) as portal:
        store = portal.call(partial(Store.open, state_dir / "freshet.db", now=NOW))
        control = HandControl(store)
        portal.call(store.write, partial(register_definitions, definitions=DEFINITIONS, now=NOW))
        ready = portal.call(_event)
        sockets = bind(settings)
        serving = portal.call(_scope)
        running = portal.start_task_soon(_serve, serving, control, settings, ready, sockets)
        if at_once:
            portal.call(ready.set)

        def stop() -> None:
            portal.call(serving.cancel)
            running.result(timeout=10)

        try:
            yield Served(control, settings, sockets, ready, portal, stop)
        finally:
            stop()
            portal.call(store.close)


async def _event() -> anyio.Event:
    return anyio.Event()


async def _scope() -> anyio.CancelScope:
    return anyio.CancelScope()


async def _serve(
    scope: anyio.CancelScope, control: HandControl, settings: Settings, ready: anyio.Event, sockets: Sockets
) -> None:
    with scope:
        await serve(control, settings, ready=ready, sockets=sockets)
