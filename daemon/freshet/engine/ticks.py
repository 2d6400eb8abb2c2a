"""The tick loop of the sensors.

due or woken  ->  evaluate(cursor)  ->  outcome  ->  one atomic commit  ->  publish  ->  launch
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from freshet.definitions.graph import Definitions
from freshet.definitions.names import nearest_hint
from freshet.engine.attention import FULL, NOTHING
from freshet.engine.backoff import first_delay, next_delay
from freshet.engine.commits import TickCommits, tell_dropped, tell_failed
from freshet.engine.instruments import STORE_RETRY, Instruments, persist
from freshet.engine.launcher import Launcher
from freshet.engine.offences import quarantine, strikes
from freshet.engine.outcomes import has_effects
from freshet.engine.sensors import InFlight, SensorTicker, TickTally
from freshet.engine.staging import Staging
from freshet.errors import Conflict, FreshetError, StoreError, TickRefused, UnknownName
from freshet.executors.base import TickEnd, TickOrder
from freshet.store.records import TickCommit, TickError, TickerRow, TickResult
from freshet.store.tickers import count_refused, count_ticks
from freshet.store.ticks import fail_tick

__all__ = ["TickLoop"]

_COUNTS_EVERY = 60.0

_log = structlog.get_logger("freshet.sensors")


class TickLoop:
    """Holds the sensors; at most one tick of each is in flight."""

    def __init__(self, instruments: Instruments, launcher: Launcher, staging: Staging, *, next_tick_id: int) -> None:
        self._in = instruments
        self.commits = TickCommits(instruments, launcher, staging)
        self._next_id = next_tick_id
        self.sensors: dict[str, SensorTicker] = {}
        self._gone: list[SensorTicker] = []
        """Declared no more, with a look in flight."""
        self.refused = 0
        self.open = False
        self.settled: Callable[[str, int, Sequence[int]], None] = lambda sensor, count, parked: None
        """Told of each commit that settles deliveries: how many wait no more, and which of them are parked."""
        self.code_of: Callable[[SensorTicker], str] = lambda ticker: ""
        self.look_failed: Callable[[str, TickEnd], bool] = lambda sensor, end: False

    # --- the set of sensors ---------------------------------------------------------------------------------

    def adopt(self, definitions: Definitions, rows: Iterable[TickerRow]) -> None:
        """Take the sensors of these definitions, with what the store remembers of each."""
        self.sensors = {ticker.spec.name: ticker for ticker in self.made(definitions, rows)}

    def made(self, definitions: Definitions, rows: Iterable[TickerRow]) -> tuple[SensorTicker, ...]:
        """The sensors of other definitions that are new."""
        remembered = {row.name: row for row in rows}
        specs = (spec for spec in definitions.sensors if spec.name not in self.sensors)
        return tuple(SensorTicker(spec, remembered[spec.name]) for spec in specs)

    def redefine(self, definitions: Definitions, made: Iterable[SensorTicker]) -> None:
        """Take other definitions into force, with the sensors `made` for them. A sensor keeps what is known of it by
        its name; what a look in flight of one that is gone finds is refused."""
        before, self.sensors = {**self.sensors, **{ticker.spec.name: ticker for ticker in made}}, {}
        for spec in definitions.sensors:
            ticker = self.sensors[spec.name] = before.pop(spec.name)
            moved, ticker.spec = ticker.spec.interval != spec.interval, spec
            if (moved or self._in.heap.due_at(("sensor", spec.name)) is None) and not ticker.holds_off:
                self._schedule(ticker, first_delay(spec.name, spec.interval))
        for ticker in before.values():
            ticker.held = True
            self._in.heap.cancel(("sensor", ticker.spec.name))
            if ticker.in_flight is not None:
                self._gone.append(ticker)
                for host in self._in.in_force.hosts:
                    host.cancel_tick(ticker.in_flight.order.tick_id)

    def look_anew(self) -> None:
        """Other definitions are in force: all look at everything."""
        for ticker in self.sensors.values():
            ticker.attention = FULL
            self._resume_waiting(ticker)

    def known(self, name: str) -> SensorTicker:
        """A sensor that has a look in flight, though it may be gone. Raises `UnknownName`."""
        found = self.sensors.get(name) or next((one for one in self._gone if one.spec.name == name), None)
        if found is None:
            raise UnknownName(f"there is no sensor {name!r}", hint=nearest_hint(name, self.sensors))
        return found

    def start(self) -> None:
        """Look at everything now (what happened while the daemon was down), then by interval and wake."""
        self.open = True
        for ticker in self.sensors.values():
            self._schedule(ticker, first_delay(ticker.spec.name, ticker.spec.interval))
            self._resume_waiting(ticker)

    def stop(self) -> None:
        """No new ticks."""
        self.open = False
        for name in self.sensors:
            self._in.heap.cancel(("sensor", name))

    def cancel(self) -> None:
        """Nobody waits for the looks in flight any more: what they saw will be seen again."""
        for ticker in self.sensors.values():
            if ticker.in_flight is not None and not ticker.in_flight.committing:
                for host in self._in.in_force.hosts:
                    host.cancel_tick(ticker.in_flight.order.tick_id)

    def _resume_waiting(self, ticker: SensorTicker) -> None:
        retry_at, now = ticker.row.retry_at, self._in.clock.now()
        if retry_at is not None and retry_at > now:
            self._hold_off(ticker, min(retry_at - now, 10 * max(ticker.spec.interval, 1.0)))
        else:
            self.look(ticker)

    # --- due or woken ---------------------------------------------------------------------------------------

    def woken(self, name: str, hints: tuple[str, ...] | None) -> None:
        """A sensor's source moved."""
        ticker = self.sensors.get(name)
        if ticker is not None:
            ticker.attention = ticker.attention.add(hints)
            self.look(ticker)

    def _schedule(self, ticker: SensorTicker, delay: float) -> None:
        if self.sensors.get(ticker.spec.name) is ticker:
            self._in.heap.after(("sensor", ticker.spec.name), delay, partial(self._due, ticker))

    def _due(self, ticker: SensorTicker) -> None:
        ticker.holds_off = False
        ticker.attention = FULL
        self._schedule(ticker, ticker.spec.interval)
        self.look(ticker)

    def _hold_off(self, ticker: SensorTicker, delay: float) -> None:
        ticker.holds_off = True
        ticker.attention = FULL
        self._schedule(ticker, delay)

    def _resume_interval(self, ticker: SensorTicker) -> None:
        """A look that went well (one by hand goes past a back-off) ends the back-off."""
        if ticker.holds_off:
            ticker.holds_off = False
            self._schedule(ticker, ticker.spec.interval)

    # --- evaluate -------------------------------------------------------------------------------------------

    def look(self, ticker: SensorTicker, report: TickTally | None = None) -> None:
        """Begin a tick if there is something to look at and nothing forbids it. A look by hand (`report`) goes past
        pause, quarantine and back-off."""
        host = self._in.in_force.host
        if ticker.in_flight is not None:
            return
        if host is None or not self.open or ticker.held:
            if report is not None and not report.answer.done():
                why = "its cursor is being rolled back" if ticker.held else "no plugins are running now"
                report.answer.set_exception(Conflict(why, hint="see freshet status"))
            return
        if report is None and not (ticker.attention and ticker.may_look):
            return
        attention = ticker.attention if report is None else FULL
        ticker.attention = NOTHING
        now = self._in.clock.now()
        order = TickOrder(
            tick_id=self.take_id(),
            sensor=ticker.spec.name,
            cursor=ticker.row.cursor,
            ledger_revision=ticker.row.ledger_revision,
            hints=attention.order(),
            now=now,
            timeout=ticker.spec.timeout,
        )
        ticker.in_flight = InFlight(order, ticker.row.revision, now, attention, report)
        self._in.work.begin()
        host.tick(order)

    def take_id(self) -> int:
        """A tick id that nobody had."""
        self._next_id += 1
        return self._next_id - 1

    # --- outcome --------------------------------------------------------------------------------------------

    def ended(self, end: TickEnd) -> None:
        """An evaluation, or a part of one, is here."""
        ticker = self._whose(end)
        flight = ticker.in_flight if ticker is not None else None
        if ticker is None or flight is None:
            self._refuse(end)
            return
        if flight.committing:
            flight.overtaken = end
            return
        whole = end.status == "ok" and flight.order.hints is None
        if end.lag is not None or whole:
            ticker.told = end.lag
        if end.notice is not None or whole:
            ticker.notice = end.notice
        if end.status not in ("abandoned", "checkpoint"):
            self._heard(ticker, end)
        match end.status:
            case "abandoned":
                self._again(ticker, flight)
            case "checkpoint":
                self._begin_commit(ticker, flight, end)
            case "ok" if has_effects(end, ticker.row):
                self._begin_commit(ticker, flight, end)
            case "ok":
                self._idle(ticker, flight, end)
            case _:
                self._in.work.spawn(self._fail(ticker, flight, end))

    def _whose(self, end: TickEnd) -> SensorTicker | None:
        ticker = self.sensors.get(end.sensor)
        for one in self._gone if ticker is None else (ticker, *self._gone):
            if one.in_flight is not None and one.in_flight.order.tick_id == end.tick_id:
                return one
        return None

    def _heard(self, ticker: SensorTicker, end: TickEnd) -> None:
        before = ticker.waits_for
        ticker.heard(end)
        if before is None and ticker.waits_for is not None:
            _log.warning("sensor waiting", sensor=ticker.row.name, reason=ticker.waits_for)
        elif before is not None and ticker.waits_for is None and end.status == "ok":
            _log.info("sensor waits no more", sensor=ticker.row.name, reason=before)

    def _refuse(self, end: TickEnd) -> None:
        self.refused += 1
        if end.status in ("ok", "checkpoint"):
            self._tell_host(end, None, None)

    def _idle(self, ticker: SensorTicker, flight: InFlight, end: TickEnd) -> None:
        ticker.ticks += 1
        ticker.idle_ticks += 1
        ticker.last_tick_at = self._in.clock.now()
        if self._in.heap.due_at("tick counts") is None:
            self._in.heap.after("tick counts", _COUNTS_EVERY, self._count_later)
        self._answer(flight, ticker, end, None)
        self._over(ticker)

    def _again(self, ticker: SensorTicker, flight: InFlight) -> None:
        """Another's fault ended the evaluation: look again on the next turn, when it is known if a host is left. Until
        then the tick keeps its place: nothing else begins, and who waits for it is not forgotten."""
        ticker.attention = ticker.attention.merge(flight.attention)
        self._in.heap.after(("again", ticker.spec.name), 0.0, partial(self._free, ticker, flight.report))
        self._in.work.end()

    def _over(self, ticker: SensorTicker) -> None:
        if ticker.in_flight is not None:
            tell_dropped(ticker, ticker.in_flight.dropped)
        self._in.work.end()
        self._free(ticker)

    def _free(self, ticker: SensorTicker, report: TickTally | None = None) -> None:
        ticker.in_flight = None
        if ticker in self._gone:
            self._gone.remove(ticker)
        ticker.settled.set()
        ticker.settled.clear()
        self.look(ticker, report)

    # --- one atomic commit, publish, launch -----------------------------------------------------------------

    def _begin_commit(self, ticker: SensorTicker, flight: InFlight, end: TickEnd) -> None:
        flight.committing = True
        self._in.work.spawn(self._commit(ticker, flight, end))

    async def _commit(self, ticker: SensorTicker, flight: InFlight, end: TickEnd) -> None:
        try:
            result = await self.commits.commit(ticker, flight, end, self.decided)
        except StoreError as error:
            await self._not_committed(ticker, flight, end, error)
            return
        except FreshetError as error:
            self._tell_host(end, None, None)
            failed = replace(end, status="failed", error=TickError(type(error).__name__, str(error)))
            await self._fail(ticker, flight, failed)
            return
        ticker.row = replace(ticker.row, ledger_revision=result.ledger_revision)
        if end.status == "checkpoint":
            self._go_on(flight, end, result.ledger_revision)
        else:
            self._tell_host(end, result.ledger_revision, None)
            self._answer(flight, ticker, end, None)
            self._over(ticker)

    def decided(self, ticker: SensorTicker, commit: TickCommit, result: TickResult) -> None:
        """What the ticker remembers is committed; of a large outcome, the rest is about to be carried out."""
        self._in.bus.publish(result.events)
        if commit.deliveries:
            self.settled(ticker.row.name, result.settled, result.parked)
        row, now = ticker.row, self._in.clock.now()
        cursor = commit.cursor if commit.cursor_changed else row.cursor
        ticker.row = row = replace(row, cursor=cursor, last_tick=commit.tick_id)
        if not commit.final:
            return
        if row.failures:
            _log.info(f"sensor recovered after {row.failures} ticks", sensor=row.name, after_failures=row.failures)
        ticker.row = replace(
            row, failures=0, strikes=0, retry_at=None, last_tick_at=now, last_ok_at=now, ticks=row.ticks + 1
        )
        ticker.last_tick_at = now
        self._resume_interval(ticker)

    def _go_on(self, flight: InFlight, end: TickEnd, ledger_revision: int) -> None:
        """A checkpoint has committed: the look goes on under a new id, or has ended meanwhile (its evaluator died)."""
        next_id = self.take_id()
        flight.order = replace(flight.order, tick_id=next_id)
        flight.committing = False
        if flight.overtaken is None:
            self._tell_host(end, ledger_revision, next_id)
        else:
            ended, flight.overtaken = flight.overtaken, None
            self.ended(replace(ended, tick_id=next_id))

    def _tell_host(self, end: TickEnd, ledger_revision: int | None, next_id: int | None) -> None:
        for host in self._in.in_force.hosts:
            host.tick_committed(
                end.tick_id,
                committed=ledger_revision is not None,
                ledger_revision=ledger_revision or 0,
                next_tick_id=next_id,
            )

    async def _not_committed(self, ticker: SensorTicker, flight: InFlight, end: TickEnd, error: StoreError) -> None:
        """Refused, or the disk is full: what was seen will be seen again, by a full look."""
        self._tell_host(end, None, None)
        ticker.attention = FULL
        if isinstance(error, TickRefused):
            self.refused += 1
            await persist(self._in, partial(count_refused, ticker=ticker.row.id), what="a refused tick")
        else:
            _log.error("an outcome could not be committed", sensor=ticker.row.name, error=str(error))
            self._hold_off(ticker, STORE_RETRY)
        self._answer(flight, ticker, end, error)
        self._over(ticker)

    # --- failure --------------------------------------------------------------------------------------------

    async def _fail(self, ticker: SensorTicker, flight: InFlight, end: TickEnd) -> None:
        row, now = ticker.row, self._in.clock.now()
        later = end.status == "later"
        if not later and self.look_failed(row.name, end):  # that delivery is parked in time: the sensor goes on
            end = replace(end, struck=False)
        failures = row.failures if later else row.failures + 1
        after = end.after if later else None
        delay = next_delay(ticker.spec.interval, failures, self._in.rng) if after is None else after
        quarantined = quarantine(row, end) or row.quarantined
        try:
            ticker.row, events = await self._in.store.write(
                partial(
                    fail_tick,
                    ticker_id=row.id,
                    tick_id=flight.order.tick_id,
                    revision=flight.revision,
                    status=end.status,
                    error=end.error,
                    failures=failures,
                    retry_at=now + delay,
                    quarantined=quarantined,
                    started_at=flight.began,
                    ended_at=now,
                    strikes=strikes(row, end),
                    struck_code=self.code_of(ticker) if quarantined and end.struck else row.struck_code,
                )
            )
        except StoreError as error:
            await self._not_committed(ticker, flight, end, error)
            return
        self._in.bus.publish(events)
        tell_failed(row, end, delay, quarantined)
        ticker.last_tick_at = now
        self._hold_off(ticker, delay)
        self._answer(flight, ticker, end, None)
        self._over(ticker)

    # --- counting and answering -----------------------------------------------------------------------------

    def _count_later(self) -> None:
        self._in.work.spawn(self.write_counts())

    async def write_counts(self) -> None:
        """Add what was counted in memory to the store."""
        counts = [count for ticker in self.sensors.values() if (count := ticker.take_count()) is not None]
        if counts:
            await persist(self._in, partial(count_ticks, counts=counts), what="tick counts")

    def _answer(self, flight: InFlight, ticker: SensorTicker, end: TickEnd, error: FreshetError | None) -> None:
        if flight.report is not None:
            flight.report.answer_with(ticker.row, end, error)
