"""The looks of one evaluator: begun, timed, cancelled, checkpointed, ended."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

from freshet.definitions.delivery import Deliveries
from freshet.definitions.listen import Happenings, Listen
from freshet.errors import HostError
from freshet.host.evaluator.context import LookEnded
from freshet.host.evaluator.evaluate import blocking_look, failed_look, finish_look, look, partial_look, with_told
from freshet.host.evaluator.failure import describe, stack_of_thread
from freshet.host.evaluator.happenings import EventDesk
from freshet.host.evaluator.holder import Holder
from freshet.host.evaluator.inbox import Inbox, check_intake
from freshet.host.evaluator.ledger import LedgerChange, TickLedger
from freshet.host.evaluator.ledgers import Ledgers
from freshet.host.evaluator.messages import PIECE, messages_of
from freshet.host.evaluator.outcome import Outcome
from freshet.host.evaluator.resources import SensorResources
from freshet.host.evaluator.steps import CURRENT, Words, signed
from freshet.host.evaluator.threads import Call, ThreadPool
from freshet.host.evaluator.tick import Tick
from freshet.masking import masked

__all__ = ["Looks"]

_CANCEL_GRACE = 1.0
"""Seconds after which a look that goes on though it was cancelled, or left a thread at work, is overdue."""


class Looks:
    """Runs looks, and is the desk that their `ctx` speaks to."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        words: Words,
        send: Callable[[list[Any]], None],
        ledgers: Ledgers,
        inbox: Inbox,
        events: EventDesk,
        resources: SensorResources,
    ) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._words = words
        self._send = send
        self._ledgers = ledgers
        self._inbox = inbox
        self._events = events
        self._resources = resources
        self._pool = ThreadPool(loop, words)
        self._ticks: dict[int, Tick] = {}
        self._untimed: list[Tick] = []
        self._uncommitted: dict[int, tuple[Holder, LedgerChange]] = {}

    # --- begin ---------------------------------------------------------------------------------------------

    def begin(self, tick: Tick) -> None:
        """Begin a look; `time_begun` is called when the whole batch of orders has begun."""
        holder = tick.holder
        self._ticks[tick.mark] = tick
        self._untimed.append(tick)
        self._uncommitted.pop(holder.uncommitted, None)
        unopened = not holder.opened or len(holder.given) < len(holder.needs)
        if unopened or holder.settling or holder.cache.revision != tick.ledger_revision:
            tick.task = self._task(tick, self._prepared(tick))
        elif holder.form == "async":
            tick.task = self._task(tick, self._look(tick))
        else:
            self._look_in_thread(tick)

    def _task(self, tick: Tick, coro: Any) -> asyncio.Task[None]:
        context = contextvars.copy_context()
        context.run(CURRENT.set, tick)
        return asyncio.Task(coro, loop=self._loop, context=context)

    async def _prepared(self, tick: Tick) -> None:
        try:
            await tick.holder.open()
            if tick.holder.needs:
                tick.holder.given = await self._resources.given(tick.holder.needs, tick.holder)
            if tick.holder.settling is not None:
                await asyncio.shield(tick.holder.settling)
            await self._ledgers.load(tick.holder, tick.ledger_revision)
        except BaseException as error:  # what open() raised is the plugin's failure
            self._ended(tick, failed_look(error, tick.why, timeout=tick.timeout))
            return
        if tick.holder.form == "async":
            await self._look(tick)
        else:
            self._look_in_thread(tick)

    async def _look(self, tick: Tick) -> None:
        try:
            await signed(look(tick.holder.sensor, tick.begin(self), tick.found), tick, self._words)
        except BaseException as error:  # SystemExit too is the plugin's failure
            self._ended(tick, failed_look(error, tick.why, timeout=tick.timeout))
        else:
            self._came_to_its_end(tick)

    def _look_in_thread(self, tick: Tick) -> None:
        tick.task = None
        function = partial(blocking_look, tick.holder.sensor, tick.begin(self), tick.found)
        tick.call = Call(tick, function, partial(self._thread_done, tick))
        self._pool.submit(tick.call)

    def _thread_done(self, tick: Tick, rest: Callable[[], Awaitable[None]] | None, error: BaseException | None) -> None:
        tick.call = None
        if error is not None:
            self._ended(tick, failed_look(error, tick.why, timeout=tick.timeout))
        elif rest is not None:
            tick.task = self._task(tick, self._rest(tick, rest))
        else:
            self._came_to_its_end(tick)

    async def _rest(self, tick: Tick, rest: Callable[[], Awaitable[None]]) -> None:
        async def awaited() -> None:
            await rest()

        try:
            await signed(awaited(), tick, self._words)
        except BaseException as error:  # as in _look
            self._ended(tick, failed_look(error, tick.why, timeout=tick.timeout))
        else:
            self._came_to_its_end(tick)

    # --- time ----------------------------------------------------------------------------------------------

    def time_begun(self) -> None:
        """Set the timers of the looks that their first step did not finish: most need none."""
        for tick in self._untimed:
            if tick.mark in self._ticks:
                self._set_timer(tick, tick.timeout)
        self._untimed.clear()

    def _set_timer(self, tick: Tick, delay: float) -> None:
        if tick.timer is not None:
            tick.timer.cancel()
        tick.timer = self._loop.call_later(delay, self._due, tick)

    def _due(self, tick: Tick) -> None:
        """The time of a look is up. One in a thread counts from when the thread took it."""
        call = tick.call
        if call is not None:
            left = tick.timeout if call.began is None else call.began + tick.timeout - time.monotonic()
            if left > 0:
                self._set_timer(tick, left)
            else:
                self._send(["overdue", tick.mark, stack_of_thread(call.ident)])
        elif tick.why != "timeout" and tick.task is not None:
            tick.why = "timeout"
            self._cancel_task(tick, tick.task)
            self._set_timer(tick, _CANCEL_GRACE)
        else:
            self._send(["overdue", tick.mark, ""])

    def cancel(self, tick_id: int) -> None:
        """Nobody waits for this look any more. One in a thread goes on to its end or its timeout."""
        tick = self._ticks.get(tick_id)
        if tick is not None and tick.why is None:
            tick.why = "cancel"
            if tick.task is not None:
                self._cancel_task(tick, tick.task)

    def _cancel_task(self, tick: Tick, task: asyncio.Task[None]) -> None:
        def make_sure(_: asyncio.Task[None]) -> None:
            """A task cancelled before its first step ends without a word."""
            if self._ticks.get(tick.mark) is tick and tick.task is task and tick.call is None:
                self._ended(tick, failed_look(asyncio.CancelledError(), tick.why, timeout=tick.timeout))

        task.cancel()
        task.add_done_callback(make_sure)

    def cancel_all(self) -> None:
        """The evaluator closes."""
        for tick_id in list(self._ticks):
            self.cancel(tick_id)

    # --- end -----------------------------------------------------------------------------------------------

    def _came_to_its_end(self, tick: Tick) -> None:
        if tick.why is not None:  # it swallowed its cancellation
            self._ended(tick, failed_look(asyncio.CancelledError(), tick.why, timeout=tick.timeout))
        elif tick.ctx is not None:
            self._ended(tick, finish_look(tick.ctx, tick.found))

    def _ended(self, tick: Tick, outcome: Outcome) -> None:
        if tick.timer is not None:
            tick.timer.cancel()
        if tick.why == "timeout" and tick.threads and not tick.left_behind:
            tick.left_behind = True
            tick.timer = self._loop.call_later(_CANCEL_GRACE, self._ended, tick, outcome)
            return
        if tick.left_behind and tick.threads:
            self._send(["overdue", tick.mark, stack_of_thread(min(tick.threads))])
            return
        del self._ticks[tick.mark]
        if outcome.ledger is not None and not tick.dry_run:
            tick.holder.uncommitted = tick.mark
            self._uncommitted[tick.mark] = tick.holder, outcome.ledger
        messages = messages_of(tick.mark, with_told(outcome, tick.ctx, tick.found))
        try:
            first = next(messages)
            self._send(first)
        except HostError as error:
            self._cannot_be_said(tick, error)
            return
        if first[0] != "end":
            self._loop.create_task(self._say_rest(tick, messages))

    async def _say_rest(self, tick: Tick, messages: Iterator[list[Any]]) -> None:
        try:
            await self._say(messages)
        except HostError as error:
            self._cannot_be_said(tick, error)

    def _cannot_be_said(self, tick: Tick, error: HostError) -> None:
        """A part of the outcome is larger than any frame: the look has failed."""
        self._uncommitted.pop(tick.mark, None)
        self._send(["end", tick.mark, "failed", {"error": describe(error)}])

    async def _say(self, messages: Iterator[list[Any]]) -> None:
        """Send what is too large for one message, giving way to others in between."""
        for message in messages:
            self._send(message)
            await asyncio.sleep(0)

    def committed(self, tick_id: int, committed: bool, ledger_revision: int, next_tick_id: int | None) -> None:
        """The daemon's word on an outcome or a checkpoint."""
        waiting = self._uncommitted.pop(tick_id, None)
        if waiting is not None and committed:
            self._apply(*waiting, ledger_revision)
        tick = self._ticks.get(tick_id)
        if tick is not None and tick.go is not None and not tick.go.done():
            tick.go.set_result((committed, ledger_revision, next_tick_id))

    def _apply(self, holder: Holder, change: LedgerChange, revision: int, above: TickLedger | None = None) -> None:
        """Put a change into the cache: at once, or where that would hold the loop, beside it (`holder.settling`)."""
        if len(change) <= PIECE:
            change.apply(revision, above)
        else:
            holder.settling = self._loop.create_task(self._settle(holder, change, revision, above))

    async def _settle(self, holder: Holder, change: LedgerChange, revision: int, above: TickLedger | None) -> None:
        try:
            for _ in change.pieces(revision, above):
                await asyncio.sleep(0)
        finally:
            holder.settling = None

    # --- the desk ------------------------------------------------------------------------------------------

    async def checkpoint(self, look: Tick) -> None:
        """Commit what the look found so far; its timeout counts anew from here. Raises `LookEnded`."""
        ctx, tick = look.ctx, look
        assert ctx is not None
        outcome = partial_look(ctx, tick.found)
        if outcome.cursor is None and outcome.ledger is None and not tick.found:
            return
        tick.go = self._loop.create_future()
        try:
            await self._say(messages_of(tick.mark, outcome))
        except HostError:  # whatever the plugin makes of it, its next word is the whole
            tick.go = None
            self._send(["part", tick.mark, None])
            raise
        committed, revision, next_tick_id = await tick.go
        tick.go = None
        if not committed:
            raise LookEnded
        ctx.committed(outcome.cursor)
        tick.found.clear()
        if next_tick_id is not None:
            self._go_on(tick, next_tick_id)
        if outcome.ledger is not None:
            self._apply(tick.holder, outcome.ledger, revision, ctx.ledger)
            if tick.holder.settling is not None:
                await asyncio.shield(tick.holder.settling)
        if next_tick_id is None:
            raise LookEnded

    def _go_on(self, tick: Tick, next_tick_id: int) -> None:
        """After a checkpoint a look is another tick's, with time of its own."""
        del self._ticks[tick.mark]
        tick.mark = next_tick_id
        self._ticks[next_tick_id] = tick
        if tick.call is not None:
            tick.call.began = time.monotonic()
        elif tick.why is None:
            self._set_timer(tick, tick.timeout)

    def checkpoint_sync(self, look: Tick) -> None:
        """`checkpoint` from a sensor's thread."""
        if threading.get_ident() == self._thread:
            raise RuntimeError("checkpoint_sync() would block the event loop: use `await ctx.checkpoint()`")
        asyncio.run_coroutine_threadsafe(self.checkpoint(look), self._loop).result()

    async def deliveries(self, look: Tick, after: int, limit: int) -> Deliveries:
        """The next deliveries for a look."""
        check_intake(look.holder.sensor)
        return await self._inbox.ask(look.mark, look.holder.name, after, limit, again=look.hints is None)

    def deliveries_sync(self, look: Tick, after: int, limit: int) -> Deliveries:
        """`deliveries` from a sensor's thread."""
        if threading.get_ident() == self._thread:
            raise RuntimeError("inbox_sync() would block the event loop: use `await ctx.inbox()`")
        return asyncio.run_coroutine_threadsafe(self.deliveries(look, after, limit), self._loop).result()

    async def events(self, look: Tick, what: Listen, after: int | None, limit: int) -> Happenings:
        """The next events for a look."""
        events = await self._events.ask(look.holder.name, what, after, limit)
        look.found.saw(events)
        return events

    def ledger_texts(self, sensor: str, digests: list[bytes]) -> dict[bytes, str]:
        """The key texts of ledger entries, from the daemon; blocks."""
        if threading.get_ident() == self._thread:
            return self._ledgers.texts_on_loop(sensor, digests)
        answer: Future[dict[bytes, str]] = Future()
        self._loop.call_soon_threadsafe(self._ledgers.ask_texts, sensor, digests, answer)
        return answer.result()

    def log(self, sensor: str, level: str, message: str, fields: dict[str, Any]) -> None:
        """Send a line to the daemon's log."""
        line = ["log", sensor, level, masked(str(message)), {key: _shown(value) for key, value in fields.items()}]
        if threading.get_ident() == self._thread:
            self._send(line)
        else:
            self._loop.call_soon_threadsafe(self._send, line)


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float)) else masked(str(value))
