"""What a set of keys does not keep: deleted when it has become too old, or when younger ones have come.

A heap entry a set waits for the next key that becomes too old; what is added tells when there are too many. A key
with a run that is queued or under way goes when that has ended.
"""

from __future__ import annotations

from functools import partial

import structlog

from freshet.definitions.partitions import DynamicPartitions, Keep
from freshet.engine.instruments import Instruments, persist, recall
from freshet.store.records import Event
from freshet.store.retiring import Cut, Retired, cut_at, retire

__all__ = ["Retirer"]

_PIECE = 500
"""Keys a transaction: what the writer is held for stays under 20 ms."""
_ENDS = ("run_succeeded", "run_failed", "run_canceled")

_log = structlog.get_logger("freshet.partitions")


class Retirer:
    """Deletes what `keep=` does not keep."""

    def __init__(self, instruments: Instruments) -> None:
        self._in = instruments
        self._keep: dict[str, Keep] = {}
        self._due: set[str] = set()
        self._held: dict[int, set[str]] = {}
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
            elif event.type in _ENDS and event.run_id in self._held:
                for name in self._held.pop(event.run_id):
                    self._look(name)

    def _came(self, name: str, at: float) -> None:
        keep = self._keep[name]
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
                name = self._due.pop()
                cut = await self._cut(name)
                more = True
                while more and self.open:
                    more = (await self._retire(name, cut)).more
        finally:
            self._busy = False

    async def _cut(self, name: str) -> Cut | None:
        """Up to which key there are too many."""
        count = self._keep[name].count
        if count is None or len(self._in.in_force.partitions.sets.named(name)) <= count:
            return None
        return await recall(self._in, partial(cut_at, set=name, count=count), what=f"what {name} does not keep")

    async def _retire(self, name: str, cut: Cut | None) -> Retired:
        keep, now = self._keep[name], self._in.clock.now()
        retired = await persist(
            self._in,
            partial(
                retire,
                set=name,
                age=keep.age,
                cut=cut,
                now=now,
                limit=_PIECE,
            ),
            what=f"what {name} does not keep",
        )
        self._in.bus.publish(retired.events)
        if retired.events:
            deleted = sum(len(event.numbers) for event in retired.events if event.set == name)
            _log.info("partitions not kept", set=name, deleted=deleted)
        for run_id in retired.held:
            self._held.setdefault(run_id, set()).add(name)
        if keep.age is not None and retired.oldest is not None and not retired.more:
            self._wait(name, retired.oldest + keep.age)
        return retired
