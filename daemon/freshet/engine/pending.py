"""The releaser: requests of sensors that wait (debounce, batch, throttle) become runs, in one commit each.

What waits is in the store; here is known of it only what decides when: number, group and time of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from freshet.definitions.flow import BATCH_MAX, Flow, ThrottleSpec
from freshet.definitions.graph import Definitions
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

__all__ = ["Pending", "Prepared"]

_PAGE = 10_000
_RUNS = 50
_FOLDED = 500
"""Runs a transaction, and requests that it folds into another: below 20 ms."""

_log = structlog.get_logger("freshet.sensors")


@dataclass(slots=True)
class _Line:
    """What waits of one sensor. `begun`: when the last of its runs began, as many as the throttle counts."""

    ticker: SensorTicker
    flow: Flow
    groups: dict[RequestGroup, list[WaitingRequest]] = field(default_factory=dict[RequestGroup, list[WaitingRequest]])
    begun: list[float] = field(default_factory=list[float])
    count: int = 0
    busy: bool = False

    @property
    def name(self) -> str:
        return self.ticker.spec.name

    def regroup(self) -> None:
        """What waits follows the rules of today."""
        waiting, self.groups = sorted((one for some in self.groups.values() for one in some), key=_number), {}
        self.flow = self.ticker.spec.flow
        for one in waiting:
            self.groups.setdefault(group_of(self.flow, one.target, one.key), []).append(one)


@dataclass(frozen=True, slots=True)
class Prepared:
    """For other definitions: lines of sensors that are new, and when runs began, by sensor."""

    lines: dict[str, _Line]
    begun: dict[str, list[float]]


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
            self._lines[ticker.spec.name] = await self._loaded(ticker)

    async def _loaded(self, ticker: SensorTicker) -> _Line:
        line, after = _Line(ticker, ticker.spec.flow), 0
        query = partial(waiting_requests, ticker_id=ticker.row.id, limit=_PAGE)
        while page := await recall(self._in, partial(query, after=after), what="requests that wait"):
            self._take(line, page)
            after = page[-1].id
        line.begun = await self._begun(ticker.row.id, ticker.spec.flow.throttle)
        return line

    async def _begun(self, ticker_id: int, throttle: ThrottleSpec | None) -> list[float]:
        if throttle is None:
            return []
        query = partial(begun_at, ticker_id=ticker_id, last=throttle.count)
        return list(await recall(self._in, query, what="requests that wait"))

    async def prepare(self, tickers: Iterable[SensorTicker], definitions: Definitions) -> Prepared:
        """Read what other definitions will need: what waits of sensors that are new (`tickers`), and when runs began
        that are counted otherwise from now on."""
        lines = {one.spec.name: await self._loaded(one) for one in tickers}
        edited = (self._lines.get(spec.name) for spec in definitions.sensors)
        begun = {
            line.name: await self._begun(line.ticker.row.id, throttle)
            for line in edited
            if line is not None and (throttle := definitions.sensor[line.name].flow.throttle) != line.flow.throttle
        }
        return Prepared(lines, begun)

    def redefine(self, tickers: Iterable[SensorTicker], prepared: Prepared) -> None:
        """Other definitions are in force. What waits of a sensor that is gone waits in the store; what waits of others
        follows their rules of today, once what is being released is."""
        before, self._lines = self._lines, {}
        for ticker in tickers:
            line = before.pop(ticker.spec.name, None)
            if line is None or line.ticker is not ticker:
                line = prepared.lines[ticker.spec.name]
            self._lines[ticker.spec.name] = line
            line.begun = sorted({*line.begun, *prepared.begun.get(line.name, ())})
            if line.flow != ticker.spec.flow and not line.busy:
                line.regroup()
            self._look(line)
        for name in before:
            self._in.heap.cancel(("pending", name))

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
        """These wait from now on; in the store alone, if the sensor is gone."""
        line = self._lines.get(sensor)
        if line is None:
            return
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
        return self._open and not line.ticker.row.paused and self._lines.get(line.name) is line

    async def _release(self, line: _Line) -> None:
        again: float | None = None
        while self._may(line):
            if line.flow != line.ticker.spec.flow:
                line.regroup()
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


def _number(one: WaitingRequest) -> int:
    return one.id


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
