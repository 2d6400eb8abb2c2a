"""Freshness of each partition: the store knows which deadline of an asset is next; one heap entry waits for it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from pyroaring import BitMap

from freshet.definitions.deadlines import counts_from, next_deadline
from freshet.definitions.freshness import FreshnessSpec
from freshet.engine.freshness import by_partition
from freshet.engine.instruments import Instruments, persist, recall
from freshet.store.partition_freshness import look_at_partitions, pieces, tracked, untrack
from freshet.store.records import Event

__all__ = ["PartitionRefresher"]


class PartitionRefresher:
    """Begins rows for partitions that come, forgets those that go, and commits what lapses in bounded pieces."""

    def __init__(self, instruments: Instruments) -> None:
        self._in = instruments
        self._policies: dict[str, FreshnessSpec] = {}
        self._set_of: dict[str, str] = {}
        self._over: dict[str, list[str]] = {}
        self._unread: set[str] = set()
        self._added: dict[str, BitMap] = {}
        self._gone: dict[str, BitMap] = {}
        self._due: set[str] = set()
        self._when: dict[str, float] = {}
        self._busy = False
        self.open = False

    def start(self) -> None:
        """Compare what is kept with what is live, and find what lapsed while the daemon was down."""
        definitions = self._in.in_force.definitions
        self._policies = by_partition(definitions)
        for asset in self._policies:
            partitions = definitions.asset[asset].partitions
            assert partitions is not None, "the policy is for its partitions"
            self._set_of[asset] = partitions.name
            self._over.setdefault(partitions.name, []).append(asset)
        self._unread = set(self._policies)
        self.open = True
        self._pump()

    def stop(self) -> None:
        """No more events."""
        self.open = False
        for asset in self._policies:
            self._in.heap.cancel(("freshness", asset))

    def look_again(self) -> None:
        """The instants that deadlines are may be others."""
        self._due.update(self._policies)
        self._pump()

    def published(self, events: tuple[Event, ...]) -> None:
        """Partitions come and go; what is made has another deadline, which may be the first."""
        for event in events:
            if event.type in ("partition_added", "partition_deleted"):
                for asset in self._over.get(event.set or "", ()):
                    self._member(asset, BitMap(event.numbers), added=event.type == "partition_added")
            elif event.type == "materialized" and event.asset in self._policies:
                self._made(event.asset, event)
        self._pump()

    def _member(self, asset: str, numbers: BitMap, *, added: bool) -> None:
        to, other = (self._added, self._gone) if added else (self._gone, self._added)
        if asset in other:
            other[asset] -= numbers
        to[asset] = to.get(asset, BitMap()) | numbers

    def _made(self, asset: str, event: Event) -> None:
        data: Any = event.data or {}
        at = data.get("at", event.at)
        policy = self._policies[asset]
        counts = counts_from(policy, at, data.get("begun", at), float("-inf"))
        self._wait(asset, next_deadline(policy, counts, "fresh"))

    def _wait(self, asset: str, deadline: float | None) -> None:
        """Look at an asset at its next deadline, unless an earlier one waits."""
        known = self._when.get(asset)
        if deadline is not None and self.open and (known is None or deadline < known):
            self._when[asset] = deadline
            self._in.heap.at(("freshness", asset), deadline, partial(self._come, asset))

    def _come(self, asset: str) -> None:
        self._when.pop(asset, None)
        self._due.add(asset)
        self._pump()

    def _pump(self) -> None:
        if self.open and not self._busy and (self._unread or self._added or self._gone or self._due):
            self._busy = True
            self._in.work.spawn(self._work_off())

    async def _work_off(self) -> None:
        try:
            while self.open and (self._unread or self._added or self._gone or self._due):
                for asset in list(self._unread):
                    await self._read(asset)
                for asset in [*self._gone]:
                    for piece in pieces(self._gone.pop(asset)):
                        await self._persist(partial(untrack, asset=asset, numbers=piece))
                for asset in sorted(self._due | self._added.keys()):
                    self._due.discard(asset)
                    await self._look(asset, pieces(self._added.pop(asset, BitMap())))
        finally:
            self._busy = False

    async def _read(self, asset: str) -> None:
        kept = await recall(self._in, partial(tracked, asset=asset), what="freshness of partitions")
        live = self._in.in_force.partitions.sets.named(self._set_of[asset])
        self._member(asset, live - kept, added=True)
        self._member(asset, kept - live, added=False)
        self._unread.discard(asset)
        self._due.add(asset)

    async def _look(self, asset: str, added: Iterable[list[int]]) -> None:
        rest, none = iter(added), list[int]()
        piece = next(rest, none)
        while self.open:
            now, set_name = self._in.clock.now(), self._set_of[asset]
            live = self._in.in_force.partitions.sets.named(set_name)
            look = partial(look_at_partitions, asset=asset, set_name=set_name, live=live, added=piece, now=now)
            found = await self._persist(look)
            self._in.bus.publish(found.events)
            piece = next(rest, none)
            if not piece and (found.next is None or found.next > now):
                self._wait(asset, found.next)
                return

    async def _persist(self, transaction: Any) -> Any:
        return await persist(self._in, transaction, what="freshness of partitions")
