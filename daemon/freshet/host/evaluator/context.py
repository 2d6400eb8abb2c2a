"""`ctx` of a sensor: see `host.contexts.SensorContext`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from freshet.definitions.asset import Asset
from freshet.definitions.delivery import Deliveries
from freshet.definitions.job import Job
from freshet.definitions.listen import Happenings, Listen, ListenType
from freshet.definitions.outcome import Json
from freshet.host.evaluator.ledger import LedgerCache, TickLedger
from freshet.host.evaluator.plain import plain, plain_text

__all__ = ["Desk", "EvaluatorContext", "LookEnded", "SensorLogger"]


_UNSETTLED = 1_000
"""Deliveries that one commit settles at the most."""
_LAST = 2**63 - 1
"""The largest number that an event or a row can have."""


class LookEnded(BaseException):
    """A checkpoint was refused: nobody waits for this look any more. No `Exception`, so that plugins let it pass."""


class Desk(Protocol):
    """What `ctx` asks of whoever runs the look. `look` is the asker's own name for it."""

    async def checkpoint(self, look: Any) -> None:
        """Commit what the look found so far. Raises `LookEnded`."""
        ...

    def checkpoint_sync(self, look: Any) -> None:
        """`checkpoint`, blocking: not on the event loop's thread."""
        ...

    def ledger_texts(self, sensor: str, digests: list[bytes]) -> dict[bytes, str]:
        """The key texts of ledger entries."""
        ...

    async def deliveries(self, look: Any, after: int, limit: int) -> Deliveries:
        """The next deliveries for the look, behind row `after`."""
        ...

    def deliveries_sync(self, look: Any, after: int, limit: int) -> Deliveries:
        """`deliveries`, blocking: not on the event loop's thread."""
        ...

    async def events(self, look: Any, what: Listen, after: int | None, limit: int) -> Happenings:
        """The next committed events behind event `after`."""
        ...

    def log(self, sensor: str, level: str, message: str, fields: dict[str, Any]) -> None:
        """A line for the daemon's log."""
        ...


class SensorLogger:
    """`ctx.log`."""

    __slots__ = ("_desk", "_sensor")

    def __init__(self, desk: Desk, sensor: str) -> None:
        self._desk = desk
        self._sensor = sensor

    def debug(self, message: str, /, **fields: Json) -> None:
        """For the one who looks closely."""
        self._desk.log(self._sensor, "debug", message, fields)

    def info(self, message: str, /, **fields: Json) -> None:
        """What happened."""
        self._desk.log(self._sensor, "info", message, fields)

    def warning(self, message: str, /, **fields: Json) -> None:
        """What may become a problem."""
        self._desk.log(self._sensor, "warning", message, fields)

    def error(self, message: str, /, **fields: Json) -> None:
        """What is one."""
        self._desk.log(self._sensor, "error", message, fields)


class EvaluatorContext:
    """What a look sees and leaves behind."""

    __slots__ = (
        "_before",
        "_cache",
        "_desk",
        "_given",
        "_handed",
        "_lag",
        "_last",
        "_ledger",
        "_look",
        "_notice",
        "_now",
        "_taken",
        "cursor",
        "dry_run",
        "hints",
        "name",
        "resources",
    )

    def __init__(
        self,
        *,
        name: str,
        cursor: Json,
        hints: tuple[str, ...] | None,
        now: float,
        dry_run: bool,
        cache: LedgerCache,
        desk: Desk,
        look: object,
        resources: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.resources: Mapping[str, Any] = resources or {}
        self.cursor = cursor
        self.hints = hints
        self.dry_run = dry_run
        # A list or dict may be changed in place: that counts as assigned.
        self._before: Json = plain(cursor, "cursor") if isinstance(cursor, (list, dict)) else cursor
        self._now = now
        self._cache = cache
        self._desk = desk
        self._look = look
        self._ledger: TickLedger | None = None
        self._last = self._handed = 0
        self._given, self._taken = set[int](), set[int]()
        self._lag: list[Json] | None = None
        self._notice: str | None = None

    @property
    def ledger(self) -> TickLedger:
        """A keyed seen-set."""
        if self._ledger is None:
            self._ledger = TickLedger(self._cache, self._texts_of)
        return self._ledger

    @property
    def now(self) -> datetime:
        """The time of this tick, in UTC."""
        return datetime.fromtimestamp(self._now, UTC)

    @property
    def log(self) -> SensorLogger:
        """The daemon's log, with the sensor's name."""
        return SensorLogger(self._desk, self.name)

    async def checkpoint(self) -> None:
        """Commit what was yielded, and the cursor and ledger so far; returns when it is durable."""
        if not self.dry_run:
            await self._desk.checkpoint(self._look)

    def checkpoint_sync(self) -> None:
        """`checkpoint()` for `def` sensors."""
        if not self.dry_run:
            self._desk.checkpoint_sync(self._look)

    async def inbox(self, limit: int = 100) -> Deliveries:
        """The next deliveries that wait."""
        if self._is_full(limit):
            return Deliveries()
        return self._seen(await self._desk.deliveries(self._look, self._last, limit))

    def inbox_sync(self, limit: int = 100) -> Deliveries:
        """`inbox()` for `def` sensors."""
        if self._is_full(limit):
            return Deliveries()
        return self._seen(self._desk.deliveries_sync(self._look, self._last, limit))

    async def events(
        self,
        types: ListenType | Iterable[ListenType],
        assets: Iterable[str | Asset | Job] | None = None,
        *,
        after: int | None,
        limit: int = 500,
    ) -> Happenings:
        """What was committed behind event `after`."""
        if after is not None and (type(after) is not int or not 0 <= after <= _LAST):
            raise ValueError(f"ctx.events(after=) takes the number of an event, or None, not {after!r}")
        _check_limit(limit, "ctx.events(limit=)")
        return await self._desk.events(self._look, Listen(types, assets), after, limit)

    def _is_full(self, limit: int) -> bool:
        """Whether a dry run, which has no checkpoints, has seen enough. Raises `RuntimeError` for others."""
        _check_limit(limit, "ctx.inbox(limit)")
        full = bool(self._handed) and self._handed + limit > _UNSETTLED
        if full and not self.dry_run:
            raise RuntimeError(f"more than {_UNSETTLED:,} deliveries at once: `await ctx.checkpoint()` between them")
        return full

    def _seen(self, found: Deliveries) -> Deliveries:
        self._handed += len(found)
        self._given.update(one.number for one in found)
        if found:
            self._last = found[-1].number
        found.when_taken = partial(self._taken.update, [one.number for one in found])
        return found

    def lag(self, items: int, oldest: datetime | None = None) -> None:
        """How much waits, and since when."""
        if type(items) is not int or items < 0:
            raise ValueError(f"ctx.lag(items) takes a number from 0 up, not {items!r}")
        if oldest is not None and oldest.tzinfo is None:
            raise ValueError(f"ctx.lag(oldest) takes a time with a zone, not {oldest!r}")
        self._lag = [items, None if oldest is None else oldest.timestamp()]

    def notice(self, text: str) -> None:
        """How the sensor stands."""
        if type(text) is not str or not text.strip():
            raise ValueError(f"ctx.notice(text) takes a text, not {text!r:.100}")
        self._notice = plain_text(text, "ctx.notice(text)")

    # --- for whoever runs the look -------------------------------------------------------------------------

    def check_given(self, deliveries: Iterable[int]) -> None:
        """Raise `ValueError` for the number of a delivery that this look was not given: it may not wait any more, and
        what is asked for it then is asked for twice."""
        if others := sorted(set(deliveries) - self._given):
            raise ValueError(f"Handled(delivery): `ctx.inbox()` did not give {others[0]} to this look")

    def in_hand(self, handled: AbstractSet[int]) -> list[int]:
        """The deliveries that the look has taken out of what it was given, but for those that are handled."""
        return sorted(self._taken - handled)

    def told_lag(self) -> list[Json] | None:
        """What `lag` was told last."""
        return self._lag

    def told_notice(self) -> str | None:
        """What `notice` was told last."""
        return self._notice

    def used_ledger(self) -> TickLedger | None:
        """The ledger, if the look touched it."""
        return self._ledger

    def new_cursor(self) -> list[Json] | None:
        """The cursor in a list of one if it changed, else None. Raises `NotPlain` where JSON cannot hold it."""
        cursor, before = self.cursor, self._before
        if cursor is before and not isinstance(cursor, (list, dict)):
            return None
        checked = plain(cursor, "the cursor", exact=True)
        if type(checked) is type(before) and checked == before and repr(checked) == repr(before):
            return None
        return [checked]

    def committed(self, cursor: list[Json] | None) -> None:
        """A checkpoint with this cursor is durable: changes count from here."""
        self._handed = 0
        if cursor is not None:
            self._before = cursor[0]

    def _texts_of(self, digests: list[bytes]) -> dict[bytes, str]:
        if self._cache.texts is not None:
            return self._cache.texts_of(digests)
        return self._desk.ledger_texts(self.name, digests)


def _check_limit(limit: object, what: str) -> None:
    """Raise `ValueError` for what the daemon could make nothing of."""
    if type(limit) is not int or not 0 < limit <= _LAST:
        raise ValueError(f"{what} takes a number from 1 up, not {limit!r}")
