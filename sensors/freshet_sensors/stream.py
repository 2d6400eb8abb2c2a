"""StreamSensor: the base of sensors on message queues, sockets and logs that push."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack, cast

from freshet import (
    AddPartitions,
    Batch,
    DefinitionError,
    DeletePartitions,
    Duration,
    DynamicPartitions,
    GiveUp,
    Hints,
    PartitionKeyError,
    Report,
    RetryLater,
    RunRequest,
    Sensor,
    SensorContext,
    Skip,
    check_key,
)
from freshet_sensors.flow import GivenOptions

if TYPE_CHECKING:
    import asyncio

    from freshet_sensors.feed import Feed
    from freshet_sensors.message import Message

__all__ = ["Said", "StreamSensor"]

Said = RunRequest | AddPartitions | DeletePartitions | Report

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 30.0
_STEADY = 5.0
"""Seconds for which a stream is there again before that is said, if no message says it."""


class StreamSensor(Sensor):
    """Subclass it, and write `messages(after)`: an async generator of `Message`.

    `messages(after)` opens the stream and yields each message as it comes. `after`: the key of the last message that is
    committed, None at the very first opening; a source that keeps what was not acknowledged may ignore it. It is opened
    while the sensor is watched, after its first look. When it ends or raises it is opened again, after a pause that
    grows up to 30 s until a message comes; `RetryLater(after=)` names the pause, `GiveUp` quarantines the sensor.

    `admit(message)` says what a message leads to; by default a run of `target` under the run key `NAME:KEY` (the
    sensor's name, the message's key), with the value as parameters if that is a dict, or with `partitions` a partition
    of that key with the message's metadata. It must not block. A message whose key no set may hold is logged and passed
    over; what else `admit` raises fails the look, and the message stays the next one.

    Each message is admitted once. What was said of it, its key in the ledger, and `after` are one commit; `ack` is
    called after that commit alone, and again at the next look if it was cut off; where it raises, the stream is opened
    again. A message that is delivered again is known by its key, and acknowledged. `remember`: how many keys back, at
    least (up to twice as many are held, some 150 bytes each); None for all.
    Run keys hold for ever, also where a source delivers again what lies further back.

    `batch`: messages in one commit. `ahead`: messages read and not yet committed, at the most: the stream is not read
    further, so that a source with flow control waits too.
    """

    def __init__(
        self,
        name: str,
        *,
        batch: int = 500,
        ahead: int = 2000,
        remember: int | None = 100_000,
        interval: Duration = "30s",
        timeout: Duration = "60s",
        target: object = None,
        partitions: DynamicPartitions | None = None,
        options: dict[str, Any] | None = None,
        run_batch: Batch | int | Duration | None = None,
        **flow: Unpack[GivenOptions],
    ) -> None:
        shown = {"batch": batch, "ahead": ahead, "remember": remember, **(options or {})}
        super().__init__(
            name,
            interval=interval,
            timeout=timeout,
            target=target,
            partitions=partitions,
            options=shown,
            batch=run_batch,
            **flow,
        )
        if type(self).messages is StreamSensor.messages:
            raise DefinitionError(
                f"{name}: {type(self).__name__} has no messages(after)",
                hint="write async def messages(self, after): an async generator that yields each Message as it comes",
            )
        for option, number in {"batch": batch, "ahead": ahead, "remember": remember}.items():
            if number is not None and (type(number) is not int or number < 1):
                raise DefinitionError(f"{name}: {option}={number!r}", hint="a whole number, at least 1")
        self._batch = batch
        self._ahead = ahead
        self._remember = remember
        self._feed: Feed | None = None
        self._position: tuple[str | None] | None = None
        """Where to open the stream: in a tuple of one once a look has said so."""
        self._asked: asyncio.Event | None = None
        self._trouble: BaseException | str | None = None
        self._told = ""

    def messages(self, after: str | None) -> AsyncIterator[Message]:
        """The stream, opened after a message. See the class."""
        raise NotImplementedError(f"{type(self).__name__} has no messages(after)")

    def admit(self, message: Message) -> Iterable[Said] | Said | None:
        """What a message leads to. See the class."""
        run_key = f"{self.name}:{message.key}" if self.spec.flow.run_key is None else None  # else its template says
        if self.partitions is not None:
            added = AddPartitions(self.partitions, {check_key(message.key): message.metadata})
            run = RunRequest(self.spec.target, partition=message.key, run_key=run_key)
            return [added, run] if self.spec.target is not None else added
        params = cast("dict[str, Any]", message.value) if isinstance(message.value, dict) else {}
        return RunRequest(self.spec.target, run_key=run_key, params=params)

    # --- beside the looks ----------------------------------------------------------------------------------

    async def wakes(self) -> AsyncIterator[Hints]:
        """Keys of messages as they come; None when the stream was lost, and when it is there again."""
        import asyncio

        from freshet_sensors.feed import Feed

        loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
        self._asked = asked = asyncio.Event()
        try:
            while True:
                if self._position is None:
                    await asked.wait()
                    asked.clear()
                    continue
                feed = self._feed = Feed(self.messages, self._position[0], self._ahead)
                reading, steady = asyncio.create_task(feed.read()), loop.call_later(_STEADY, feed.steady)
                try:
                    while (keys := await feed.news()) is not None:
                        recovered, self._trouble, pause = self._trouble is not None, None, _FIRST_PAUSE
                        if recovered or keys:
                            yield None if recovered else keys
                finally:
                    steady.cancel()
                    reading.cancel()
                    await asyncio.wait([reading], timeout=_STEADY)
                    self._feed = None
                if feed.replaced:
                    continue
                self._trouble = feed.error or "it ended"
                self._position = None if isinstance(feed.error, GiveUp) else (feed.after,)
                yield None
                await asyncio.sleep(_pause(feed.error, pause))
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            self._asked = self._position = None

    # --- looks ---------------------------------------------------------------------------------------------

    async def evaluate(self, ctx: SensorContext) -> AsyncIterator[Said | Skip]:
        """Admit what has come, and acknowledge it once that is durable."""
        self._tell(ctx)
        feed = self._feed_at(ctx)
        if feed is None:
            reason = f"the stream is not there: {self._told}" if self._told else "the stream is not open yet"
            yield Skip(reason, waiting=bool(self._told))
            return
        await self._confirm(ctx, feed)
        _tell_lag(ctx, feed)
        waiting = list(feed.waiting)
        while waiting:
            said, count, wrong = self._admitted(ctx, waiting[: self._batch])
            for one in said:
                yield one
            if count and not ctx.dry_run:
                await self._remember_them(ctx, [message.key for message in waiting[:count]])
                await ctx.checkpoint()
                self._committed(feed, count)
                _tell_lag(ctx, feed)
                await self._confirm(ctx, feed)
            if wrong is not None:
                raise wrong
            del waiting[:count]

    def _feed_at(self, ctx: SensorContext) -> Feed | None:
        """The opening that goes on where the cursor stands; where there is none, one is asked for."""
        memory: dict[str, Any] = ctx.cursor or {}
        after: str | None = memory.get("after")
        feed = self._feed
        if feed is not None and feed.after == after:
            return feed
        if not ctx.dry_run:
            self._position = (after,)
            if self._asked is not None:
                self._asked.set()
            if feed is not None:  # the cursor was set by hand, or a commit was lost: what this one holds may be wrong
                feed.replaced = True
                feed.end()
        return None

    def _admitted(self, ctx: SensorContext, taken: Sequence[Message]) -> tuple[list[Said], int, Exception | None]:
        """What is said of messages, of how many, and why not of more. Those before one that fails are not held up."""
        found: list[Said] = []
        met: set[str] = set()
        for at, message in enumerate(taken):
            if message.key in ctx.ledger or message.key in met:
                continue
            try:
                said = self.admit(message)
                found += () if said is None else said if isinstance(said, Iterable) else (said,)
            except PartitionKeyError as error:
                ctx.log.warning("message passed over", key=message.key, reason=str(error))
            except Exception as error:  # the plugin's own: raised by the look
                return found, at, error
            met.add(message.key)
        return found, len(taken), None

    async def _remember_them(self, ctx: SensorContext, keys: Sequence[str]) -> None:
        """Into the ledger, by generations: where one is full, those before the last go."""
        memory: dict[str, Any] = {"generation": 0, "count": 0, **(ctx.cursor or {}), "after": keys[-1]}
        if self._remember is not None and memory["count"] >= self._remember:
            memory |= {"generation": memory["generation"] + 1, "count": 0}
            await self._forget(ctx, {str(memory["generation"]), str(memory["generation"] - 1)})
        for key in keys:
            memory["count"] += key not in ctx.ledger
            ctx.ledger.add(key, str(memory["generation"]))
        if memory != ctx.cursor:
            ctx.cursor = memory

    async def _forget(self, ctx: SensorContext, kept: set[str]) -> None:
        from freshet_sensors.aside import aside

        ledger = ctx.ledger
        for key in await aside(lambda: list(ledger.absent(()))):
            if not any(ledger.seen(key, generation) for generation in kept):
                ledger.remove(key)

    def _committed(self, feed: Feed, count: int) -> None:
        feed.committed(count)
        if self._feed is not feed and self._position is not None:
            self._position = (feed.after,)  # it was lost meanwhile, and is opened behind them

    async def _confirm(self, ctx: SensorContext, feed: Feed) -> None:
        """Acknowledge what is committed. A source that cannot be told is opened again: it delivers, and is told."""
        if ctx.dry_run:
            return
        while feed.unconfirmed:
            message = feed.unconfirmed[0]
            try:
                if message.ack is not None and (going := message.ack()) is not None:
                    await going
            except Exception as error:  # the plugin's own, or its connection's
                feed.error = feed.error or error
                feed.end()
                return
            feed.unconfirmed.popleft()

    def _tell(self, ctx: SensorContext) -> None:
        trouble = self._trouble
        if isinstance(trouble, GiveUp):
            self._trouble = None  # the next look, when a person has acted, opens it again
            raise trouble
        text = (
            "" if trouble is None else trouble if isinstance(trouble, str) else f"{type(trouble).__name__}: {trouble}"
        )
        if text and not self._told:
            ctx.log.warning("the stream was lost, and is opened again", reason=text)
        elif self._told and not text:
            ctx.log.info("over: the stream was lost", reason=self._told)
        self._told = text


def _tell_lag(ctx: SensorContext, feed: Feed) -> None:
    waits = feed.oldest()
    ctx.lag(len(feed.waiting), None if waits is None else ctx.now - timedelta(seconds=waits))


def _pause(error: BaseException | None, pause: float) -> float:
    return error.after if isinstance(error, RetryLater) else pause * random.uniform(0.5, 1)
