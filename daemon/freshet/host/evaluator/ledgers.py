"""What an evaluator asks the daemon about ledgers: a whole one when its cache is stale, key texts for `absent`."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from freshet.host.evaluator.holder import Holder
from freshet.host.evaluator.ledger import LedgerCache
from freshet.host.evaluator.link import EvaluatorSocket
from freshet.host.evaluator.messages import fill, join, split

__all__ = ["Ledgers"]

_PATIENCE = 30.0
"""Seconds that a request on the loop waits for the daemon."""


class Ledgers:
    """Requests under way. `later`: takes the messages that arrive while the loop is held by a request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, later: Callable[[list[Any]], None]) -> None:
        self._loop = loop
        self._later = later
        self.link: EvaluatorSocket
        self._filling: dict[str, LedgerCache] = {}
        self._texts: dict[int, tuple[dict[bytes, str], Future[dict[bytes, str]]]] = {}
        self._numbers = itertools.count(1)

    # --- whole ledgers -------------------------------------------------------------------------------------

    async def load(self, holder: Holder, revision: int) -> None:
        """Make the cache stand where the store stands, if it does not stand at `revision`."""
        if holder.cache.revision == revision:
            return
        if holder.loading is None:
            holder.loading = self._loop.create_future()
            self.link.send(["load", holder.name])
        await asyncio.shield(holder.loading)

    def loaded(self, holder: Holder, revision: int, text: str, last: bool, first: bool) -> None:
        """A piece is here. `first`: forget what an earlier try brought."""
        if first:
            self._filling[holder.name] = LedgerCache(revision)
        fill(self._filling[holder.name], text)
        if last:
            holder.cache = self._filling.pop(holder.name)
            if holder.loading is not None:
                holder.loading.set_result(None)
                holder.loading = None

    # --- texts ---------------------------------------------------------------------------------------------

    def ask_texts(self, sensor: str, digests: list[bytes], answer: Future[dict[bytes, str]]) -> int:
        """Ask for the key texts of digests; `answer` is set when the last piece is here."""
        number = next(self._numbers)
        self._texts[number] = ({}, answer)
        self.link.send(["texts", number, sensor, join(digests)])
        return number

    def texts(self, number: int, digests: str, texts: list[str] | None, last: bool) -> None:
        """A piece of an answer is here; None: the store could not be read."""
        asked = self._texts.get(number)
        if asked is None:
            return
        found, answer = asked
        if texts is None:
            del self._texts[number]
            answer.set_exception(OSError("the keys of the ledger could not be read from the store"))
            return
        found.update(zip(split(digests), texts, strict=True))
        if last:
            del self._texts[number]
            answer.set_result(found)

    def texts_on_loop(self, sensor: str, digests: list[bytes]) -> dict[bytes, str]:
        """Ask and wait, holding the loop: `absent` in an async sensor cannot await. Pings are answered meanwhile, and
        all else that arrives is kept for later."""
        answer: Future[dict[bytes, str]] = Future()
        number = self.ask_texts(sensor, digests, answer)
        give_up, kept = time.monotonic() + _PATIENCE, list[Any]()
        try:
            while not answer.done():
                self.link.send_now()
                messages = self.link.read_now(1.0)
                if messages is None or time.monotonic() > give_up:
                    raise TimeoutError(f"the daemon did not say what is in the ledger of {sensor!r}")
                for message in messages:
                    if message[0] == "ping":
                        self.link.send(["pong", message[1]])
                    elif message[0] == "texts":
                        self.texts(*message[1:])
                    else:
                        kept.append(message)
        finally:
            self._texts.pop(number, None)
            if kept:
                self._loop.call_soon(self._later, kept)
        self.link.send_now()
        return answer.result()
