"""The automation ticker: each committed transaction is looked at once, in order, and what the conditions ask for
commits with what they remember.

Its cursor is the sequence number of the last transaction looked at. Transactions that changed nothing for any
condition are written a thousand together, and those that asked for nothing may wait for some that do: after a crash
they are looked at again, with the same result.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import structlog
from pyroaring import BitMap

from freshet.definitions.graph import Definitions
from freshet.engine.automation import AssetCounts, Automation, Evaluation, Explanation, Request, Standing, Told
from freshet.engine.bus import Listener
from freshet.engine.instruments import Instruments, persist, recall
from freshet.engine.launcher import Launcher
from freshet.engine.queue import Booking
from freshet.engine.requests import input_needs, window_key
from freshet.engine.steps import steps_of
from freshet.store.assets import commit_automation
from freshet.store.events import events_after
from freshet.store.records import AutomationCommit, Event, RunToAdmit, SetState, ToldEvent
from freshet.store.views import PartitionState

__all__ = ["Automator", "runs_of"]

_log = structlog.get_logger("freshet.automation")

_PAGE = 5_000
_UNSAVED_MAX = 1_000
_AT_ONCE = 32
"""Transactions that are looked at, at most, before what came of them is committed."""
_ROWS_AT_ONCE = 200
"""Runs asked for and pieces of memory, after which no more is looked at before these are committed."""
_KEPT_FOR = 0.5
"""Seconds for which what asks for no run waits for what does. After a crash it is looked at again."""

_Looked = tuple[Evaluation, tuple[Event, ...]]
"""What came of a transaction, and its events; of a deadline there are none."""


class Automator:
    """Feeds `Automation` with committed transactions, in sequence order and one at a time."""

    def __init__(self, instruments: Instruments, launcher: Launcher, automation: Automation, *, seq: int) -> None:
        self._in = instruments
        self._launcher = launcher
        self._automation = automation
        self._seq = seq
        self._listeners: list[Listener] = []
        self._waiting: deque[tuple[Event, ...]] = deque()
        self._busy = False
        self._looked_at = 0.0
        self._unsaved = 0
        self._kept: list[tuple[Booking, AutomationCommit, tuple[Told, ...]]] = []
        self._keeps = self._kept_due = False
        self._timer_due = False
        self._rests = asyncio.Event()
        self.open = False

    def silent_for(self) -> float | None:
        """Seconds since the last look while transactions wait for one; None at rest."""
        return self._in.clock.monotonic() - self._looked_at if self._busy else None

    def counts(self, asset: str) -> AssetCounts:
        """How many partitions an asset has, and in which state. Raises `UnknownName`."""
        return self._automation.summary(asset)

    def in_state(self, asset: str, state: str) -> BitMap:
        """The live partitions in a state. Raises `UnknownName`."""
        return self._automation.in_state(asset, state)

    def exhausted(self, asset: str) -> BitMap:
        """The partitions whose refresh on a lapse has no attempts left. Raises `UnknownName`."""
        return self._automation.exhausted(asset)

    def state(self, asset: str, partition: int) -> PartitionState:
        """Of one partition. Raises `UnknownName`."""
        states: tuple[PartitionState, ...] = ("in_progress", "failed", "materialized")
        for state in states:
            if partition in self._automation.in_state(asset, state):
                return state
        return "missing"

    def explain(self, asset: str, partition: int) -> Explanation | None:
        """See `Automation.explain`."""
        return self._automation.explain(asset, partition, self._in.clock.now())

    def standings(self, asset: str, partition: int) -> tuple[Standing, ...]:
        """See `Automation.standings`."""
        return self._automation.standings(asset, partition, self._in.clock.now())

    def digest(self, asset: str) -> str | None:
        """See `Automation.digest`."""
        return self._automation.digest(asset)

    @property
    def seq(self) -> int:
        """The last event that the facts hold."""
        return self._seq

    def in_flight(self, asset: str) -> BitMap:
        """The partitions of an asset that are queued, running or asked for, as of `seq`."""
        return self._automation.in_flight(asset)

    def listen(self, listener: Listener) -> None:
        """`listener` gets each transaction's events when the facts hold them; it must not block."""
        self._listeners.append(listener)

    async def start(self, last_seq: int) -> None:
        """Look at what was committed and not looked at before the daemon ended, then at the definitions as they are.

        `last_seq`: of the last committed event; what follows comes through `publish`.
        """
        self.open = self._busy = True
        while self._seq < last_seq:
            page = await self._in.store.read(partial(events_after, seq=self._seq, limit=_PAGE))
            if not page:
                break
            for transaction in _transactions(page):
                await self._settle([self._look(transaction)])
        await self._settle([(self._automation.timer(self._in.clock.now()), ())])
        self._busy = False
        self._pump()

    def published(self, events: tuple[Event, ...]) -> None:
        """A transaction has committed."""
        self._waiting.append(events)
        self._pump()

    async def save(self) -> None:
        """Commit what is kept, and write the cursor, if transactions without effect have moved it on."""
        await self._commit()
        if self._unsaved:
            self._unsaved = 0
            commit = AutomationCommit(seq=self._seq, at=self._in.clock.now(), runs=(), chunks=())
            await persist(self._in, partial(commit_automation, commits=[commit]), what="automation's cursor")

    async def pause(self) -> None:
        """Look at nothing until `resume`; returns when no look is under way."""
        self.open = False
        if self._busy:
            self._rests.clear()
            await self._rests.wait()
        await self._commit()

    async def catch_up(self, seq: int) -> None:
        """While paused, and before other definitions hold: look at what was committed before event `seq`."""
        while self._seq < seq - 1:
            query = partial(events_after, seq=self._seq, limit=min(_PAGE, seq - 1 - self._seq))
            page = await recall(self._in, query, what="automation")
            if not page:
                break
            for transaction in _transactions(page):
                await self._settle([self._look(transaction)])
        await self._commit()

    def resume(
        self,
        definitions: Definitions,
        sets: Mapping[str, SetState],
        moved: Collection[str],
        renamed: Mapping[str, str],
    ) -> None:
        """Other definitions are in force; see `Automation.redefine`."""
        self._automation.redefine(definitions, sets, moved, renamed)
        self.open = True
        self._due()

    def stop(self) -> None:
        """Look at nothing more; the rest is looked at after the next start."""
        self.open = False
        self._in.heap.cancel("automation")
        self._in.heap.cancel("automation-memory")

    def _pump(self) -> None:
        if self.open and not self._busy and (self._waiting or self._timer_due or self._kept_due):
            self._busy = True
            self._looked_at = self._in.clock.monotonic()
            self._in.work.spawn(self._work_off())

    async def _work_off(self) -> None:
        try:
            while self.open and (self._waiting or self._timer_due or self._kept_due):
                if self._waiting:
                    await self._look_in_order()
                elif self._kept_due:
                    await self._commit()
                else:
                    self._timer_due = False
                    await self._settle([(self._automation.timer(self._in.clock.now()), ())])
        finally:
            self._busy = False
            self._rests.set()

    async def _look_in_order(self) -> None:
        """Each of those that wait, and commit what comes of them together: who ends together is followed together."""
        looked: list[_Looked] = []
        rows = 0
        while self._waiting and len(looked) < _AT_ONCE and rows < _ROWS_AT_ONCE:
            events = self._waiting[0]
            if events[0].seq > self._seq + 1:
                if looked:
                    break
                await self._catch_up(events[0].seq)
            self._waiting.popleft()
            if events[-1].seq > self._seq:
                looked.append(self._look(events))
                rows += _rows(looked[-1][0])
        await self._settle(looked)

    async def _catch_up(self, seq: int) -> None:
        """Look at what comes before `seq` and was not heard of."""
        missed = partial(events_after, seq=self._seq, limit=seq - self._seq)
        for transaction in _transactions(await recall(self._in, missed, what="automation")):
            if self._seq < transaction[0].seq < seq:
                await self._settle([self._look(transaction)])

    def _look(self, events: tuple[Event, ...]) -> _Looked:
        evaluation = self._automation.evaluate(events, self._in.clock.now())
        self._seq = events[-1].seq
        for listener in self._listeners:
            listener(events)
        return evaluation, events

    async def _settle(self, looked: Sequence[_Looked]) -> None:
        """Commit what came of these. What asks for no run is kept for a while, as long as runs are under way: what they
        lead to is committed with it."""
        self._looked_at = self._in.clock.monotonic()
        if looked:
            self._wake_at(looked[-1][0].wake_at)
        urgent = not self._launcher.running
        for evaluation, events in looked:
            if not evaluation.requests and not evaluation.chunks:
                self._unsaved += 1
                continue
            self._unsaved = 0
            self._kept.append((*self._booked(evaluation, events), evaluation.told))
            urgent = urgent or bool(evaluation.requests or evaluation.told)
        if urgent or sum(1 + len(commit.chunks) for _, commit, _ in self._kept) >= _ROWS_AT_ONCE:
            await self._commit()
        elif self._kept and not self._keeps:
            self._keeps = True
            self._in.heap.after("automation-memory", _KEPT_FOR, self._kept_long)
        if self._unsaved >= _UNSAVED_MAX:
            await self.save()

    async def _commit(self) -> None:
        """What has been looked at, in its order; and launch what may begin."""
        kept, self._kept, self._kept_due = self._kept, [], False
        if self._keeps:
            self._keeps = False
            self._in.heap.cancel("automation-memory")
        if not kept:
            return
        commits = [commit for _, commit, _ in kept]
        done = await persist(self._in, partial(commit_automation, commits=commits), what="automation")
        for told in (one for _, _, several in kept for one in several):
            _say(told)
        for (booking, _, _), admitted in zip(kept, done, strict=True):
            self._in.bus.publish(admitted.events)
            self._launcher.admitted(booking, booking.runs, admitted.runs)

    def _kept_long(self) -> None:
        self._keeps, self._kept_due = False, True
        self._pump()

    def _booked(self, evaluation: Evaluation, events: tuple[Event, ...]) -> tuple[Booking, AutomationCommit]:
        definitions = self._in.in_force.definitions
        by = (
            frozenset(event.run_id for event in events if event.run_id is not None),
            frozenset(event.tick_id for event in events if event.tick_id is not None and event.run_id is None),
        )
        runs, later = self._runs_of(definitions, evaluation)
        booking = self._launcher.book(runs)
        return booking, AutomationCommit(
            seq=events[-1].seq if events else self._seq,
            at=self._in.clock.now(),
            runs=booking.runs,
            chunks=evaluation.chunks,
            start=booking.start,
            needs=input_needs(definitions, (step.name for run in runs for step in run.steps) if booking.begins else ()),
            version=definitions.version,
            told=tuple(ToldEvent(one.type, one.asset, list(one.partitions), one.set) for one in evaluation.told),
            conditions=self._automation.expressions(asset for one in evaluation.requests for asset in one.assets),
            by=by,
            later=later,
        )

    def _runs_of(
        self, definitions: Definitions, evaluation: Evaluation
    ) -> tuple[tuple[RunToAdmit, ...], dict[int, tuple[str, ...]]]:
        """The runs asked for; and by the index of those whose cause came before, what they depend on."""
        runs: list[RunToAdmit] = []
        later: dict[int, tuple[str, ...]] = {}
        for request in evaluation.requests:
            digests = [self._automation.digest(asset) or "-" for asset in request.assets]
            condition = digests[0] if len(set(digests)) == 1 else " ".join(digests)
            before = (
                [evaluation.before.get(asset, BitMap()) for asset in request.assets]
                if evaluation.before
                else [BitMap()]
            )
            above = tuple(dict.fromkeys(one for name in request.assets for one in definitions.looked_at(name)))
            for run in runs_of(definitions, request, condition):
                if all((run.partition or 0) in some for some in before):
                    later[len(runs)] = tuple(name for name in above if name not in request.assets)
                runs.append(run)
        return tuple(runs), later

    def _wake_at(self, when: float | None) -> None:
        if when is None:
            self._in.heap.cancel("automation")
        else:
            self._in.heap.at("automation", when, self._due)

    def look_again(self) -> None:
        """Ask the conditions anew, though nothing was committed: the instants that they wait for may be others."""
        self._due()

    def _due(self) -> None:
        self._timer_due = True
        self._pump()


def _rows(evaluation: Evaluation) -> int:
    """How much there is to commit."""
    runs = (1 if isinstance(one.partition, int) else len(one.partition) for one in evaluation.requests)
    return len(evaluation.chunks) + sum(runs)


def runs_of(definitions: Definitions, request: Request, condition: str | None = None) -> list[RunToAdmit]:
    """One run for each partition of a request. `condition`: the digest of what asked for it."""
    specs = [definitions.asset[name] for name in request.assets]
    partitions = [request.partition] if isinstance(request.partition, int) else list(request.partition)
    steps = steps_of(definitions, request.assets, partitioned=request.set is not None)
    return [
        RunToAdmit(
            kind="asset",
            target=request.assets[-1],
            steps=steps,
            origin="automation",
            set=request.set,
            key=window_key(definitions, request.set, number),
            partition=number,
            tags=dict(specs[-1].tags),
            priority=max(spec.priority for spec in specs),
            condition=condition,
        )
        for number in partitions
    ]


def _say(told: Told) -> None:
    """Once, as the event: those that are watched for in the log are found there."""
    about = {"asset": told.asset, **({} if told.set is None else {"partitions": len(told.partitions)})}
    if told.type == "refresh_exhausted":
        _log.error("refresh on lapse is exhausted: all its attempts failed", **about)
    else:
        _log.info("refresh on lapse has recovered", **about)


def _transactions(events: tuple[Event, ...]) -> list[tuple[Event, ...]]:
    found: list[list[Event]] = []
    for event in events:
        if found and found[-1][0].txn == event.txn:
            found[-1].append(event)
        else:
            found.append([event])
    return [tuple(transaction) for transaction in found]
