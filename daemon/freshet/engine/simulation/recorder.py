"""Listens to an engine in virtual time, and tells what happens as entries."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from typing import Any

from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import TimePartitions
from freshet.engine.clock import Clock
from freshet.engine.simulation.arrivals import Arrival
from freshet.engine.simulation.entries import Entry, EntryKind
from freshet.engine.simulation.moments import shown
from freshet.store.finishing import finish_step
from freshet.store.interning import open_sets
from freshet.store.records import Event, StepToRun
from freshet.store.records.schedules import ScheduleCommit
from freshet.store.schedules import commit_schedules
from freshet.store.steps import start_steps
from freshet.store.throwaway import NewRun, ThrowawayStore, decided, key_of_partition, last_run, new_runs, ticker_names

__all__ = ["Recorder"]

_FRESHNESS: dict[str, EntryKind] = {
    "freshness_warned": "warned",
    "freshness_lapsed": "lapsed",
    "freshness_restored": "restored",
}
_WITHOUT_RUNS = (finish_step, start_steps, open_sets)
"""What nearly all transactions are, and admits none."""


class Recorder:
    """`bodies`: the schedules whose body would be asked. `tell` gets each entry as it happens; None: no more."""

    def __init__(self, store: ThrowawayStore, clock: Clock, *, zone: str, bodies: Iterable[str]) -> None:
        self._store = store
        self._clock = clock
        self._zone = zone
        self._bodies = frozenset(bodies)
        self._definitions = Definitions()
        self._tickers: dict[int, str] = {}
        self._last_run = 0
        self._origin: dict[int, str] = {}
        self.tell: Callable[[Entry], None] | None = None

    def begin(self, definitions: Definitions, tell: Callable[[Entry], None]) -> None:
        """From now on."""
        self._definitions = definitions
        self._tickers = self._store.ask(ticker_names)
        self._last_run = self._store.ask(last_run)
        self.tell = tell
        self._store.watch = self._committed

    def _tell(
        self, kind: EntryKind, name: str, *, partition: str | None = None, run: int | None = None,
        seconds: float | None = None, count: int = 1, detail: str = "", of: int | None = None,
    ) -> None:  # fmt: skip
        """`of`: the run that it belongs to."""
        if self.tell is not None:
            asker = "" if of is None else self._origin.get(of, "").partition(":")[2]
            self.tell(Entry(self._clock.now(), kind, name, partition, run, seconds, count, detail, asker))

    # --- commits -------------------------------------------------------------------------------------------

    def _committed(self, transaction: Callable[[sqlite3.Connection], object], result: object) -> None:
        if isinstance(transaction, partial):
            if transaction.func in _WITHOUT_RUNS:
                return
            if transaction.func is commit_schedules:
                for commit in transaction.keywords["commits"]:
                    self._schedule(commit)
        for run in self._store.ask(partial(new_runs, after=self._last_run)):
            self._last_run = run.id
            self._admitted(run)

    def _schedule(self, commit: ScheduleCommit) -> None:
        name = self._tickers[commit.ticker]
        for one in self._store.ask(partial(decided, commit=commit)):
            when = shown(one.nominal, self._zone)
            if one.status == "fired":
                late = "" if one.nominal == self._clock.now() else f"of {when}"
                asked = "asks its body" if name in self._bodies else ""
                self._tell("tick", name, detail=", ".join(filter(None, (late, asked))))
            else:
                span = when if one.count == 1 else f"{when} to {shown(one.until, self._zone)}"
                self._tell("skipped", name, count=one.count, detail=f"{one.reason}: {span}")

    def _admitted(self, run: NewRun) -> None:
        self._origin[run.id] = run.origin
        if run.state == "queued":
            key = None if run.set is None else self._key(run.set, run.partition)
            self._tell("queued", run.target, partition=key, run=run.id, detail=run.origin, of=run.id)

    # --- steps and arrivals --------------------------------------------------------------------------------

    def began(self, step: StepToRun) -> None:
        """A step begins."""
        detail = self._origin.get(step.run_id, "")
        self._tell("started", step.name, partition=step.key, run=step.run_id, detail=detail, of=step.run_id)

    def ended(self, step: StepToRun, seconds: float) -> None:
        """It has succeeded."""
        self._tell("succeeded", step.name, partition=step.key, run=step.run_id, seconds=seconds, of=step.run_id)

    def arrived(self, arrival: Arrival) -> None:
        """A sensor sees a file."""
        self._tell("tick", arrival.sensor, detail=arrival.path)

    # --- events --------------------------------------------------------------------------------------------

    def published(self, events: tuple[Event, ...]) -> None:
        """A listener on the bus."""
        for (type_, name), several in groupby(events, key=lambda event: (event.type, event.set)):
            if type_ in ("partition_added", "partition_deleted") and name is not None:
                self._partitions(name, list(several))
            else:
                self._others(several)

    def _others(self, events: Iterable[Event]) -> None:
        for event in events:
            kind = _FRESHNESS.get(event.type)
            if kind is not None:
                self._tell(kind, event.asset or "", partition=self._key_of(event))
            elif event.type == "run_canceled":
                self._tell("canceled", str(_data(event).get("target", "")), run=event.run_id, of=event.run_id)
            elif event.type in ("ticker_failing", "ticker_quarantined"):
                self._failing(event)

    def _partitions(self, name: str, events: list[Event]) -> None:
        """Many at once are one line, from the first to the last."""
        first, last = events[0], events[-1]
        count, key = sum(len(event.numbers) for event in events), self._key_of(first)
        if count > 1:
            end = self._key(name, last.numbers[-1]) if len(last.numbers) > 1 else self._key_of(last)
            key = f"{key} to {end}"
        in_time = isinstance(self._definitions.partition_set.get(name), TimePartitions)
        kind: EntryKind = "deleted" if first.type == "partition_deleted" else "opened" if in_time else "added"
        self._tell(kind, name, partition=key, count=count)

    def _failing(self, event: Event) -> None:
        data = _data(event)
        self._tell("failing", str(data.get("name", "")), detail=str(data.get("error") or ""))

    def _key_of(self, event: Event) -> str | None:
        if event.set is None:
            return None
        data = _data(event)
        return str(data["key"]) if "key" in data else self._key(event.set, event.partition or 0)

    def _key(self, set: str, number: int) -> str:
        spec = self._definitions.partition_set.get(set)
        if isinstance(spec, TimePartitions):
            return spec.key(number)
        return self._store.ask(partial(key_of_partition, set=set, number=number)) or f"number {number}"


def _data(event: Event) -> dict[str, Any]:
    data: Any = event.data
    return data or {}
