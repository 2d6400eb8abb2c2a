"""The engine: the loops, put together, started and stopped in order. What each decides is in its own file."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import anyio
import structlog

from freshet.definitions.executor import Lane
from freshet.definitions.limits import Limits
from freshet.definitions.retention import Retention
from freshet.engine.answers import EngineAnswers
from freshet.engine.automation import Automation
from freshet.engine.automator import Automator
from freshet.engine.backfill.desk import BackfillDesk
from freshet.engine.backfill.loop import Backfills
from freshet.engine.bus import Bus
from freshet.engine.calendar import Calendar
from freshet.engine.chains import say_stopped
from freshet.engine.clock import Clock
from freshet.engine.freshness import FreshnessBook
from freshet.engine.hand import SensorDesk
from freshet.engine.heap import DueHeap
from freshet.engine.hosting import Hosting, MakeHost
from freshet.engine.inbox import Inbox
from freshet.engine.inbox_desk import InboxDesk
from freshet.engine.instruments import InForce, Instruments
from freshet.engine.launcher import Launcher
from freshet.engine.limits import resume_limits
from freshet.engine.listening import Listening
from freshet.engine.looplag import LoopHolds
from freshet.engine.naming import carry_on
from freshet.engine.offences import Offences
from freshet.engine.partitions.graph import PartitionGraph
from freshet.engine.partitions.sets import Sets
from freshet.engine.pending import Pending
from freshet.engine.refresher import Refresher
from freshet.engine.reloader import ReadPlugins, Reloader
from freshet.engine.reread import Reread
from freshet.engine.retirer import Retirer
from freshet.engine.staging import Staging, finish_stages
from freshet.engine.sweeper import Sweeper
from freshet.engine.takeover import take_over
from freshet.engine.ticks import TickLoop
from freshet.engine.timetable import Timetable
from freshet.engine.work import Work
from freshet.engine.zonewatch import ZoneWatch
from freshet.errors import DefinitionError, FreshetError
from freshet.executors.apart import MakeExecutors
from freshet.executors.base import CodeHost, LoadReport
from freshet.secrets import Secrets
from freshet.store.assets import asset_bits, automation_seq, condition_chunks
from freshet.store.chains import keep_max_chain
from freshet.store.definitions import register_definitions
from freshet.store.events import events_after, last_seq
from freshet.store.freshness import freshness_rows
from freshet.store.inbox import inbox_counts
from freshet.store.overlap import active_runs, overlapping_runs
from freshet.store.records import Event, SetState
from freshet.store.sets import read_sets
from freshet.store.steps import queued_runs, queued_steps
from freshet.store.store import Store
from freshet.store.tickers import next_tick_id, register_tickers

__all__ = ["Engine", "EngineOptions"]

_EVERYTHING = 2**62
_LAST_WRITES = 2.0
"""Seconds at the end for what is still to be written; what a full disk keeps out is found at the next start."""

_log = structlog.get_logger("freshet.engine")


@dataclass(frozen=True)
class EngineOptions:
    """`workers`: steps at once; `lanes`: how many at once of those that take no worker, by lane. `grace`: seconds that
    running work gets at shutdown. `interruptions`: how often a run may be cut off by the end of daemon, host or machine
    before it fails. `timezone`: for schedules and time partitions that name none. `inbox_max`: how many deliveries to
    hooks may wait. `root`: what the files of secrets are relative to. `max_chain`: how many automatic runs may lead to
    one. `limits`: what else limits what is under way at once. `retention`: what history is kept (None: all), of which
    the files are in `state_dir`."""

    workers: int = 2
    lanes: Mapping[Lane, int] = field(default_factory=dict[Lane, int])
    grace: float = 6.0
    interruptions: int = 10
    timezone: str = "UTC"
    inbox_max: int = 100_000
    root: Path = Path()
    max_chain: int = 250
    values_dir: Path | None = None
    limits: Limits = field(default_factory=Limits)
    retention: Retention | None = None
    state_dir: Path | None = None


class Engine:
    """One engine over one store. `start()` returns when everything is in force; `stop()` leaves the store open."""

    def __init__(
        self,
        *,
        store: Store,
        make_host: MakeHost,
        clock: Clock,
        options: EngineOptions,
        make_executors: MakeExecutors = lambda answers: {},
        rng: random.Random | None = None,
        read: ReadPlugins | None = None,
    ) -> None:
        self.options = options
        self.state: Literal["starting", "ready", "stopping"] = "starting"
        self.started_at = clock.now()
        self.load_report: LoadReport | None = None
        self._starting: CodeHost | None = None
        self.hosting, self.reloader = Hosting(self, make_host), Reloader(self, read)
        self.offences, self.loop_holds = Offences(self), LoopHolds()
        self.reread: Callable[[], Awaitable[Reread]] | None = None
        """Reads the settings again."""
        self._make_executors = make_executors
        self.clock = clock
        self._store = store
        self._rng = rng or random.Random()

    # --- start ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the plugins, recover what an earlier daemon left, and begin.

        Raises `HostError` where the host cannot start, `DefinitionError` where the plugins are wrong.
        """
        self.answers = EngineAnswers(self)
        self._starting = host = self.hosting.make()
        report = self.load_report = await self.reloader.begin(host)
        if report.problems:
            await host.close(grace=0)
            raise DefinitionError(
                "\n".join(["the plugins cannot be put in force", *map(str, report.problems)]),
                hint="mend what is named; freshet check says whether all is well",
            )
        self._build(report, host)
        await self._recover(report)
        await host.open(workers=self.options.workers)
        await self._begin()

    def _build(self, report: LoadReport, host: CodeHost) -> None:
        in_force = InForce(report.definitions, PartitionGraph(report.definitions, Sets(report.definitions, {})), host)
        self.instruments = Instruments(
            clock=self.clock,
            heap=DueHeap(self.clock),
            store=self._store,
            bus=Bus(),
            work=Work(),
            in_force=in_force,
            rng=self._rng,
        )
        options = self.options
        self.launcher = Launcher(
            self.instruments, options.workers, options.lanes, limits=options.limits, values_dir=options.values_dir
        )
        self.staging = Staging(self.instruments, self.launcher)

    async def _recover(self, report: LoadReport) -> None:
        store, now = self._store, self.clock.now()
        for event in await store.write(partial(register_definitions, definitions=report.definitions, now=now)):
            _say_renumbered(event)
        await store.write(partial(keep_max_chain, most=self.options.max_chain))
        await finish_stages(store)
        sets = await store.read(read_sets)
        self.instruments.in_force.partitions = PartitionGraph(report.definitions, Sets(report.definitions, sets))
        await resume_limits(self.instruments, self.launcher, self.options.limits)
        self.launcher.executors = self._make_executors(self.answers)
        recovery = await take_over(
            self.instruments, self.launcher, budget=self.options.interruptions, sources=report.sources
        )
        if recovery.requeued or recovery.failed:
            _log.info("recovered", queued_again=recovery.requeued, failed=list(recovery.failed))
        sensors = [spec.name for spec in report.definitions.sensors]
        schedules = [spec.name for spec in report.definitions.schedules]
        next_id = await store.read(next_tick_id)
        self.ticks = TickLoop(self.instruments, self.launcher, self.staging, next_tick_id=next_id)
        rows = await store.write(partial(register_tickers, kind="sensor", names=sensors))
        self.ticks.adopt(report.definitions, rows)
        secrets = Secrets(self.options.root)
        self.inbox = Inbox(self.instruments, self.ticks, secrets, limit=self.options.inbox_max)
        self.inbox.adopt(report.definitions, await store.read(inbox_counts))
        self.listening = Listening(self.instruments, self.ticks)
        self.listening.adopt(report.definitions)
        self.timetable = Timetable(self.instruments, self.launcher, take_id=self.ticks.take_id)
        rows = await store.write(partial(register_tickers, kind="schedule", names=schedules))
        self.timetable.adopt(report.definitions, rows)
        self.calendar, self.retirer = Calendar(self.instruments), Retirer(self.instruments)
        self.sweeper = Sweeper(
            self.instruments, self.options.retention, limits=self.options.limits, state_dir=self.options.state_dir
        )
        self.zones = ZoneWatch(self.instruments, self._rules_change)
        self.pending = Pending(self.instruments, self.launcher)
        await self.pending.load(self.ticks.sensors.values())
        self.ticks.commits.waits = self.pending.came
        self.ticks.code_of = self.offences.code_of
        self.desk = SensorDesk(self.instruments, self.ticks, self.inbox, self.pending)
        self.inbox_desk = InboxDesk(self.instruments, self.desk, self.inbox)
        self.backfills = Backfills(self.instruments, self.launcher)
        self.backfill_desk = BackfillDesk(self.instruments, self.launcher, self.backfills)
        await self.backfills.load()
        await self._load_conditions(report, sets)

    async def _load_conditions(self, report: LoadReport, sets: Mapping[str, SetState]) -> None:
        store = self._store
        seq = await store.read(automation_seq)
        freshness = await store.read(freshness_rows)
        automation = Automation(report.definitions)
        automation.load(
            bits=await store.read(asset_bits),
            sets=sets,
            chunks=await store.read(condition_chunks),
            freshness=freshness,
            seq=seq,
            behind=await store.read(partial(events_after, seq=seq, limit=_EVERYTHING)),
        )
        self.automator = Automator(self.instruments, self.launcher, automation, seq=seq)
        self.backfills.follow(self.automator)
        self.refresher = Refresher(self.instruments, FreshnessBook(report.definitions, freshness))

    async def _begin(self) -> None:
        bus, store = self.instruments.bus, self._store
        seen = await store.read(last_seq)
        bus.listen(self.instruments.in_force.published)
        bus.listen(say_stopped)
        bus.listen(self.automator.published)
        bus.listen(lambda events: self.refresher.published(events))
        bus.listen(self.launcher.published)
        bus.listen(self.launcher.sub_runs.published)
        bus.listen(lambda events: self.calendar.published(events))
        bus.listen(lambda events: self.retirer.published(events))
        bus.listen(self.backfills.published)
        bus.listen(self.listening.published)
        self.instruments.heap.start()
        self.launcher.queue.open = self.instruments.in_force.host is not None  # it may have been lost meanwhile
        self.timetable.resume_lines(await store.read(partial(active_runs, schedules=self.timetable.in_line)))
        queueing = [
            f"sensor:{one.spec.name}" for one in self.ticks.sensors.values() if one.spec.flow.overlap == "queue"
        ]
        self.timetable.resume_lines(await store.read(partial(overlapping_runs, origins=queueing)))
        self.launcher.load(await store.read(queued_runs), await store.read(queued_steps))
        self.refresher.start()
        await self.automator.start(seen)
        self.calendar.start()
        self.retirer.start()
        self.ticks.start()
        self.timetable.start()
        self.zones.start()
        self.backfills.start()
        self.pending.start()
        self.sweeper.start()
        self.state = "ready"
        self.instruments.work.spawn(carry_on(self))
        self.offences.pardon()

    def _rules_change(self) -> Callable[[], None]:
        """The zones' rules are about to be read again."""
        local_times = self.timetable.local_times()

        def changed() -> None:
            in_force = self.instruments.in_force
            in_force.partitions = PartitionGraph(in_force.definitions, in_force.partitions.sets)
            self.timetable.rezoned(local_times)
            self.calendar.rezoned()
            self.refresher.look_again()
            self.automator.look_again()

        return changed

    @property
    def problem(self) -> str | None:
        """Why nothing can run now."""
        return self.hosting.problem

    @property
    def needs_restart(self) -> bool:
        """Whether that will not go by itself."""
        return self.hosting.needs_restart

    # --- stop -----------------------------------------------------------------------------------------------

    async def failed(self) -> None:
        """Wait for an engine bug and raise it; returns never otherwise."""
        failure = self.instruments.work.failure
        await asyncio.wait((failure,))  # a cancelled `await failure` would cancel it, and with it the wait at shutdown
        try:
            failure.result()
        except FreshetError as error:
            raise RuntimeError("an error that no loop of the engine expects; please report it") from error

    async def settled(self) -> None:
        """Return when nothing is under way; what waits for a moment in time does not count."""
        await self.instruments.work.idle()

    async def stop(self, *, hurry: anyio.Event | None = None) -> None:
        """No new ticks or runs; what runs gets `grace` seconds (none once `hurry` is set); the rest is recorded
        interrupted."""
        begun, self.state = self.state == "ready", "stopping"
        if not begun:
            if self._starting is not None:
                await self._starting.close(grace=0)
            return
        await self.reloader.stop()
        self.ticks.stop()
        self.timetable.stop()
        self.calendar.stop()
        self.retirer.stop()
        self.sweeper.stop()
        self.zones.stop()
        self.refresher.stop()
        self.automator.stop()
        self.backfills.stop()
        self.pending.stop()
        self.launcher.queue.open = False
        await self.hosting.watch_no_more()
        self.ticks.cancel()
        await self.launcher.leave(lasting=True)
        await self._wait_for_work(hurry or anyio.Event())
        await self.launcher.leave(lasting=False)
        await self.hosting.close()
        with anyio.move_on_after(_LAST_WRITES):
            await self.settled()
            await self.ticks.write_counts()
            await self.automator.save()
        self.instruments.heap.stop()
        if self.instruments.work.failure.done():
            await self.failed()

    async def _wait_for_work(self, hurry: anyio.Event) -> None:
        with anyio.move_on_after(self.options.grace):
            async with anyio.create_task_group() as group:

                async def cut_short() -> None:
                    await hurry.wait()
                    group.cancel_scope.cancel()

                group.start_soon(cut_short)
                await self.settled()
                group.cancel_scope.cancel()


def _say_renumbered(event: Event) -> None:
    data: Any = event.data or {}
    renumbered: dict[str, str] = data.get("renumbered", {}) if event.type == "definitions_loaded" else {}
    for name, kept in renumbered.items():
        _log.warning("a partition set means something else now: its assets begin without state", set=name, kept_as=kept)
