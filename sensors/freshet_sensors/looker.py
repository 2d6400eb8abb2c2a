"""Who looks at a sensor's folder: few named files in place, all else in a thread, and never two at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from freshet import Ledger, PartitionKeyError, RetryLater
from freshet_sensors.admit import Rules, key_of
from freshet_sensors.links import Followed
from freshet_sensors.look import Folder, Survey, look_at, look_at_all

__all__ = ["Looker"]

_FEW = 64
_T = TypeVar("_T")


class Looker:
    """`network`: whether the last full look found files on a network file system, which may keep one waiting."""

    def __init__(self) -> None:
        self.network = False
        self._looking = False

    async def look(self, folder: Folder, ledger: Ledger, hints: tuple[str, ...] | None) -> Survey:
        """At the hints alone, or (None) at everything. Raises `RetryLater` while an earlier look hangs."""
        few = hints is not None and len(hints) <= _FEW and not any(hint.endswith("/") for hint in hints)
        if hints is not None and few and not self.network and not folder.follow:
            return look_at(folder, hints, ledger)
        if self._looking:
            raise RetryLater(f"the last look at {folder.root} has not returned: does its file system hang?")
        ended = threading.Event()

        def look() -> Survey:
            try:
                if hints is None:
                    return look_at_all(folder, ledger, ended=ended.is_set)
                return look_at(folder, hints, ledger, ended=ended.is_set)
            finally:
                self._looking = False

        self._looking = True
        try:
            survey = await _aside(look)
        finally:
            ended.set()
        if survey.full:
            self.network = survey.network
        return survey

    async def keys(self, folder: Folder, rules: Rules) -> frozenset[str]:
        """The keys of all files that are there."""

        def look() -> frozenset[str]:
            found: set[str] = set()
            for path, *_ in folder.rows(Followed()):
                try:
                    found.add(key_of(rules, path))
                except PartitionKeyError:
                    continue
            return frozenset(found)

        return await _aside(look)


async def _aside(function: Callable[[], _T]) -> _T:
    from freshet_sensors.aside import aside  # with asyncio, which the process that loads plugins does without

    return await aside(function)
