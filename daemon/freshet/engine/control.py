"""What the outside (HTTP, and through it the CLI) may ask of the engine, and what it answers.

Reads that need no live state go to `store.queries`; everything that changes something, or that only the running
engine knows, is here. Every method raises `FreshetError`s with a hint: `UnknownName`, `Conflict`,
`PartitionKeyError`, `StoreUnavailable`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from freshet.definitions.graph import Definitions
from freshet.definitions.outcome import Json
from freshet.engine.automation import AssetCounts
from freshet.engine.backfill.active import BackfillView
from freshet.engine.backfill.select import BackfillRequest
from freshet.engine.blocked import Blocked
from freshet.engine.check_desk import CheckControl
from freshet.engine.partitions.page import PartitionsQuery
from freshet.engine.plugins import PluginView
from freshet.engine.queue_desk import QueueDesk
from freshet.engine.reloader import Reloaded
from freshet.engine.views import (
    EngineStatus,
    Hook,
    HookView,
    ReplayReport,
    RollbackReport,
    ScheduleView,
    SensorState,
    TickReport,
)
from freshet.engine.why import WhyView
from freshet.executors.base import ItemRef, LoadReport
from freshet.store.records import Event, Kept, NewDelivery, PartitionDelta, ReportedMaterialization, RunRow
from freshet.store.store import Store

__all__ = [
    "BackfillChange",
    "Control",
    "Door",
    "EngineStatus",
    "EventStream",
    "Hook",
    "HookView",
    "ReplayReport",
    "RollbackReport",
    "ScheduleView",
    "SensorState",
    "TickReport",
]


BackfillChange = Literal["pause", "resume", "cancel", "retry"]


class Door(Protocol):
    """The way in for deliveries."""

    def hook(self, path: str) -> Hook | None:
        """The hook at a path."""
        ...

    def secrets(self, hook: Hook) -> tuple[bytes, ...]:
        """Those of its secrets that are there now."""
        ...

    async def keep(self, new: NewDelivery) -> Kept:
        """Keep a delivery; returns when it, or the one that it repeats, is durable.

        Raises `engine.inbox.InboxFull`, and `StoreError` where the store cannot be written: nothing is acknowledged
        then.
        """
        ...


class EventStream(Protocol):
    """Committed events as they are published."""

    async def next(self) -> tuple[Event, ...]:
        """The next transaction's events. Who falls 10,000 events behind is told by `Conflict`: read on in the store."""
        ...


class Control(CheckControl, Protocol):
    """The engine, as HTTP sees it."""

    @property
    def store(self) -> Store:
        """For reads."""
        ...

    @property
    def definitions(self) -> Definitions:
        """In force."""
        ...

    @property
    def load_report(self) -> LoadReport:
        """Of the last load, also a failed one."""
        ...

    def plugins(self) -> tuple[PluginView, ...]:
        """Each plugin file by itself, by path."""
        ...

    async def reload(self) -> Reloaded:
        """Put the plugins in force as they are now, unless something is wrong with them."""
        ...

    def status(self) -> EngineStatus:
        """Now."""
        ...

    def sensors(self) -> tuple[SensorState, ...]:
        """All, by name."""
        ...

    @property
    def door(self) -> Door | None:
        """The way in for deliveries; None unless the engine takes work now."""
        ...

    async def hooks(self) -> tuple[HookView, ...]:
        """All hooks, by path."""
        ...

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
        """Let kept deliveries wait again: those named, or those received from `since` up to `until`. `again`: also what
        ran because of them may run once more."""
        ...

    def schedules(self) -> tuple[ScheduleView, ...]:
        """All, by name."""
        ...

    def asset_counts(self, asset: str) -> AssetCounts:
        """Of an asset's live partitions, how many there are and in which state, as the conditions see them now."""
        ...

    def partition_count(self, set: str) -> int:
        """How many partitions of a set are live."""
        ...

    def partitions(self, set: str, query: PartitionsQuery) -> tuple[int, ...]:
        """Numbers of live partitions of a set, ascending, as the conditions see them now."""
        ...

    def blocked(self, run_id: int) -> Blocked | None:
        """Why no step of a run is under way: 'waits for a slot (2 of 2 in use)'; None if one is, or it has ended."""
        ...

    async def why(self, asset: str, key: str | None = None) -> WhyView:
        """Why an asset is made, or is not; without a `key`, of a partitioned one the newest partition."""
        ...

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
        """Admit a run for each group of the selection that shares a partition; returns run ids once durable."""
        ...

    async def report_made(self, report: ReportedMaterialization) -> bool:
        """Commit a materialization that happened elsewhere; False if it is not later than what was known, so that
        nothing moved."""
        ...

    async def clear_cache(self, asset: str, key: str | None = None) -> int:
        """Forget what was made of an asset with `cache=`, or of one partition of it: what comes next is made anew, and
        what is under way is not kept. Returns how many makings were known."""
        ...

    async def call(
        self, job: str, params: dict[str, Json], *, priority: int = 0, tags: dict[str, str] | None = None
    ) -> int:
        """Admit a run of a job. Its parameters' names and plain types are checked here; whatever else its annotations
        say is, in the worker, before user code runs."""
        ...

    async def tick(self, sensor: str, *, dry_run: bool = False, cursor: Json = ..., full: bool = True) -> TickReport:
        """Tick now and wait for it. `cursor` (dry run only) replaces the remembered one; `...` keeps it."""
        ...

    async def set_cursor(self, sensor: str, cursor: Json) -> SensorState:
        """Replace the cursor; a tick in flight is refused when it ends."""
        ...

    async def roll_back(self, sensor: str, to: int, *, again: bool = False, dry_run: bool = False) -> RollbackReport:
        """Set cursor and ledger back to the end of the tick `to`. `again`: what ran since may run once more."""
        ...

    async def pause(self, sensor: str) -> SensorState:
        """Stop ticking; the cursor stays."""
        ...

    async def resume(self, sensor: str) -> SensorState:
        """Tick again: also ends a quarantine and a back-off."""
        ...

    async def pause_schedule(self, schedule: str) -> ScheduleView:
        """Fire nothing until it is resumed, also after a restart."""
        ...

    async def resume_schedule(self, schedule: str) -> ScheduleView:
        """Fire again: what passed meanwhile is decided by the misfire policy."""
        ...

    async def add_partitions(self, set: str, keys: dict[str, dict[str, Json]]) -> int:
        """Returns how many were new."""
        ...

    async def delete_partitions(self, set: str, keys: Sequence[str]) -> int:
        """Returns how many were there."""
        ...

    async def change_partitions(self, set: str, deltas: AsyncIterator[PartitionDelta]) -> int:
        """Change a dynamic set as `deltas` come, some thousand keys each in their normal form: all of it, or, where
        `deltas` raises, none. Returns how many keys were new, or were there to delete."""
        ...

    async def cancel(self, run_id: int, item: ItemRef | None = None) -> RunRow:
        """Cancel a queued or running run; or of a running one nothing but an item of a `ctx.map`."""
        ...

    async def retry(self, run_id: int, *, whole: bool = False) -> int:
        """Admit a run of what one that failed or was canceled did not make (`whole`: of all that one that has ended had
        to make), without a run key; returns its id."""
        ...

    async def begin_backfill(self, request: BackfillRequest) -> BackfillView:
        """Begin a backfill; durable when this returns, with its first runs right after."""
        ...

    async def backfill(self, backfill_id: int) -> BackfillView:
        """One backfill as it stands."""
        ...

    async def backfills(self, *, limit: int = 50, before: int | None = None) -> tuple[BackfillView, ...]:
        """Backfills, newest first; `before`: only those with a smaller id."""
        ...

    async def change_backfill(self, backfill_id: int, change: BackfillChange) -> BackfillView:
        """Pause: no more runs, those under way end. Resume. Cancel: its runs too. Retry: a new backfill, which this
        returns, of what one that has ended left unmade."""
        ...

    @property
    def queue(self) -> QueueDesk:
        """Pools, and the priority of runs."""
        ...

    def subscribe(self) -> AbstractContextManager[EventStream]:
        """All events from now on."""
        ...
