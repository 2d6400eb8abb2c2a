"""One opening of a stream: messages read ahead, up to a bound, until a look takes them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from itertools import islice
from typing import Any

from freshet_sensors.message import Message

__all__ = ["Feed"]


class Feed:
    """Reads `messages` and keeps up to `ahead` of them. All methods are for the loop's thread.

    `after`: the key of the last message that is committed, as far as this opening knows.
    """

    def __init__(self, messages: Callable[[str | None], AsyncIterator[Message]], after: str | None, ahead: int) -> None:
        self.after = after
        self.waiting: deque[Message] = deque()
        """Not yet committed, in order of arrival."""
        self._came: deque[float] = deque()
        """When they did, by the loop's clock."""
        self.unconfirmed: deque[Message] = deque()
        """Committed, and not yet acknowledged."""
        self.over = False
        """Nothing more comes: it ended, failed, or is to be opened again."""
        self.error: BaseException | None = None
        self.replaced = False
        """Ended by a look, which asks for another place."""
        self._messages: Callable[[str | None], AsyncIterator[Any]] = messages
        self._ahead = ahead
        self._time = asyncio.get_running_loop().time
        self._arrived = 0
        self._told = 0
        self._steady = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def read(self) -> None:
        """Read to the end. What the stream raises is kept in `error`."""
        stream: AsyncIterator[Any] | None = None
        try:
            stream = self._messages(self.after)
            async for message in stream:
                if not _is_message(message):
                    raise TypeError(f"messages() yielded {message!r:.100}: yield Message(key, ...), its key a text")
                self.waiting.append(message)
                self._came.append(self._time())
                self._arrived += 1
                self._news.set()
                if len(self.waiting) >= self._ahead:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:  # the plugin's own, told by the next look
            self.error = error
        finally:
            self.end()
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()

    async def news(self) -> list[str] | None:
        """The keys of messages that have come since the last call, as soon as there are some; None at the end.

        None of them, once, when it has held for a while.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            steady, self._steady = self._steady, False
            fresh, self._told = min(self._arrived - self._told, len(self.waiting)), self._arrived
            if self.over:
                return None
            if fresh or steady:
                return [message.key for message in islice(self.waiting, len(self.waiting) - fresh, None)]

    def steady(self) -> None:
        """It has held for a while."""
        self._steady = True
        self._news.set()

    def oldest(self) -> float | None:
        """How many seconds the first that waits has done so; None where none does."""
        return self._time() - self._came[0] if self._came else None

    def committed(self, count: int) -> None:
        """The first `count` that wait are durable: they wait for their acknowledgement now, and others may come."""
        for _ in range(count):
            self.unconfirmed.append(self.waiting.popleft())
            self._came.popleft()
        self.after = self.unconfirmed[-1].key
        if len(self.waiting) < self._ahead:
            self._room.set()

    def end(self) -> None:
        """No more from this opening."""
        self.over = True
        self._news.set()


def _is_message(found: object) -> bool:
    key: object = getattr(found, "key", None)
    return isinstance(found, Message) and isinstance(key, str) and bool(key)
