"""The releaser: requests of sensors that wait (debounce, batch, throttle) become runs, in one commit each.

What waits is in the store; here is known of it only what decides when: number, group and time of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from freshet.definitions.flow import BATCH_MAX, Flow
from freshet.engine.instruments import Instruments, persist, recall
from freshet.engine.launcher import CANCEL_GRACE, Launcher
from freshet.engine.outcomes import under
from freshet.engine.pending_plan import ONE_LINE, Due, group_of, plan_pending
from freshet.engine.requests import input_needs, sensor_run
from freshet.engine.sensors import SensorTicker
from freshet.errors import FreshetError
from freshet.executors.base import RequestedRun
from freshet.store.pending import begun_at, fold_pending, kept_requests, release_pending, waiting_requests
from freshet.store.records.pending import KeptRequest, Released, RequestGroup, ToRelease, WaitingRequest

__all__ = ["Pending"]

_PAGE = 10_000
_RUNS = 50
_FOLDED = 500
"""Runs a transaction, and requests that it folds into another: below 20 ms."""

_log = structlog.get_logger("freshet.sensors")


@dataclass(slots=True)
class _Line:
    """What waits of one sensor. `begun`: when the last of its runs began, as many as the throttle counts."""

    ticker: SensorTicker
    groups: dict[RequestGroup, list[WaitingRequest]] = field(default_factory=dict[RequestGroup, list[WaitingRequest]])
    begun: list[float] = field(default_factory=list[float])
    count: int = 0
    busy: bool = False

    @property
    def name(self) -> str:
        return self.ticker.spec.name

    @property
    def flow(self) -> Flow:
        return self.ticker.spec.flow


class Pending:
    """Of one engine. A paused sensor's requests wait on."""

    def __init__(self, instruments: Instruments, launcher: Launcher) -> None:
        self._in = instruments
        self._launcher = launcher
        self._lines: dict[str, _Line] = {}
        self._open = False

    async def load(self, tickers: Iterable[SensorTicker]) -> None:
        """Once, at start: take what waits in the store."""
        assert not self._lines, "at start alone: a line that is being released must not be replaced"
        for ticker in tickers:
            line, after = _Line(ticker), 0
            while page := await self._in.store.read(
                partial(waiting_requests, ticker_id=ticker.row.id, after=after, limit=_PAGE)
            ):
                self._take(line, page)
                after = page[-1].id
            throttle = ticker.spec.flow.throttle
            if throttle is not None:
                query = partial(begun_at, ticker_id=ticker.row.id, last=throttle.count)
                line.begun = list(await self._in.store.read(query))
            self._lines[ticker.spec.name] = line

    def start(self) -> None:
        """Release what fell due meanwhile, then wait."""
        self._open = True
        for line in self._lines.values():
            self._look(line)

    def stop(self) -> None:
        """Release nothing more."""
        self._open = False
        for name in self._lines:
            self._in.heap.cancel(("pending", name))

    def came(self, sensor: str, requests: Sequence[WaitingRequest]) -> None:
        """These wait from now on."""
        line = self._lines[sensor]
        groups = self._take(line, requests)
        batch = line.flow.batch
        full = batch is not None and any(len(line.groups[group]) >= batch.count for group in groups)
        if full or self._in.heap.due_at(("pending", sensor)) is None:
            self._look(line)

    def resumed(self, sensor: str) -> None:
        """The sensor is paused no more."""
        self._look(self._lines[sensor])

    def lag(self, sensor: str) -> tuple[int, float | None]:
        """How many requests of a sensor wait, and since when the oldest does."""
        line = self._lines.get(sensor)
        if line is None:
            return 0, None
        return line.count, min((waiting[0].at for waiting in line.groups.values()), default=None)

    def _take(self, line: _Line, requests: Sequence[WaitingRequest]) -> set[RequestGroup]:
        groups = set[RequestGroup]()
        for one in requests:
            group = group_of(line.flow, one.target, one.key)
            line.groups.setdefault(group, []).append(one)
            groups.add(group)
        line.count += len(requests)
        return groups

    # --- release --------------------------------------------------------------------------------------------

    def _look(self, line: _Line) -> None:
        if line.count and not line.busy and self._may(line):
            line.busy = True
            self._in.work.spawn(self._release(line))

    def _may(self, line: _Line) -> bool:
        return self._open and not line.ticker.row.paused

    async def _release(self, line: _Line) -> None:
        again: float | None = None
        while self._may(line):
            plan = plan_pending(line.flow, line.groups, line.begun, self._in.clock.now())
            again = plan.again
            if not plan.now:
                break
            await self._due(line, plan.now)
        line.busy = False
        if again is not None and self._may(line):
            self._in.heap.at(("pending", line.name), again, partial(self._look, line))
        else:
            self._in.heap.cancel(("pending", line.name))

    async def _due(self, line: _Line, due: Sequence[Due]) -> None:
        """Release what is due, in pieces. It stays due meanwhile, and is not planned again for each of them: what comes
        is for the next plan."""
        at = 0
        while at < len(due) and self._may(line):
            if due[at].folded and len(due[at].requests) > _FOLDED:
                piece = [await self._folded(line, due[at])]
            else:
                piece = _piece(due, at)
            at += len(piece)
            if self._may(line):
                await self._make(line, piece)

    async def _folded(self, line: _Line, due: Due) -> Due:
        """So many requests that one stands for, without the first of them."""
        while len(due.requests) > _FOLDED and self._may(line):
            gone, rest = due.requests[:_FOLDED], due.requests[_FOLDED:]
            fold = partial(
                fold_pending,
                ids=[one.id for one in gone],
                into=rest[-1].id,
                now=self._in.clock.now(),
            )
            await persist(self._in, fold, what="requests that another stands for")
            self._forget(line, due.group, len(gone))
            due = replace(due, requests=rest)
        return due

    async def _make(self, line: _Line, piece: Sequence[Due]) -> None:
        result = await self._commit(line, piece)
        for one in piece:
            self._forget(line, one.group, len(one.requests))
        throttle = line.flow.throttle
        if throttle is not None:
            line.begun = [*line.begun, *(self._in.clock.now() for _ in result.admitted)][-throttle.count :]

    def _forget(self, line: _Line, group: RequestGroup, count: int) -> None:
        """The first of a group wait no more: what becomes due is always a group's oldest."""
        line.count -= count
        waiting = line.groups[group]
        del waiting[:count]
        if not waiting:
            del line.groups[group]

    async def _commit(self, line: _Line, piece: Sequence[Due]) -> Released:
        needed = [one.id for due in piece for one in (due.requests[-1:] if due.folded else due.requests)]
        bodies = await recall(self._in, partial(kept_requests, ids=needed), what="requests that wait")
        releases = [self._made(line, due, bodies) for due in piece]
        runs = [one.run for one in releases if one.run is not None]
        definitions, booking = self._in.in_force.definitions, self._launcher.book(runs)
        if booking.marked:
            left = iter(booking.runs)
            releases = [one if one.run is None else replace(one, run=next(left)) for one in releases]
        names = {step.name for run in runs for step in run.steps} if booking.begins else ()
        transaction = partial(
            release_pending,
            ticker_id=line.ticker.row.id,
            releases=releases,
            start=booking.start,
            needs=input_needs(definitions, names),
            now=self._in.clock.now(),
            version=definitions.version,
        )
        result = await persist(self._in, transaction, what="runs of requests that waited")
        for events in result.events:
            self._in.bus.publish(events)
        self._launcher.admitted(booking, result.runs, result.admitted)
        for run_id in result.canceled:
            self._launcher.cancel(run_id, grace=CANCEL_GRACE)
        for number, reason in result.refused.items():
            _log.warning("a request that waited came to nothing", sensor=line.name, request=number, reason=reason)
        return result

    def _made(self, line: _Line, due: Due, bodies: dict[int, KeptRequest]) -> ToRelease:
        """The requests as one run, by the definitions in force."""
        ids = tuple(one.id for one in due.requests)
        last = bodies[ids[-1]]
        kept = [last] if due.folded else [bodies[number] for number in ids]
        asked = RequestedRun(last.target, last.key, last.run_key, last.params, last.tags, last.priority)
        if line.flow.batch is not None and due.group != ONE_LINE:
            asked = RequestedRun(
                last.target, last.key, None, {"items": [one.params for one in kept]}, _shared(kept), _first(kept)
            )
        try:
            run = sensor_run(
                self._in.in_force.definitions,
                asked,
                sensor=line.name,
                origin=f"sensor:{line.name}",
                now=self._in.clock.now(),
            )
        except FreshetError as error:
            return ToRelease(ids, last.tick_id, None, str(error), due.folded)
        run = replace(run, depth=max(one.depth for one in kept))
        return ToRelease(ids, last.tick_id, under(line.flow, run), None, due.folded)


def _piece(due: Sequence[Due], at: int) -> list[Due]:
    """As much of what is due, from there on, as one transaction takes."""
    piece, room = list[Due](), BATCH_MAX
    for one in due[at : at + _RUNS]:
        room -= len(one.requests)
        if piece and (room < 0 or (one.folded and len(one.requests) > _FOLDED)):
            break
        piece.append(one)
    return piece


def _shared(kept: Sequence[KeptRequest]) -> dict[str, str]:
    """The tags that all have."""
    found: dict[str, Any] = dict(kept[0].tags)
    return {name: value for name, value in found.items() if all(one.tags.get(name) == value for one in kept)}


def _first(kept: Sequence[KeptRequest]) -> int:
    return max(one.priority for one in kept)
