"""Sensors that cost others their evaluator: what is remembered of it, and when they are not looked at any more.

A sensor that holds a loop for a moment is remembered, and set apart where it does so again and again; in an evaluator
of its own it harms nobody. One that costs its evaluator `STRIKES` times in a row, without a look that went well in
between, is quarantined until it is resumed, or its code is edited. A thread that stays past its timeout is no strike:
what it waits for may come back.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from freshet.definitions.frames import own_places
from freshet.engine.instruments import persist
from freshet.executors.base import TickEnd
from freshet.store.offences import add_offence
from freshet.store.records import TickerRow
from freshet.store.records.offences import Offence

if TYPE_CHECKING:
    from freshet.engine.engine import Engine
    from freshet.engine.sensors import SensorTicker

__all__ = ["STRIKES", "Offences", "quarantine", "strikes"]

STRIKES = 3
_QUIET = 60.0
"""Seconds from one hold of a sensor that is remembered to the next."""

_log = structlog.get_logger("freshet.sensors")


def strikes(row: TickerRow, end: TickEnd) -> int:
    """How often in a row the sensor cost its evaluator, with this failure."""
    return row.strikes + end.struck


def quarantine(row: TickerRow, end: TickEnd) -> str | None:
    """Why the sensor is not looked at any more after this failure; None while it is."""
    message = "" if end.error is None else end.error.message
    if end.status == "given_up":
        return message or None
    if not end.struck or (times := strikes(row, end)) < STRIKES:
        return None
    return f"cost its evaluator {times} times in a row, the last time because it {message}"


class Offences:
    """Of one engine's sensors."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[str, float] = {}

    def told(self, sensor: str, offence: Offence) -> None:
        """Remember it, and say it where the sensor is set apart for it, with its own line; the end of its look says the
        rest."""
        ticker = self._engine.ticks.sensors.get(sensor)
        if ticker is None:
            return
        if offence.moved:
            ticker.isolated = True
            file, line = next(iter(own_places(offence.stack)), (None, None))
            at = offence.stack.strip().partition("\n")[0].strip() if file is None else f"{file}:{line}"
            seconds = round(offence.seconds, 3)
            _log.warning("sensor blocked its evaluator", sensor=sensor, seconds=seconds, at=at or None)
        elif offence.kind == "held" and not self._is_news(sensor):
            return
        instruments = self._engine.instruments
        adding = partial(add_offence, ticker_id=ticker.row.id, at=instruments.clock.now(), offence=offence)
        instruments.work.spawn(persist(instruments, adding, what="what a sensor did to its evaluator"))

    def _is_news(self, sensor: str) -> bool:
        now = self._engine.instruments.clock.monotonic()
        if now < self._held.get(sensor, float("-inf")) + _QUIET:
            return False
        self._held[sensor] = now
        return True

    def code_of(self, ticker: SensorTicker) -> str:
        """The version of the sensor's code, as far as it is known: that of its file, else of all plugins."""
        source = ticker.spec.source
        found = None if source is None else self._engine.reloader.code_of(source.file)
        return found or self._engine.instruments.in_force.definitions.version

    def pardon(self) -> None:
        """Other definitions are in force: what was quarantined with other code goes on."""
        for ticker in self._engine.ticks.sensors.values():
            ticker.isolated = False  # of a new host
            if ticker.row.struck_code not in (None, self.code_of(ticker)):
                self._engine.instruments.work.spawn(self._let_go(ticker))

    async def _let_go(self, ticker: SensorTicker) -> None:
        await self._engine.desk.pardon(ticker)
        _log.info("sensor was edited, and is quarantined no more", sensor=ticker.row.name)
