"""The schedule ticker: each schedule waits in the heap for its next instant; what is due together commits together.

A schedule with a body is asked first, one instant at a time and in order; what it answers commits with the instant.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import anyio
import structlog

from freshet.definitions.cron import names_moments
from freshet.definitions.frames import raised_at
from freshet.definitions.graph import Definitions
from freshet.definitions.zones import ZoneClock
from freshet.engine.backoff import next_delay
from freshet.engine.control import ScheduleView
from freshet.engine.instruments import Instruments, persist
from freshet.engine.launcher import CANCEL_GRACE, Launcher
from freshet.engine.requests import input_needs, sensor_run
from freshet.engine.schedules.plan import Plan, anchor, plan
from freshet.engine.schedules.samples import Samples
from freshet.engine.scheduling import (
    PIECE,
    Alike,
    Asked,
    ScheduleTicker,
    commit_of,
    in_line,
    pieces,
    refused_answer,
    tell_skipped,
    with_runs,
)
from freshet.errors import FreshetError, TickRefused
from freshet.executors.base import TickEnd, TickOrder
from freshet.store.records import RunToAdmit, TickError, TickerRow
from freshet.store.records.schedules import ActiveRun, ScheduleCommit
from freshet.store.schedules import commit_schedules
from freshet.store.tickers import resume, set_paused
from freshet.store.ticks import fail_tick

__all__ = ["Timetable"]

Asking = tuple[tuple[RunToAdmit, ...], ...]

_log = structlog.get_logger("freshet.schedules")


class Timetable:
    """Holds the schedules. Each instant is decided once, in one commit with the runs it asks for."""

    def __init__(self, instruments: Instruments, launcher: Launcher, *, take_id: Callable[[], int]) -> None:
        self._in = instruments
        self._launcher = launcher
        self._take_id = take_id
        self._due: list[ScheduleTicker] = []
        self._at: dict[float, list[ScheduleTicker]] = {}
        self._alike, self._samples = Alike(), Samples(instruments.in_force.definitions)
        self.schedules: dict[str, ScheduleTicker] = {}
        self._gone: list[ScheduleTicker] = []
        """Declared no more, with a body that is being asked."""
        self.open = False

    def adopt(self, definitions: Definitions, rows: Iterable[TickerRow]) -> None:
        """Take the schedules of these definitions, with what the store remembers of each."""
        remembered = {row.name: row for row in rows}
        self._alike, self._samples = Alike(), Samples(definitions)
        ticker = self._alike.ticker
        self.schedules = {spec.name: ticker(spec, remembered[spec.name]) for spec in definitions.schedules}

    def redefine(self, definitions: Definitions, rows: Iterable[TickerRow]) -> None:
        """Take other definitions into force. A schedule keeps what is decided by its name; one whose times were edited
        begins anew now. What a body is being asked about goes on, unless the schedule is gone."""
        remembered, now = {row.name: row for row in rows}, self._in.clock.now()
        self._samples = Samples(definitions)
        before, self.schedules = self.schedules, {}
        for spec in definitions.schedules:
            known = before.pop(spec.name, None)
            ticker = known or self._alike.ticker(spec, remembered[spec.name])
            if known is None:
                ticker.since = now
            ticker.spec, ticker.manner, ticker.due = spec, self._alike.manner(spec), None
            self.schedules[spec.name] = ticker
            self._come(ticker)
        for gone in before.values():
            gone.due = None
            self._stop_asking(gone)
            if gone.asked is not None:
                self._gone.append(gone)

    def resume_lines(self, runs: Iterable[ActiveRun]) -> None:
        """Runs of before that go one after the other do so again. Before their steps wait."""
        for run in runs:
            self._launcher.queue.join(run.run_id, run.group)

    @property
    def in_line(self) -> tuple[str, ...]:
        """The schedules whose runs go one after the other."""
        return tuple(name for name, ticker in self.schedules.items() if ticker.spec.overlap == "queue")

    def anchor(self, at: float) -> None:
        """Let schedules that are new, or have been edited, come into force `at` an instant before the start."""
        for ticker in self.schedules.values():
            if ticker.state is None or ticker.state.version != ticker.spec.version:
                ticker.state = self._alike.state(anchor(ticker.spec, at))

    def start(self) -> None:
        """Decide what passed while the daemon was down, then wait."""
        self.open = True
        since = self._in.clock.now()
        for ticker in self.schedules.values():
            ticker.since = since
            self._come(ticker)

    def stop(self) -> None:
        """Decide nothing more."""
        self.open = False
        for due in self._at:
            self._in.heap.cancel(("schedules", due))

    def views(self) -> tuple[ScheduleView, ...]:
        """All schedules, by name."""
        now = self._in.clock.now()
        return tuple(ticker.view(now) for _, ticker in sorted(self.schedules.items()))

    # --- by hand --------------------------------------------------------------------------------------------

    async def pause(self, name: str) -> ScheduleView:
        """Fire nothing until it is resumed, nor after a restart. What is being decided is refused."""
        ticker = self.schedules[name]
        with anyio.CancelScope(shield=True):
            ticker.row = await self._in.store.write(partial(set_paused, ticker_id=ticker.row.id, paused=True))
        ticker.due = None
        self._stop_asking(ticker)
        return ticker.view(self._in.clock.now())

    async def resume(self, name: str) -> ScheduleView:
        """Fire again; what passed meanwhile, the misfire policy decides. Also ends a back-off."""
        ticker = self.schedules[name]
        paused = ticker.row.paused
        with anyio.CancelScope(shield=True):
            ticker.row = await self._in.store.write(partial(resume, ticker_id=ticker.row.id))
        if paused:
            ticker.since = self._in.clock.now()
        self._stop_asking(ticker)
        self._come(ticker)
        return ticker.view(self._in.clock.now())

    def _stop_asking(self, ticker: ScheduleTicker) -> None:
        if ticker.asked is not None:
            for host in self._in.in_force.hosts:
                host.cancel_tick(ticker.asked.tick_id)

    # --- the rules of a zone have changed ---------------------------------------------------------------------

    def local_times(self) -> dict[str, int]:
        """What the clock on the wall showed at the last instant that was decided, of schedules that name moments of
        a day: by the rules in force."""
        return {
            name: ZoneClock(ticker.spec.timezone or "UTC").local(math.floor(ticker.state.decided))
            for name, ticker in self.schedules.items()
            if ticker.state is not None and ticker.spec.cron is not None and names_moments(ticker.spec.cron)
        }

    def rezoned(self, local_times: Mapping[str, int]) -> None:
        """The rules are others now: wait for other instants. A moment that was decided under the old rules is not
        decided again where the new ones put it later."""
        now = self._in.clock.now()
        for name, ticker in self.schedules.items():
            ticker.due = None
            if ticker.state is not None and name in local_times and not ticker.busy:
                again = float(ZoneClock(ticker.spec.timezone or "UTC").instant(local_times[name]))
                if again > ticker.state.decided and not ticker.row.paused:
                    ticker.busy = True
                    moved = Plan((), (), replace(ticker.state, decided=again), None, now)
                    self._in.work.spawn(self._commit_plain([(ticker, moved)]))
                    continue
            self._come(ticker)

    # --- due ------------------------------------------------------------------------------------------------

    def _wait(self, ticker: ScheduleTicker, due: float | None) -> None:
        """One entry of the heap for all that wait for one instant."""
        if due is None or not self.open or ticker.row.paused or not self._is_declared(ticker):
            return
        ticker.due = due
        waiting = self._at.get(due)
        if waiting is None:
            self._at[due] = [ticker]
            self._in.heap.at(("schedules", due), due, partial(self._fall_due, due))
        else:
            waiting.append(ticker)

    def _is_declared(self, ticker: ScheduleTicker) -> bool:
        return self.schedules.get(ticker.spec.name) is ticker

    def _fall_due(self, due: float) -> None:
        here = [ticker for ticker in self._at.pop(due) if ticker.due == due]  # the others wait for something else
        for ticker in here:
            ticker.due = None
        self._decide(here)

    def _come(self, ticker: ScheduleTicker) -> None:
        """All that come in one turn of the loop are decided together."""
        ticker.due = None
        if not self._due:
            self._in.work.begin()
            asyncio.get_running_loop().call_soon(self._decide_due)
        self._due.append(ticker)

    def _decide_due(self) -> None:
        due, self._due = self._due, []
        self._decide(due)
        self._in.work.end()

    def _decide(self, due: Sequence[ScheduleTicker]) -> None:
        if len(due) <= PIECE:
            self._decide_some(due)
        else:
            self._in.work.spawn(self._decide_many(due))

    async def _decide_many(self, due: Sequence[ScheduleTicker]) -> None:
        """Piece by piece, so that the first is written while the next is planned."""
        for start in range(0, len(due), PIECE):
            self._decide_some(due[start : start + PIECE])
            await asyncio.sleep(0)

    def _decide_some(self, due: Iterable[ScheduleTicker]) -> None:
        now = self._in.clock.now()
        plain: list[tuple[ScheduleTicker, Plan]] = []
        planned: dict[object, Plan] = {}  # many that are due together are alike
        for ticker in due:
            if not self.open or ticker.busy or ticker.row.paused or not self._is_declared(ticker):
                continue
            like = ticker.likeness()
            made = planned.get(like)
            if made is None:
                made = planned[like] = plan(ticker.spec, ticker.state, now, watching_since=ticker.since)
            if ticker.spec.body and made.fire:
                self._ask(ticker, made)
            elif made.fire or made.skipped or made.state != ticker.state:
                ticker.busy = True
                plain.append((ticker, made))
            else:
                self._wait(ticker, made.due)
        for piece in pieces(plain):
            self._in.work.spawn(self._commit_plain(piece))

    # --- without a body -------------------------------------------------------------------------------------

    async def _commit_plain(self, decided: Sequence[tuple[ScheduleTicker, Plan]]) -> None:
        commits: list[ScheduleCommit] = []
        for ticker, made in decided:
            runs = tuple(self._samples.runs(ticker.spec, at) for at in made.fire)
            commits.append(self._commit_of(ticker, made, runs, self._take_id(), ticker.row.revision))
        await self._commit(decided, commits)

    def _commit_of(
        self, ticker: ScheduleTicker, made: Plan, runs: Asking, tick_id: int, revision: int
    ) -> ScheduleCommit:
        if ticker.spec.overlap == "queue":
            runs = in_line(runs, self._launcher.queue.has)
        return commit_of(ticker, made, runs, tick_id=tick_id, revision=revision)

    async def _commit(self, decided: Sequence[tuple[ScheduleTicker, Plan]], commits: Sequence[ScheduleCommit]) -> None:
        definitions = self._in.in_force.definitions
        runs = [run for commit in commits for asked in commit.runs for run in asked]
        booking = self._launcher.book(runs)
        commits = with_runs(commits, booking.runs) if booking.marked else commits
        names = {step.name for run in runs for step in run.steps} if booking.begins else ()
        transaction = partial(
            commit_schedules,
            commits=commits,
            start=booking.start,
            needs=input_needs(definitions, names),
            now=self._in.clock.now(),
            version=definitions.version,
        )
        try:
            result = await persist(self._in, transaction, what="schedules")
        except FreshetError:  # a body named a key that is not there, say
            self._launcher.forgo(booking)
            raise
        self._in.bus.publish(result.events)
        self._launcher.admitted(booking, result.runs, result.admitted)
        for run_id in result.canceled:
            self._launcher.cancel(run_id, grace=CANCEL_GRACE)
        refused, now = set(result.refused), self._in.clock.now()
        for ticker, made in decided:
            ticker.busy = False
            if ticker.row.id in refused:
                self._wait(ticker, now)
                continue
            ticker.state = made.state
            if ticker.row.failures:
                _log.info("schedule recovered", schedule=ticker.row.name, failures=ticker.row.failures)
                ticker.row = replace(ticker.row, failures=0, retry_at=None)
            if made.skipped or ticker.row.id in result.overlapped:
                tell_skipped(ticker.spec, made, result.overlapped.get(ticker.row.id, ()))
            edited = made.state.version != ticker.spec.version
            self._wait(ticker, now if edited else made.due)

    # --- with a body ----------------------------------------------------------------------------------------

    def _ask(self, ticker: ScheduleTicker, made: Plan) -> None:
        """Ask the body about the first instant; the others follow, one by one."""
        host = self._in.in_force.host
        if host is None:
            self._wait(ticker, self._in.clock.now() + 1.0)
            return
        first = made.fire[0]
        state = replace(made.state, decided=first)
        part = replace(made, fire=(first,), state=state, due=self._in.clock.now())
        order = TickOrder(self._take_id(), ticker.spec.name, first, 0, None, self._in.clock.now(), ticker.spec.timeout)
        ticker.busy, ticker.asked = True, Asked(part, order.tick_id, ticker.row.revision)
        self._in.work.begin()
        host.tick(order)

    def ended(self, end: TickEnd) -> bool:
        """The answer of a body; False if `end` is no schedule's."""
        ticker = self.schedules.get(end.sensor)
        gone = next((one for one in self._gone if one.asked and one.asked.tick_id == end.tick_id), None)
        if gone is not None:
            self._gone.remove(gone)
            self._in.work.end()
            return True
        if ticker is None:
            return False
        if ticker.asked is not None and ticker.asked.tick_id == end.tick_id:
            asked, ticker.asked = ticker.asked, None
            self._in.work.spawn(self._answered(ticker, asked, end))
            self._in.work.end()
        return True

    async def _answered(self, ticker: ScheduleTicker, asked: Asked, end: TickEnd) -> None:
        definitions, made = self._in.in_force.definitions, asked.plan
        if end.status == "abandoned" or asked.revision != ticker.row.revision:
            ticker.busy = False
            self._wait(ticker, self._in.clock.now())
            return
        try:
            if (wrong := refused_answer(end)) is not None:
                raise _Failed(wrong)
            origin = f"schedule:{ticker.spec.name}"
            asking = partial(sensor_run, definitions, sensor=ticker.spec.name, origin=origin)
            runs = tuple(asking(one, now=self._in.clock.now()) for one in end.runs)
            commit = self._commit_of(ticker, made, (runs,), end.tick_id, asked.revision)
            await self._commit([(ticker, made)], [commit])
        except _Failed as failed:
            await self._failed(ticker, asked, end, failed.error)
        except FreshetError as error:
            await self._failed(ticker, asked, end, TickError(type(error).__name__, str(error)))

    async def _failed(self, ticker: ScheduleTicker, asked: Asked, end: TickEnd, error: TickError) -> None:
        """The instant stays undecided and is asked about again, as the misfire policy then allows."""
        row, now = ticker.row, self._in.clock.now()
        delay = end.after if end.after is not None else next_delay(1.0, row.failures + 1, self._in.rng)
        if not row.failures:
            at = raised_at(error.traceback)
            _log.warning("schedule failing", schedule=row.name, error=error.message, at=at, retry_in=delay)
        try:
            ticker.row, events = await persist(
                self._in,
                partial(
                    fail_tick,
                    ticker_id=row.id,
                    tick_id=end.tick_id,
                    revision=asked.revision,
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
            delay = 0.0
        ticker.busy = False
        self._wait(ticker, now + delay)


class _Failed(Exception):
    def __init__(self, error: TickError) -> None:
        self.error = error
