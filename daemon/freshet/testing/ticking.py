"""`tick(sensor)`: one look of a sensor in this process, and what it would commit."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from freshet.definitions.delivery import Deliveries, Delivery
from freshet.definitions.listen import Happened, Happenings, Listen
from freshet.definitions.outcome import Json
from freshet.definitions.sensor import Sensor, ability
from freshet.executors.base import DeliveryEnd, RequestedRun, TickEnd
from freshet.executors.evaluator_outcomes import OutcomeParts
from freshet.host.evaluator.context import EvaluatorContext, LookEnded
from freshet.host.evaluator.evaluate import blocking_look, form_of, look, partial_look
from freshet.host.evaluator.inbox import check_intake
from freshet.host.evaluator.ledger import LedgerCache, digest_of, version_of
from freshet.host.evaluator.messages import messages_of
from freshet.host.evaluator.outcome import Found, Outcome
from freshet.store.records import PartitionDelta, ReportedMaterialization

__all__ = ["Seen", "Ticked", "end_of", "tick"]


class Seen:
    """The items in a sensor's ledger after a tick. Hand it to the next `tick(..., ledger=)`."""

    def __init__(self, cache: LedgerCache) -> None:
        self.cache = cache

    def __contains__(self, key: str) -> bool:
        return digest_of(key) in self.cache.entries

    def __iter__(self) -> Iterator[str]:
        return iter((self.cache.texts or {}).values())

    def __len__(self) -> int:
        return len(self.cache.entries)

    def __repr__(self) -> str:
        return f"Seen({sorted(self)})"


@dataclass(frozen=True)
class Ticked:
    """What a look would commit, all parts together. `checkpoints`: how many parts it committed before its end.
    `deliveries`: what became of those it was handed, each with what it asks for."""

    cursor: Json
    runs: tuple[RequestedRun, ...]
    partitions: tuple[PartitionDelta, ...]
    reports: tuple[ReportedMaterialization, ...]
    skip: str | None
    ledger: Seen
    checkpoints: int
    deliveries: tuple[DeliveryEnd, ...] = ()

    @property
    def run_keys(self) -> list[str | None]:
        """Of the runs asked for, in order."""
        return [run.run_key for run in self.runs]


def tick(
    sensor: Sensor,
    cursor: Json = None,
    *,
    hints: Iterable[str] | None = None,
    ledger: Seen | Mapping[str, str] | Iterable[str] = (),
    now: datetime | None = None,
    dry_run: bool = False,
    deliveries: Iterable[Delivery] = (),
    events: Iterable[Happened] = (),
    ends_at: int | None = None,
    resources: Mapping[str, Any] | None = None,
) -> Ticked:
    """Look once, and return what the daemon would commit.

    `hints`: None for a full look. `ledger`: what was seen before: `ticked.ledger` of an earlier tick, a dict of keys
    and versions, or keys. `deliveries`: what `ctx.inbox()` gives, in this order. `events`: what
    `ctx.events()` finds, by their `seq`. `now`: an aware time for `ctx.now`. `open()` is called before and `close()`
    after. `resources`: what stands for those that it needs, by name. `ends_at`: break off, as a daemon that dies does,
    once so many checkpoints have been committed.

    What the sensor raises is raised here, `RetryLater` and `GiveUp` too; a wrong result is a `TypeError`, a cursor
    that JSON cannot hold a `ValueError`.
    """
    at = time.time() if now is None else now.timestamp()
    told = None if hints is None else tuple(hints)
    given = (tuple(deliveries), tuple(events))
    desk = _Desk(
        sensor, cursor, told, _cache(ledger), at, dry_run=dry_run, given=given, ends_at=ends_at, resources=resources
    )
    _run(desk.tick())
    return desk.ticked()


def end_of(tick_id: int, sensor: str, outcome: Outcome) -> TickEnd:
    """An outcome as the engine gets it."""
    parts = OutcomeParts()
    for message in messages_of(tick_id, outcome):
        if message[-1] is not None:
            parts.add(message[-1])
    return parts.end(tick_id, sensor, outcome.status)


class _Desk:
    """Commits at once what a look hands in."""

    def __init__(
        self,
        sensor: Sensor,
        cursor: Json,
        hints: tuple[str, ...] | None,
        cache: LedgerCache,
        now: float,
        *,
        dry_run: bool,
        given: tuple[tuple[Delivery, ...], tuple[Happened, ...]],
        ends_at: int | None,
        resources: Mapping[str, Any] | None,
    ) -> None:
        self._sensor = sensor
        self._ends_at = ends_at
        self._waiting, self._events = given
        self._cache = cache
        self._cursor = cursor
        self._found = Found(sensor.name, target=sensor.spec.target)
        self._parts: list[TickEnd] = []
        self._ctx = EvaluatorContext(
            name=sensor.name,
            cursor=cursor,
            hints=hints,
            now=now,
            dry_run=dry_run,
            cache=cache,
            desk=self,
            look=None,
            resources=resources,
        )

    async def tick(self) -> None:
        """Open, look, close."""
        await _settle(ability(self._sensor, "open"))
        try:
            if form_of(self._sensor) == "async":
                await look(self._sensor, self._ctx, self._found)
            elif rest := blocking_look(self._sensor, self._ctx, self._found):
                await rest()
            self._commit()
        except LookEnded:
            pass  # broken off: what is committed holds
        finally:
            await _settle(ability(self._sensor, "close"))

    def _commit(self) -> None:
        outcome = partial_look(self._ctx, self._found, "ok")
        self._parts.append(end_of(0, self._sensor.name, outcome))
        if outcome.cursor is not None:
            self._cursor = outcome.cursor[0]
        if outcome.ledger is not None:
            outcome.ledger.apply(self._cache.revision + 1, self._ctx.ledger)
        self._ctx.committed(outcome.cursor)
        self._found.clear()

    def ticked(self) -> Ticked:
        """All parts together."""
        parts = self._parts
        return Ticked(
            cursor=self._cursor,
            runs=tuple(run for part in parts for run in part.runs),
            partitions=tuple(delta for part in parts for delta in part.partitions),
            reports=tuple(report for part in parts for report in part.reports),
            skip=next((part.skip for part in reversed(parts) if part.skip), None),
            ledger=Seen(self._cache),
            checkpoints=len(parts) - 1,
            deliveries=tuple(one for part in parts for one in part.deliveries),
        )

    async def checkpoint(self, look: object) -> None:
        """A part is committed."""
        self.checkpoint_sync(look)

    def checkpoint_sync(self, look: object) -> None:
        """A part is committed."""
        self._commit()
        if len(self._parts) == self._ends_at:
            raise LookEnded

    async def deliveries(self, look: object, after: int, limit: int) -> Deliveries:
        """The next of those that were given."""
        return self.deliveries_sync(look, after, limit)

    def deliveries_sync(self, look: object, after: int, limit: int) -> Deliveries:
        """The next of those that were given."""
        check_intake(self._sensor)
        rest = [one for one in self._waiting if one.number > after]
        return Deliveries.of(rest[:limit], more=len(rest) > limit)

    async def events(self, look: object, what: Listen, after: int | None, limit: int) -> Happenings:
        """The next of those that were given."""
        last = max((one.seq for one in self._events), default=0)
        start = last if after is None else after
        found = [
            one
            for one in sorted(self._events, key=lambda one: one.seq)
            if one.seq > start and one.type in what.types and (what.assets is None or _about(one) in what.assets)
        ]
        seq = found[limit - 1].seq if len(found) > limit else max(last, start)
        return Happenings.of(found[:limit], seq=seq, last=max(last, start))

    def ledger_texts(self, sensor: str, digests: list[bytes]) -> dict[bytes, str]:
        """The cache holds the texts."""
        return self._cache.texts_of(digests)

    def log(self, sensor: str, level: str, message: str, fields: dict[str, Any]) -> None:
        """To stderr, where a test runner shows it."""
        print(f"{sensor}: {level}: {message}", *(f"{k}={v!r}" for k, v in fields.items()), file=sys.stderr)  # noqa: T201


def _about(event: Happened) -> str | None:
    data: dict[str, Any] = event.data or {}
    return data.get("target") if event.asset is None else event.asset


async def _settle(function: Any) -> None:
    result: Any = function() if function is not None else None
    if hasattr(result, "__await__"):
        await result


def _cache(ledger: Seen | Mapping[str, str] | Iterable[str]) -> LedgerCache:
    cache = LedgerCache(keep_texts=True)
    texts = cast("dict[bytes, str]", cache.texts)
    if isinstance(ledger, Seen):
        cache.entries.update(ledger.cache.entries)
        texts.update(ledger.cache.texts or {})
        return cache
    given: Any = ledger
    versions: dict[str, str] = dict(given) if isinstance(ledger, Mapping) else dict.fromkeys(given, "")
    for key, version in versions.items():
        digest = digest_of(key)
        cache.entries[digest] = version_of(version)
        texts[digest] = key
    return cache


def _run(work: Any) -> None:
    """Run to its end on an event loop; in a thread of its own where this one's loop is busy running the caller."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    raised: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:  # handed to the caller
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
