"""The schedule ticker: each schedule waits in the heap for its next instant; what is due together commits together.

A schedule with a body is asked first, one instant at a time and in order; what it answers commits with the instant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial

import structlog

from freshet.definitions.graph import Definitions
from freshet.definitions.schedule import ScheduleSpec
from freshet.engine.backoff import next_delay
from freshet.engine.control import ScheduleView
from freshet.engine.instruments import Instruments, persist
from freshet.engine.launcher import Launcher
from freshet.engine.outcomes import startable
from freshet.engine.requests import input_needs, scheduled_run, sensor_run
from freshet.engine.schedules.plan import Plan, plan
from freshet.engine.scheduling import ScheduleTicker, ticker_of
from freshet.errors import FreshetError, TickRefused
from freshet.executors.base import TickEnd, TickOrder
from freshet.store.records import RunToAdmit, TickError, TickerRow
from freshet.store.records.schedules import ScheduleCommit, SkippedInstants
from freshet.store.schedules import commit_schedules
from freshet.store.ticks import fail_tick

__all__ = ["Timetable"]

_PIECE = 200
"""Schedules a transaction: what the writer is held for stays under 20 ms."""

_log = structlog.get_logger("freshet.schedules")


class Timetable:
    """Holds the schedules. Each instant is decided once, in one commit with the runs it asks for."""

    def __init__(self, instruments: Instruments, launcher: Launcher, *, take_id: Callable[[], int]) -> None:
        self._in = instruments
        self._launcher = launcher
        self._take_id = take_id
        self._due: list[ScheduleTicker] = []
        self._since = float("inf")
        self.schedules: dict[str, ScheduleTicker] = {}
        self.open = False

    def adopt(self, definitions: Definitions, rows: Iterable[TickerRow]) -> None:
        """Take the schedules of these definitions, with what the store remembers of each."""
        remembered = {row.name: row for row in rows}
        self.schedules = {spec.name: ticker_of(spec, remembered[spec.name]) for spec in definitions.schedules}

    def start(self) -> None:
        """Decide what passed while the daemon was down, then wait."""
        self.open = True
        self._since = self._in.clock.now()
        for ticker in self.schedules.values():
            self._come(ticker)

    def stop(self) -> None:
        """Decide nothing more."""
        self.open = False
        for name in self.schedules:
            self._in.heap.cancel(("schedule", name))

    def views(self) -> tuple[ScheduleView, ...]:
        """All schedules, by name."""
        now = self._in.clock.now()
        return tuple(ticker.view(now) for _, ticker in sorted(self.schedules.items()))

    # --- due ------------------------------------------------------------------------------------------------

    def _wait(self, ticker: ScheduleTicker, due: float | None) -> None:
        if due is not None and self.open:
            self._in.heap.at(("schedule", ticker.spec.name), due, partial(self._come, ticker))

    def _come(self, ticker: ScheduleTicker) -> None:
        """All that come in one turn of the heap are decided together."""
        if not self._due:
            self._in.work.begin()
            asyncio.get_running_loop().call_soon(self._decide)
        self._due.append(ticker)

    def _decide(self) -> None:
        due, self._due = self._due, []
        now = self._in.clock.now()
        plain: list[tuple[ScheduleTicker, Plan]] = []
        for ticker in due:
            if not self.open or ticker.busy or ticker.row.paused:
                continue
            made = plan(ticker.spec, ticker.state, now, watching_since=self._since)
            if ticker.spec.body and made.fire:
                self._ask(ticker, made)
            elif made.fire or made.skipped or made.state != ticker.state:
                ticker.busy = True
                plain.append((ticker, made))
            else:
                self._wait(ticker, made.due)
        for start in range(0, len(plain), _PIECE):
            self._in.work.spawn(self._commit_plain(plain[start : start + _PIECE]))
        self._in.work.end()

    # --- without a body -------------------------------------------------------------------------------------

    async def _commit_plain(self, decided: Sequence[tuple[ScheduleTicker, Plan]]) -> None:
        definitions = self._in.in_force.definitions
        commits = [
            self._commit_of(ticker, made, tuple(scheduled_run(definitions, ticker.spec, at) for at in made.fire))
            for ticker, made in decided
        ]
        await self._commit(decided, commits)

    def _commit_of(self, ticker: ScheduleTicker, made: Plan, runs: tuple[RunToAdmit, ...]) -> ScheduleCommit:
        return ScheduleCommit(
            ticker=ticker.row.id,
            tick_id=self._take_id(),
            revision=ticker.row.revision,
            version=made.state.version,
            cursor=asdict(made.state),
            fired=made.fire,
            skipped=tuple(SkippedInstants(one.first, one.last, one.count, one.reason) for one in made.skipped),
            runs=runs,
        )

    async def _commit(self, decided: Sequence[tuple[ScheduleTicker, Plan]], commits: Sequence[ScheduleCommit]) -> None:
        definitions, queue = self._in.in_force.definitions, self._launcher.queue
        runs = [run for commit in commits for run in commit.runs]
        reserved = queue.reserve(startable(runs))
        result = await persist(
            self._in,
            partial(
                commit_schedules,
                commits=commits,
                start=reserved,
                needs=input_needs(definitions, (step.name for run in runs[:reserved] for step in run.steps)),
                now=self._in.clock.now(),
                version=definitions.version,
            ),
            what="schedules",
        )
        queue.release(reserved - sum(len(one.started) for one in result.admitted))
        self._in.bus.publish(result.events)
        self._launcher.admitted(result.runs, result.admitted)
        for (ticker, made), commit in zip(decided, commits, strict=True):
            ticker.busy = False
            if commit.ticker not in result.refused:
                ticker.state = made.state
                ticker.row = replace(ticker.row, failures=0, retry_at=None)
                ticker.last_fired = made.fire[-1] if made.fire else ticker.last_fired
                _tell(ticker.spec, made)
            self._wait(ticker, made.due if commit.ticker not in result.refused else self._in.clock.now())

    # --- with a body ----------------------------------------------------------------------------------------

    def _ask(self, ticker: ScheduleTicker, made: Plan) -> None:
        """Ask the body about the first instant; the others follow, one by one."""
        host = self._in.in_force.host
        if host is None:
            self._wait(ticker, self._in.clock.now() + 1.0)
            return
        first = made.fire[0]
        state = replace(made.state, decided=first)
        ticker.busy, ticker.asked = True, replace(made, fire=(first,), state=state, due=self._in.clock.now())
        order = TickOrder(self._take_id(), ticker.spec.name, first, 0, None, self._in.clock.now(), ticker.spec.timeout)
        ticker.tick_id = order.tick_id
        self._in.work.begin()
        host.tick(order)

    def ended(self, end: TickEnd) -> bool:
        """The answer of a body; False if `end` is no schedule's."""
        ticker = self.schedules.get(end.sensor)
        if ticker is None:
            return False
        if ticker.tick_id == end.tick_id and ticker.asked is not None:
            made, ticker.asked = ticker.asked, None
            self._in.work.spawn(self._answered(ticker, made, end))
            self._in.work.end()
        return True

    async def _answered(self, ticker: ScheduleTicker, made: Plan, end: TickEnd) -> None:
        definitions = self._in.in_force.definitions
        if end.status == "abandoned":
            ticker.busy = False
            self._wait(ticker, self._in.clock.now())
            return
        try:
            if end.status != "ok" or end.error is not None:
                raise _Failed(end.error or TickError("Refused", f"the body of a schedule cannot {end.status}"))
            origin = f"schedule:{ticker.spec.name}"
            runs = tuple(sensor_run(definitions, one, sensor=ticker.spec.name, origin=origin) for one in end.runs)
            commit = self._commit_of(ticker, made, runs)
            await self._commit([(ticker, made)], [commit])
        except _Failed as failed:
            await self._failed(ticker, end, failed.error)
        except FreshetError as error:
            await self._failed(ticker, end, TickError(type(error).__name__, str(error)))

    async def _failed(self, ticker: ScheduleTicker, end: TickEnd, error: TickError) -> None:
        """The instant stays undecided and is asked about again, as the misfire policy then allows."""
        row, now = ticker.row, self._in.clock.now()
        delay = end.after if end.after is not None else next_delay(1.0, row.failures + 1, self._in.rng)
        if not row.failures:
            _log.warning("schedule failing", schedule=row.name, error=error.message, retry_in=delay)
        try:
            ticker.row, events = await persist(
                self._in,
                partial(
                    fail_tick,
                    ticker_id=row.id,
                    tick_id=end.tick_id,
                    revision=row.revision,
                    status="failed" if end.status in ("ok", "checkpoint") else end.status,
                    error=error,
                    failures=row.failures + 1,
                    retry_at=now + delay,
                    quarantined=None,
                    started_at=now,
                    ended_at=now,
                ),
                what="a failed schedule",
            )
            self._in.bus.publish(events)
        except TickRefused:
            _log.info("a failed tick came late", schedule=row.name)
        ticker.busy = False
        self._wait(ticker, now + delay)


class _Failed(Exception):
    def __init__(self, error: TickError) -> None:
        self.error = error


def _tell(spec: ScheduleSpec, made: Plan) -> None:
    for one in made.skipped:
        _log.warning(
            "schedule skipped",
            schedule=spec.name,
            first=_iso(one.first),
            last=_iso(one.last),
            count=one.count,
            reason=one.reason,
        )


def _iso(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat()
