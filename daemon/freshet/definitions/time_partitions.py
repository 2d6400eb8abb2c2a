"""Partitions in time: a window each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Literal

from freshet.definitions.cron import check_cron
from freshet.definitions.names import check_name, nearest_hint
from freshet.definitions.source import Source, caller_source
from freshet.definitions.windows import CADENCES, Window, Windows, first_from, start_of, windows_of
from freshet.definitions.zones import check_zone
from freshet.errors import DefinitionError, PartitionKeyError

__all__ = ["TimePartitions"]

_MAX_SHIFT = 1_000_000


@dataclass(frozen=True)
class TimePartitions:
    """A partition for each day, hour, week, month, or stretch between two ticks of a cron text, once it has passed.

    `cadence`: "daily", "hourly", "weekly" (from Monday), "monthly", or a cron text. `start`: the first window begins at
    or after it; a date or time on the zone's clock, as text, `date` or `datetime`. `timezone`: None means the
    configuration's. `end_offset=1` shows the window that is still open, too; `-1` holds back the last one that closed.

    A window's number depends on cadence and zone alone: moving `start` or `end_offset` hides or shows partitions and
    loses nothing. Sets of one cadence and zone have the same numbers; without a `name` they are the same set, and must
    then agree in `start` and `end_offset`. Days, weeks and months reach back to 1900, hours and cron texts to 1970.

    Raises `DefinitionError` for a cadence, zone or start that cannot be. What needs the zone raises `ValueError` until
    `resolved` has filled it in.
    """

    cadence: str
    start: str
    timezone: str | None = None
    end_offset: int = 0
    name: str = ""
    kind: Literal["time"] = "time"
    source: Source | None = field(default_factory=caller_source, compare=False)

    def __init__(
        self,
        cadence: str,
        start: str | date | datetime = "",
        timezone: str | None = None,
        end_offset: int = 0,
        name: str | None = None,
        kind: Literal["time"] = "time",
        source: Source | None = None,
    ) -> None:
        what = f"TimePartitions({cadence!r})"
        if timezone is not None:
            check_zone(timezone, what=what)
        if name:
            check_name(name, what="TimePartitions", identifier=False)
        if type(end_offset) is not int or abs(end_offset) > _MAX_SHIFT:
            raise DefinitionError(f"{what}: end_offset={end_offset!r}", hint="give a small whole number of windows")
        checked = _check_cadence(cadence, what)
        object.__setattr__(self, "cadence", checked)
        object.__setattr__(self, "start", _check_start(start, what))
        object.__setattr__(self, "timezone", timezone)
        object.__setattr__(self, "end_offset", end_offset)
        object.__setattr__(self, "name", name or _default_name(checked, timezone))
        object.__setattr__(self, "kind", "time")
        object.__setattr__(self, "source", source or caller_source())

    def resolved(self, timezone: str) -> TimePartitions:
        """The same with the configuration's zone where none was named; a default name then tells the zone."""
        if self.timezone is not None:
            return self
        named = self.name if self.name != _default_name(self.cadence, None) else ""
        return replace(self, timezone=timezone, name=named)

    @property
    def made_up(self) -> bool:
        """Whether nobody named it, and its name does not tell a person what it is: of a cron text."""
        return self.cadence not in CADENCES and self.name == _default_name(self.cadence, self.timezone)

    @property
    def zone(self) -> str:
        """The zone. Raises `ValueError` where it is not resolved."""
        if self.timezone is None:
            raise ValueError(f"the zone of {self.name!r} is not resolved")
        return self.timezone

    @property
    def numbering(self) -> str:
        """What the numbers mean: cadence and zone. Where it changes under a name, it is a new set."""
        return f"{self.cadence} {self.zone}"

    @property
    def windows(self) -> Windows:
        """All windows of the cadence, whether they are live or not."""
        return windows_of(self.cadence, self.zone)

    # --- keys, numbers, windows

    def key(self, number: int) -> str:
        """The key of a number, live or not."""
        return self.windows.key(number)

    def number(self, key: str) -> int:
        """The number of a key, live or not. Raises `PartitionKeyError`, with the form expected or the nearest key."""
        return self.windows.number(key)

    def window(self, key: str) -> Window:
        """The window of a key."""
        return self.windows.window(self.number(key))

    def keys(self, first: int, last: int) -> Iterator[tuple[int, str]]:
        """Numbers and keys from `first` to `last`."""
        return self.windows.keys(first, last)

    def between(self, first: str, last: str) -> range:
        """The numbers from one key to another, both included. Raises `PartitionKeyError` for an unknown key, and where
        the first is the later one."""
        low, high = self.number(first), self.number(last)
        if low > high:
            raise PartitionKeyError(f"{first}..{last} runs backward", hint=f"write {last}..{first}")
        return range(low, high + 1)

    def shifted(self, key: str, steps: int) -> str:
        """The key `steps` windows after (negative: before) another. Raises `PartitionKeyError` before the first."""
        number = self.number(key) + steps
        if number < 1:
            raise PartitionKeyError(f"there is no partition {-steps} before {key!r}", hint=f"first is {self.key(1)!r}")
        return self.key(number)

    # --- what is live

    @property
    def first(self) -> int:
        """The number of the first window that begins at or after `start`."""
        return first_from(self.windows, self.start)

    @property
    def begins(self) -> float:
        """`start` as an instant."""
        return start_of(self.start, self.zone)

    def live(self, now: float) -> range:
        """The numbers live at `now`: from `first` to the last window that has closed, shifted by `end_offset`."""
        return range(self.first, max(self.first, self._last(now) + 1))

    def is_live(self, number: int, now: float) -> bool:
        """Whether a number is live at `now`."""
        return self.first <= number <= self._last(now)

    def next_change(self, now: float) -> float | None:
        """The next instant at which `live` grows; None if never."""
        number = max(self.first, self._last(now) + 1)
        edge = number + 1 - self.end_offset
        if edge < 1:
            return None
        try:
            return self.windows.edge(edge)
        except OverflowError:
            return None

    def closed_by(self, tick: float) -> int | None:
        """The partition that a schedule's tick closed: the last one live at that instant. None if there is none."""
        last = self._last(tick)
        return last if last >= self.first else None

    def _last(self, now: float) -> int:
        return self.windows.edges_until(now) - 1 + self.end_offset


def _check_cadence(cadence: str, what: str) -> str:
    if not isinstance(cadence, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # plugins are not type-checked
        raise DefinitionError(f"{what}: the cadence is not a text", hint='write "daily", "hourly" or a cron text')
    word = cadence.strip().lower()
    if word in CADENCES:
        return word
    if " " not in word and not word.startswith("@"):
        hint = nearest_hint(word, CADENCES)
        raise DefinitionError(f"{what}: there is no such cadence", hint=f"{hint}; or give a cron text")
    return check_cron(cadence, what=what)


def _check_start(start: str | date | datetime, what: str) -> str:
    if not start:
        raise DefinitionError(f"{what}: no start", hint='say when the first window begins: start="2026-01-01"')
    text = start.isoformat() if isinstance(start, date) else start
    try:
        parsed = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise DefinitionError(
            f"{what}: start={start!r} is no date", hint='write it as "2026-01-01" or "2026-01-01T06:00"'
        ) from None
    if not 1900 <= parsed.year < 2500:
        raise DefinitionError(f"{what}: start={text!r} is out of range", hint="years from 1900 to 2499 are possible")
    return text


def _default_name(cadence: str, timezone: str | None) -> str:
    word = cadence if cadence in CADENCES else f"cron-{hashlib.sha256(cadence.encode()).hexdigest()[:12]}"
    if timezone is None:
        return word
    # A name has no "/" and no "+"; no two zones become the same.
    return f"{word}.{timezone.replace('/', '.').replace('+', '_plus_')}"
