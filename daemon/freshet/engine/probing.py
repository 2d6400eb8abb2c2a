"""Which deliveries the store refuses, when it has refused the outcome that they are part of."""

from __future__ import annotations

from functools import partial

from freshet.engine.deliveries import alone
from freshet.engine.instruments import Instruments
from freshet.engine.outcomes import tick_commit
from freshet.engine.sensors import InFlight
from freshet.executors.base import TickEnd
from freshet.store.probe import probe
from freshet.store.records import TickerRow

__all__ = ["refused_deliveries"]


async def refused_deliveries(
    instruments: Instruments, row: TickerRow, flight: InFlight, end: TickEnd
) -> dict[int, str]:
    """By delivery of a prepared outcome, why it cannot be. Empty where the fault lies elsewhere. Raises
    `FreshetError`."""
    if not end.handled:
        return {}
    definitions, now = instruments.in_force.definitions, instruments.clock.now()
    rest, each = alone(end)
    parts = [tick_commit(definitions, row, flight, one, now=now) for one in (rest, *(part for _, part in each))]
    own, *found = await instruments.store.write(partial(probe, parts=parts))
    if own is not None:
        return {}
    return {number: reason for (number, _), reason in zip(each, found, strict=True) if reason is not None}
