"""The looks of an `InlineHost`: the evaluator's own code, with the engine a call away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from freshet.definitions.delivery import Deliveries
from freshet.definitions.listen import Happenings, Listen
from freshet.definitions.resource import Resource
from freshet.executors.base import Answers, TickOrder
from freshet.host.evaluator.context import EvaluatorContext, LookEnded
from freshet.host.evaluator.evaluate import Why, blocking_look, failed_look, finish_look, look, partial_look, with_told
from freshet.host.evaluator.holder import Holder
from freshet.host.evaluator.inbox import check_intake, delivery_of
from freshet.host.evaluator.ledger import LedgerCache, LedgerChange
from freshet.host.evaluator.outcome import CheckParameters, Found, Outcome
from freshet.host.evaluator.resources import SensorResources
from freshet.host.resources import needed
from freshet.testing.ticking import end_of

__all__ = ["InlineLooks"]

_Go = tuple[bool, int, int | None]


class _Look:
    def __init__(self, order: TickOrder, holder: Holder, check: CheckParameters | None) -> None:
        self.tick_id = order.tick_id
        self.order = order
        self.holder = holder
        self.found = Found.of(holder.sensor, check)
        self.why: Why = None
        self.ctx: EvaluatorContext
        self.go: asyncio.Future[_Go] | None = None
        self.task: asyncio.Task[None]


class InlineLooks:
    """Runs looks as tasks of the running loop. Also the desk that their `ctx` speaks to."""

    def __init__(
        self,
        answers: Answers,
        log: Callable[[str, str, str, dict[str, Any]], None],
        check: CheckParameters | None = None,
        resources: Mapping[str, Resource] | None = None,
    ) -> None:
        self._answers = answers
        self._known = resources or {}
        self._resources: SensorResources | None = None
        self._check = check
        self._log = log
        self._looks: dict[int, _Look] = {}
        self._uncommitted: dict[int, LedgerChange] = {}

    def begin(self, holder: Holder, order: TickOrder) -> None:
        """Begin a look."""
        one = _Look(order, holder, self._check)
        self._looks[order.tick_id] = one
        one.task = asyncio.get_running_loop().create_task(self._look(one))

    def cancel(self, tick_id: int) -> None:
        """Nobody waits for this look any more."""
        one = self._looks.get(tick_id)
        if one is not None:
            one.why = "cancel"
            one.task.cancel()

    async def over(self, sensor: str) -> None:
        """Return when no look of a sensor is under way."""
        while tasks := [one.task for one in self._looks.values() if one.holder.name == sensor]:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """End all looks."""
        tasks = [one.task for one in self._looks.values()]
        for tick_id in list(self._looks):
            self.cancel(tick_id)
        if tasks:
            await asyncio.wait(tasks)
        if self._resources is not None:
            await self._resources.close(self._log)

    def committed(self, tick_id: int, committed: bool, ledger_revision: int, next_tick_id: int | None) -> None:
        """The engine's word on an outcome or a checkpoint."""
        change = self._uncommitted.pop(tick_id, None)
        if change is not None and committed:
            change.apply(ledger_revision)
        one = self._looks.get(tick_id)
        if one is not None and one.go is not None and not one.go.done():
            one.go.set_result((committed, ledger_revision, next_tick_id))

    async def _look(self, one: _Look) -> None:
        timer = asyncio.get_running_loop().call_later(one.order.timeout, self._time_out, one)
        try:
            await self._evaluate(one)
            outcome = finish_look(one.ctx, one.found)
        except LookEnded:
            del self._looks[one.tick_id]
            return
        except BaseException as error:  # whatever it is, it is the plugin's: as in the evaluator
            outcome = failed_look(error, one.why, timeout=one.order.timeout)
        finally:
            timer.cancel()
        self._ended(one, outcome)

    def _ended(self, one: _Look, outcome: Outcome) -> None:
        del self._looks[one.tick_id]
        if outcome.ledger is not None and not one.order.dry_run:
            self._uncommitted[one.tick_id] = outcome.ledger
        self._answers.tick_ended(end_of(one.tick_id, one.holder.name, with_told(outcome, one.ctx, one.found)))

    async def _evaluate(self, one: _Look) -> None:
        holder, order = one.holder, one.order
        await holder.open()
        if needs := needed(holder.sensor, self._known):
            if self._resources is None:
                self._resources = SensorResources(self._known, asyncio.get_running_loop())
            holder.given = await self._resources.given(needs)
        if holder.cache.revision != order.ledger_revision:
            await self._load(holder)
        one.ctx = EvaluatorContext(
            name=holder.name,
            cursor=order.cursor,
            hints=order.hints,
            now=order.now,
            dry_run=order.dry_run,
            cache=holder.cache,
            desk=self,
            look=one,
            resources=holder.given,
        )
        if holder.form == "async":
            await look(holder.sensor, one.ctx, one.found)
        elif rest := blocking_look(holder.sensor, one.ctx, one.found):
            await rest()

    async def _load(self, holder: Holder) -> None:
        cache = LedgerCache(self._answers.ledger_revision(holder.name), keep_texts=True)
        async with self._answers.load_ledger(holder.name) as pieces:
            async for piece in pieces:
                for entry in piece:
                    cache.entries[entry.digest] = entry.version
                    if cache.texts is not None:
                        cache.texts[entry.digest] = entry.key
        holder.cache = cache

    def _time_out(self, one: _Look) -> None:
        one.why = "timeout"
        one.task.cancel()

    # --- the desk ------------------------------------------------------------------------------------------

    async def checkpoint(self, look: _Look) -> None:
        """Commit what the look found so far. Raises `LookEnded`."""
        outcome = partial_look(look.ctx, look.found)
        if outcome.cursor is None and outcome.ledger is None and not look.found:
            return
        look.go = asyncio.get_running_loop().create_future()
        self._answers.tick_ended(end_of(look.tick_id, look.holder.name, outcome))
        committed, revision, next_tick_id = await look.go
        look.go = None
        if outcome.ledger is not None and committed:
            outcome.ledger.apply(revision, look.ctx.ledger)
        if not committed or next_tick_id is None:
            raise LookEnded
        look.ctx.committed(outcome.cursor)
        look.found.clear()
        self._looks[next_tick_id] = self._looks.pop(look.tick_id)
        look.tick_id = next_tick_id

    def checkpoint_sync(self, look: _Look) -> None:
        """Refused: the engine that would answer runs on this very loop."""
        raise RuntimeError("checkpoint_sync() does not work inline: test this sensor with freshet.testing.tick")

    async def deliveries(self, look: _Look, after: int, limit: int) -> Deliveries:
        """The next deliveries, from the engine's store."""
        check_intake(look.holder.sensor)
        found, more = await self._answers.deliveries(
            look.holder.name, tick=look.tick_id, after=after, limit=limit, again=look.order.hints is None
        )
        made = (
            delivery_of(
                one.id, one.delivery, one.content_type, one.headers, one.attempts, one.received_at, body=one.body
            )
            for one in found
        )
        return Deliveries.of(made, more=more)

    def deliveries_sync(self, look: _Look, after: int, limit: int) -> Deliveries:
        """Refused, as `checkpoint_sync` is."""
        raise RuntimeError("inbox_sync() does not work inline: test this sensor with freshet.testing.tick")

    async def events(self, look: _Look, what: Listen, after: int | None, limit: int) -> Happenings:
        """The next events, from the engine's store."""
        events = await self._answers.happened(after, what.types, what.assets, limit)
        look.found.saw(events)
        return events

    def ledger_texts(self, sensor: str, digests: list[bytes]) -> dict[bytes, str]:
        """Never asked: the caches hold the texts."""
        raise NotImplementedError

    def log(self, sensor: str, level: str, message: str, fields: dict[str, Any]) -> None:
        """To the daemon's log."""
        self._log(sensor, level, message, fields)
