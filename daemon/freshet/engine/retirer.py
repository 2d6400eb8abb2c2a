"""What a set of keys does not keep: deleted when it has become too old, or when younger ones have come.

A heap entry a set waits for the next key that becomes too old; what is added tells when there are too many. A key
with a run that is queued or under way goes when that has ended. What is to go is found off the writer, and deleted in
small pieces that ask again: one set at a time, and what comes meanwhile is looked at together, afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import structlog

from freshet.definitions.partitions import DynamicPartitions, Keep
from freshet.engine.instruments import Instruments, persist, recall
from freshet.store.records import Event
from freshet.store.retiring import Cut, Due, Looked, Place, Retired, cut_at, look, retire

__all__ = ["Retirer"]

_ROWS = 500
"""Rows a transaction, keys and their combinations: what the writer is held for stays under 20 ms. A single key with
more combinations than that goes in one all the same: of 5,000, in 15 ms."""
_LOOKED_AT = 2000
"""Keys a look."""
_ENDS = ("run_succeeded", "run_failed", "run_canceled")

_log = structlog.get_logger("freshet.partitions")


class Retirer:
    """Deletes what `keep=` does not keep."""

    def __init__(self, instruments: Instruments) -> None:
        self._in = instruments
        self._keep: dict[str, Keep] = {}
        self._due: set[str] = set()
        self._held: dict[int, set[tuple[str, int]]] = {}
        """By run, the keys that go when it has ended."""
        self._freed: dict[str, set[int]] = {}
        """By set, the keys whose run has ended."""
        self._upto: dict[str, Place] = {}
        """By set, up to where nothing is to go but what is held or freed."""
        self._ended: set[int] = set()
        """The runs that have ended since what is looked at was begun."""
        self._busy = False
        self.open = False

    def start(self) -> None:
        """Delete what became too old, or too many, while the daemon was down; then wait."""
        sets = self._in.in_force.definitions.partition_set.values()
        self._keep = {one.name: one.keep for one in sets if isinstance(one, DynamicPartitions) and one.keep is not None}
        self.open = True
        for name in self._keep:
            self._look(name)

    def stop(self) -> None:
        """Delete nothing more."""
        self.open = False
        for name in self._keep:
            self._in.heap.cancel(("retire", name))

    def published(self, events: tuple[Event, ...]) -> None:
        """Keys that came may be too many; a run that ended may have kept one."""
        if not self._keep:
            return
        for event in events:
            if event.type == "partition_added" and event.set in self._keep:
                self._came(event.set, event.at)
            elif event.type in _ENDS and event.run_id is not None:
                if self._busy:
                    self._ended.add(event.run_id)
                for name, number in self._held.pop(event.run_id, ()):
                    self._free(name, number)

    def _free(self, name: str, number: int) -> None:
        self._freed.setdefault(name, set()).add(number)
        self._look(name)

    def _came(self, name: str, at: float) -> None:
        keep = self._keep[name]
        if at <= self._upto.get(name, (at - 1.0, 0))[0]:
            del self._upto[name]  # the clock was set back
        if keep.count is not None and len(self._in.in_force.partitions.sets.named(name)) > keep.count:
            self._look(name)
        if keep.age is not None and self._in.heap.due_at(("retire", name)) is None:
            self._wait(name, at + keep.age)

    def _wait(self, name: str, due: float) -> None:
        if self.open:
            self._in.heap.at(("retire", name), due, partial(self._look, name))

    def _look(self, name: str) -> None:
        self._due.add(name)
        if not self._busy and self.open:
            self._busy = True
            self._in.work.spawn(self._work_off())

    async def _work_off(self) -> None:
        try:
            while self._due and self.open:
                self._ended.clear()
                await self._clear(self._due.pop())
        finally:
            self._busy = False

    async def _clear(self, name: str) -> None:
        """Delete what a set does not keep: of what was freed, and of what follows upon what was looked at before."""
        now, cut = self._in.clock.now(), await self._cut(name)
        freed, oldest = sorted(self._freed.pop(name, ())), None
        for start in range(0, len(freed), _LOOKED_AT):
            among = freed[start : start + _LOOKED_AT]
            looked = await self._looked(name, cut, now, among=among)
            if len(looked.due) + len(looked.held) < len(among):
                self._upto.pop(name, None)  # what stays may have to go another time
            if not await self._delete(name, looked, cut, now):
                return
        while self.open:
            looked = await self._looked(name, cut, now, after=self._upto.get(name))
            oldest = looked.oldest
            if looked.upto is None:
                break
            self._upto[name] = looked.upto
            if not await self._delete(name, looked, cut, now):
                return
        if (age := self._keep[name].age) is not None and oldest is not None:
            self._wait(name, oldest + age)

    async def _cut(self, name: str) -> Cut | None:
        """Up to which key there are too many."""
        count = self._keep[name].count
        if count is None or len(self._in.in_force.partitions.sets.named(name)) <= count:
            return None
        return await recall(self._in, partial(cut_at, set=name, count=count), what=f"what {name} does not keep")

    async def _looked(
        self, name: str, cut: Cut | None, now: float, *, after: Place | None = None, among: Sequence[int] | None = None
    ) -> Looked:
        query = partial(
            look, set=name, age=self._keep[name].age, cut=cut, now=now, after=after, among=among, limit=_LOOKED_AT
        )
        return await recall(self._in, query, what=f"what {name} does not keep")

    async def _delete(self, name: str, looked: Looked, cut: Cut | None, now: float) -> bool:
        """Returns whether to go on; otherwise all is looked at anew, since younger keys have been deleted."""
        self._hold(name, looked.held)
        for numbers in _pieces(looked.due):
            if not self.open:
                return False
            transaction = partial(retire, set=name, numbers=numbers, age=self._keep[name].age, cut=cut, now=now)
            retired: Retired = await persist(self._in, transaction, what=f"what {name} does not keep")
            self._in.bus.publish(retired.events)
            self._hold(name, retired.held)
            if retired.events:
                deleted = sum(len(event.numbers) for event in retired.events if event.set == name)
                _log.info("partitions not kept", set=name, deleted=deleted)
            if retired.outdated:
                self._upto.pop(name, None)
                self._due.add(name)
                return False
        return True

    def _hold(self, name: str, held: dict[int, int]) -> None:
        for number, run_id in held.items():
            if run_id in self._ended:
                self._free(name, number)
            else:
                self._held.setdefault(run_id, set()).add((name, number))


def _pieces(due: Sequence[Due]) -> Iterator[list[int]]:
    """The numbers of keys, of so many rows a piece; a key of more rows alone."""
    piece: list[int] = []
    room = _ROWS
    for one in due:
        if piece and one.rows > room:
            yield piece
            piece, room = [], _ROWS
        piece.append(one.number)
        room -= one.rows
    if piece:
        yield piece
