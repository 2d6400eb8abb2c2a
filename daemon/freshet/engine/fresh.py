"""Deliveries that came just now, held in memory for the look that they wake: the store need not be read for them.

What is handed out of memory is exactly what the store would have given, or nothing is: only while it is known that no
other delivery waits that no look has been given, and never to a look that asks for those that failed before as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from freshet.store.records import NewDelivery, WaitingDelivery

__all__ = ["Fresh"]

_ROOM = 250
_BYTES = 256 << 10
"""How many deliveries of one hook are held, and how large they may be together; with more, none is."""


class Fresh:
    """Of one hook: all its deliveries that wait and that no look has been given, in order of arrival, where `take` says
    so; else those that came since the store was asked last."""

    def __init__(self) -> None:
        self._rows: list[WaitingDelivery] = []
        self._bytes = 0
        self._known = False
        self._seen = 0
        self._turn = 0

    def came(self, id: int, new: NewDelivery) -> None:
        """A delivery is durable, as row `id`."""
        if id <= self._seen:  # a look has read it already: it was committed before this was heard of
            return
        self._bytes += len(new.body)
        if len(self._rows) == _ROOM or self._bytes > _BYTES:
            self.lose()
            return
        self._rows.append(
            WaitingDelivery(id, new.delivery, new.content_type, new.headers, 0, new.received_at, new.body)
        )

    def take(self, limit: int) -> tuple[tuple[WaitingDelivery, ...], bool] | None:
        """The next for a look, and whether there are more; None where only the store knows."""
        if not self._known:
            return None
        found, self._rows = tuple(self._rows[:limit]), self._rows[limit:]
        self._bytes -= sum(len(one.body) for one in found)
        return found, bool(self._rows)

    def asking(self) -> int:
        """The store is about to be asked what a look is given: what came before is in its answer. For `read`."""
        self.lose()
        return self._turn

    def read(self, turn: int, found: Sequence[WaitingDelivery], *, more: bool) -> None:
        """It gave these, where nothing was lost meanwhile. `more`: they are not all that wait."""
        self._seen = max([self._seen, *(one.id for one in found)])
        if more or turn != self._turn:
            self.lose()
            return
        self._known = True
        self._rows = [one for one in self._rows if one.id > self._seen]
        self._bytes = sum(len(one.body) for one in self._rows)

    def lose(self) -> None:
        """Some wait that are not here."""
        self._rows, self._bytes, self._known = [], 0, False
        self._turn += 1
