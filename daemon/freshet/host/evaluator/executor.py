"""The event loop's default executor (`asyncio.to_thread`, name look-ups), which knows for whom each thread works.

A thread cannot be cancelled: what a look leaves running in one past its timeout would hold that thread for ever, and a
few such looks all of them. So it is known (`Owner.threads`), and such a look ends with its evaluator.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from freshet.host.evaluator.page import EXECUTOR_THREADS, FIRST_THREAD, THREAD_WORDS, THREADS
from freshet.host.evaluator.steps import CURRENT, Owner, Words

__all__ = ["SignedExecutor"]

P = ParamSpec("P")
T = TypeVar("T")


class SignedExecutor(ThreadPoolExecutor):
    """Signs in the shared page, thread by thread, whose call runs."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._slots = itertools.count(THREADS)
        self._local = threading.local()
        super().__init__(EXECUTOR_THREADS, thread_name_prefix="to-thread", initializer=self._enter)

    def _enter(self) -> None:
        base = FIRST_THREAD + THREAD_WORDS * next(self._slots)
        self._local.base = base
        self._words[base + 1] = threading.get_ident()
        self._words[base + 2] = threading.get_native_id()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn` in a thread, on behalf of whoever submits it."""
        owner = CURRENT.get()
        if owner is None:
            return super().submit(fn, *args, **kwargs)
        return super().submit(self._signed, owner, fn, args, kwargs)

    def _signed(self, owner: Owner, fn: Callable[..., T], args: Any, kwargs: Any) -> T:
        ident, base = threading.get_ident(), self._local.base
        owner.threads.add(ident)
        self._words[base] = owner.mark
        try:
            return fn(*args, **kwargs)
        finally:
            self._words[base] = 0
            owner.threads.discard(ident)
