"""Back to an earlier tick: the sensor's cursor and ledger as they were at its end, as one more tick of its history."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import anyio
import structlog

from freshet.engine.attention import FULL, NOTHING
from freshet.engine.control import RollbackReport
from freshet.engine.instruments import Instruments
from freshet.engine.sensors import InFlight, SensorTicker
from freshet.engine.ticks import TickLoop
from freshet.errors import Conflict
from freshet.executors.base import TickEnd, TickOrder
from freshet.store.history import ledger_then, rollback_plan, taken_keys
from freshet.store.tickers import bump_revision

__all__ = ["roll_back"]

_SHOWN = 1000

_log = structlog.get_logger("freshet.sensors")


async def roll_back(
    instruments: Instruments, loop: TickLoop, ticker: SensorTicker, *, to: int, again: bool, dry_run: bool
) -> RollbackReport:
    """Go back, or (dry run) say what that would do. A look in flight is refused; the next is a full one.

    It is committed as the outcome of a tick is, in pieces where it is large, and can itself be rolled back.
    """
    if dry_run:
        return await _preview(instruments, ticker, to, again=again, dry_run=True)
    if ticker.held or not loop.open:
        raise Conflict(f"{ticker.spec.name!r} cannot be rolled back now", hint="try again when the daemon is ready")
    ticker.held = True
    done: list[RollbackReport] = []
    try:
        with anyio.CancelScope(shield=True):
            done.append(await _go_back(instruments, loop, ticker, to, again=again))
    finally:
        ticker.held = False
        ticker.attention = FULL
        loop.look(ticker)
    return done[0]


async def _preview(
    instruments: Instruments, ticker: SensorTicker, to: int, *, again: bool, dry_run: bool
) -> RollbackReport:
    plan = await instruments.store.read(partial(rollback_plan, ticker_id=ticker.row.id, to=to, shown=_SHOWN))
    return RollbackReport(
        sensor=ticker.spec.name,
        to=to,
        again=again,
        dry_run=dry_run,
        cursor_before=ticker.row.cursor,
        cursor=plan.cursor,
        ledger_removed=plan.removed,
        ledger_restored=plan.restored,
        run_keys=tuple(one._asdict() for one in plan.keys),
        run_key_count=plan.key_count,
        waiting=plan.waiting,
        takes_deliveries=ticker.spec.intake is not None,
    )


async def _go_back(
    instruments: Instruments, loop: TickLoop, ticker: SensorTicker, to: int, *, again: bool
) -> RollbackReport:
    store, ticker_id = instruments.store, ticker.row.id
    await _preview(instruments, ticker, to, again=again, dry_run=False)  # raises while nothing has been touched
    ticker.row = await store.write(partial(bump_revision, ticker_id=ticker_id))
    if ticker.in_flight is not None and not ticker.in_flight.committing:
        for host in instruments.in_force.hosts:
            host.cancel_tick(ticker.in_flight.order.tick_id)
    while ticker.in_flight is not None:
        await ticker.settled.wait()
    report = await _preview(instruments, ticker, to, again=again, dry_run=False)
    delta = await store.read(partial(ledger_then, ticker_id=ticker_id, to=to))
    keys = await store.read(partial(taken_keys, ticker_id=ticker_id, to=to)) if again else ()
    now, row = instruments.clock.now(), ticker.row
    order = TickOrder(loop.take_id(), row.name, row.cursor, row.ledger_revision, None, now, ticker.spec.timeout)
    flight = InFlight(order, row.revision, now, NOTHING, committing=True, release=keys)
    end = TickEnd(
        order.tick_id,
        row.name,
        "checkpoint",  # no look that went well: failures stay counted
        cursor=report.cursor,
        cursor_changed=True,
        ledger=delta,
        skip=f"rolled back to tick {to}{', to run again' if again else ''}",
    )
    ticker.in_flight = flight
    instruments.work.begin()
    try:
        result = await loop.commits.commit(ticker, flight, end, loop.decided)
        ticker.row = replace(ticker.row, ledger_revision=result.ledger_revision)
    finally:
        ticker.in_flight = None
        instruments.work.end()
    _log.info("sensor rolled back", sensor=row.name, to=to, again=again)
    return report
