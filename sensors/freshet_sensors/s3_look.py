"""One look of an S3 sensor: what the bucket shows that the ledger does not hold, and the reverse, in pieces.

The cursor holds `place` (where this ledger's objects lie), `first` while the first full look is under way, `after`
while any is (the next look goes on behind it), `low` (under order="key": all keys up to it are in the ledger),
`reconciled` (when the last full look began), `again` (how often deletions were said), `pages` (of the last full look).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from freshet import PartitionKeyError, SensorContext, Skip
from freshet_sensors.admit import Item, Said, admit, key_of
from freshet_sensors.aside import aside
from freshet_sensors.s3_list import Broken, Bucket, Object, Page, Patience, Row, version_of
from freshet_sensors.s3_sweep import Sweep

if TYPE_CHECKING:
    from freshet_sensors.s3 import S3Sensor

__all__ = ["Look"]

_PIECE = 250
_CONFIRMED = 1_000


class Look:
    """See the module. `first`: there is no full look of this place behind it yet."""

    patience = Patience

    def __init__(self, sensor: S3Sensor, ctx: SensorContext, bucket: Bucket) -> None:
        self._sensor = sensor
        self._ctx = ctx
        self._bucket = bucket
        self._rules = sensor.rules
        self._patience = self.patience()
        self._place = f"{sensor.access.endpoint_url or ''} {sensor.bucket}/{sensor.prefix}"
        self._matches = sensor.rules.pattern.matches
        memory: dict[str, Any] = dict(ctx.cursor or {})
        if memory.get("place") != self._place:
            memory = {"place": self._place, "first": True, "again": memory.get("again", 0)}
        self._memory = memory
        self._again: int = memory.get("again", 0)
        self._time = asyncio.get_running_loop().time
        self._committed = self._time()
        self.first = bool(memory.get("first"))

    def remember(self) -> None:
        """What was found out goes into the cursor."""
        if self._ctx.cursor != self._memory:
            self._ctx.cursor = dict(self._memory)

    # --- some keys -----------------------------------------------------------------------------------------

    async def at_keys(self, keys: Iterable[str]) -> AsyncIterator[Said]:
        """Look at these keys alone. Raises `Broken`; what was said before that is committed."""
        meant = [key for key in keys if self._path(key) is not None]
        for at in range(0, len(meant), _PIECE):
            self._ctx.lag(len(meant) - at)
            found = await self._bucket.heads(meant[at : at + _PIECE], self._patience)
            items = [item for key, row in found if (item := self._item(key, row)) is not None]
            if at:
                await self._commit()
            for said in self._admit([item for item in items if item.file is not None]):
                yield said
            gone = [item.path for item in items if item.file is None]
            for said in self._forget(gone, frozenset()):
                yield said

    def _item(self, key: str, row: Row | None) -> Item | None:
        path, ledger = self._path(key), self._ctx.ledger
        assert path is not None
        if row is None:
            # Whether another object has the same partition key, only a full look can tell. What named it is settled all
            # the same: after many deletions the queue would wait for that look, and wake for nothing else.
            if path not in ledger or (self._rules.retire and not self._one_to_one):
                return None
            return Item(path, None)
        if _marker(row) or ledger.seen(path, self._version(row)):
            return None
        return Item(path, self._object(row))

    @property
    def _one_to_one(self) -> bool:
        """Whether no two paths have the same partition key."""
        rules = self._rules
        wild = any(sign in rules.pattern.text for sign in "*?")
        plain = rules.key.text is None and not rules.pattern.fields
        return plain or (rules.key.text is None and len(rules.pattern.fields) == 1 and not wild)

    # --- everything ----------------------------------------------------------------------------------------

    async def through(self) -> AsyncIterator[Said | Skip]:
        """List what there is, or under order="key" what is new at the end. Raises `Broken`."""
        if self._sensor.order == "key" and not self._due():
            async for said in self._onward():
                yield said
            return
        sweep, whole = self._sweep()
        begun: float = self._memory.setdefault("began", self._ctx.now.timestamp())
        matched, ordered = 0, True
        pages = self._bucket.pages(self._memory.get("after"), self._patience)
        try:
            async for page in pages:
                sweep.pages += 1
                sweep.listed += len(page.rows)
                fresh, meant = self._fresh(page, sweep)
                matched += meant
                ordered = ordered and page.ordered
                reached = page.last if page.more and ordered else None
                async for said in self._take_page(fresh, page, "after", reached):
                    yield said
                if page.last is not None:
                    sweep.after = page.last
                if self._sensor.order == "key" and not page.ordered:
                    raise Broken(f"the listing of the bucket {self._bucket.name} is in no order")
        finally:
            await pages.aclose()
        if whole:
            async for said in self._absent(sweep):
                yield said
        self._over(sweep, begun, whole)
        if not matched and sweep.listed and whole:
            reason = f"none of {sweep.listed:,} objects below {self._sensor.prefix!r} is meant by the pattern"
            yield Skip(reason, waiting=True)

    async def _onward(self) -> AsyncIterator[Said]:
        pages = self._bucket.pages(self._memory.get("low"), self._patience)
        try:
            async for page in pages:
                fresh, _ = self._fresh(page, None)
                async for said in self._take_page(fresh, page, "low", page.last if page.ordered else None):
                    yield said
                if not page.ordered:
                    raise Broken(f"the listing of the bucket {self._bucket.name} is in no order")
        finally:
            await pages.aclose()

    def _due(self) -> bool:
        """Under order="key": whether everything is to be looked at."""
        last = self._memory.get("reconciled")
        return (
            self.first
            or "after" in self._memory
            or last is None
            or not 0 <= self._ctx.now.timestamp() - last < self._sensor.reconcile
        )

    def _sweep(self) -> tuple[Sweep, bool]:
        """The sweep to go on with, and whether it holds the listing from its first page on."""
        after, kept = self._memory.get("after"), self._sensor.sweep
        if after is None:
            sweep = Sweep()
            self._memory.pop("began", None)
        elif kept is not None and kept.after >= after and not self._ctx.dry_run:
            return kept, True
        else:
            return Sweep(), False
        if not self._ctx.dry_run:
            self._sensor.sweep = sweep
        return sweep, True

    def _fresh(self, page: Page, sweep: Sweep | None) -> tuple[list[Row], int]:
        """The rows of a page that are news, and how many are meant."""
        ledger, place, fresh, meant = self._ctx.ledger, self._place, list[Row](), 0
        begin, matches, seen = len(self._sensor.prefix), self._matches, ledger.seen
        retire, versioned = self._rules.retire, self._bucket.versioned
        for row in page.rows:
            path = row[0][begin:]
            if not matches(path) or _marker(row):
                continue
            meant += 1
            if sweep is not None:
                sweep.paths.add(path)
                if retire and (key := self._key(path)) is not None:
                    sweep.keys.add(key)
            if not seen(path, version_of(place, row[1], row[4] if versioned else None)):
                fresh.append(row)
        return fresh, meant

    async def _take_page(self, fresh: list[Row], page: Page, what: str, reached: str | None) -> AsyncIterator[Said]:
        """Admit what is new on a page; the last piece, and no other, brings the cursor to its end."""
        unsaid = self._before_start(fresh) if self.first else []
        for row in unsaid:
            self._ctx.ledger.add(row[0][len(self._sensor.prefix) :], self._version(row))
        if unsaid:
            skipped = set(map(id, unsaid))
            fresh = [row for row in fresh if id(row) not in skipped]
        late = self._time() - self._committed > self._sensor.spec.timeout / 4
        for at in range(0, len(fresh), _PIECE):
            self._ctx.lag(len(fresh) - at)
            if at:
                await self._commit()
            items = [Item(row[0][len(self._sensor.prefix) :], self._object(row)) for row in fresh[at : at + _PIECE]]
            for said in self._admit(items):
                yield said
        if reached is not None and (what == "low" or fresh or unsaid or late):
            self._memory[what] = reached
        if page.more and (fresh or unsaid or late):
            await self._commit()
            self._ctx.lag(0)
        else:
            await asyncio.sleep(0)

    def _before_start(self, fresh: list[Row]) -> list[Row]:
        """What the first full look takes for seen."""
        start = self._sensor.start
        if isinstance(start, datetime):
            return [row for row in fresh if row[3] < start]
        return fresh if start == "now" else []

    async def _absent(self, sweep: Sweep) -> AsyncIterator[Said]:
        """Forget what the ledger holds and the sweep did not meet."""
        ledger, paths = self._ctx.ledger, sweep.paths
        if len(ledger) <= len(paths):
            return

        def absent() -> list[str]:
            return [path for path in ledger.absent(()) if path not in paths]

        gone = await aside(absent)
        prefix = self._sensor.prefix
        asked = [path for path in gone[:_CONFIRMED] if self._matches(path)]
        heads = await self._bucket.heads([prefix + path for path in asked], self._patience)
        # In a first look, too: notifications may have brought in what its listing does not show yet.
        there = {key[len(prefix) :] for key, row in heads if row is not None}
        if there and len(gone) > _CONFIRMED and not self.first:
            raise Broken(f"the listing of the bucket {self._bucket.name} leaves out objects that are there")
        gone = [path for path in gone if path not in there]
        kept = {self._key(path) for path in there}
        keys = {key for path in gone if (key := self._key(path)) is not None}
        left = frozenset(key for key in keys if key in sweep.keys or key in kept)
        for at in range(0, len(gone), _PIECE):
            await self._commit()
            for said in self._forget(gone[at : at + _PIECE], left):
                yield said

    def _over(self, sweep: Sweep, begun: float, whole: bool) -> None:
        """The listing has come to its end."""
        memory = self._memory
        for what in ("after", "first", "began"):
            memory.pop(what, None)
        if self._sensor.order == "key":
            memory["reconciled"] = begun
            if sweep.after:
                memory["low"] = sweep.after
        if whole and memory.get("pages") != sweep.pages:
            every = self._sensor.spec.interval if self._sensor.order == "any" else self._sensor.reconcile
            calls = f"{sweep.pages * 86400 / every:,.0f}"
            self._ctx.log.info("list calls a day", bucket=self._bucket.name, pages=sweep.pages, calls=calls)
            memory["pages"] = sweep.pages
        if not self._ctx.dry_run:
            self._sensor.sweep = None

    # --- what is said --------------------------------------------------------------------------------------

    def _admit(self, items: list[Item]) -> Iterator[Said]:
        if self.first:  # what another place held is no reason to call this one's objects modified
            for item in items:
                self._ctx.ledger.remove(item.path)
        if self._sensor.sweep is not None and not self._ctx.dry_run:
            for item in items:
                self._sensor.sweep.paths.add(item.path)
        root = self._bucket.name
        yield from admit(self._ctx, self._rules, root, items, left=frozenset(), again=self._again)

    def _forget(self, gone: list[str], left: frozenset[str]) -> Iterator[Said]:
        """What has gone is forgotten, and said where it was meant and this place's own."""
        said = [path for path in gone if self._matches(path)] if not self.first else []
        for path in set(gone) - set(said):
            self._ctx.ledger.remove(path)
        if said and "deleted" in self._rules.on:
            self._memory["again"] = self._again + 1
        items = [Item(path, None) for path in said]
        yield from admit(self._ctx, self._rules, self._bucket.name, items, left=left, again=self._again)

    async def _commit(self) -> None:
        self.remember()
        await self._ctx.checkpoint()
        self._committed = self._time()

    # --- names ---------------------------------------------------------------------------------------------

    def _path(self, key: str) -> str | None:
        """The key below the prefix; None where it is not meant."""
        path = key[len(self._sensor.prefix) :]
        return path if key.startswith(self._sensor.prefix) and self._matches(path) else None

    def _key(self, path: str) -> str | None:
        try:
            return key_of(self._rules, path)
        except PartitionKeyError:
            return None

    def _version(self, row: Row) -> str:
        return version_of(self._place, row[1], row[4] if self._bucket.versioned else None)

    def _object(self, row: Row) -> Object:
        return Object(self._place, self._bucket.name, *row, self._bucket.versioned)


def _marker(row: Row) -> bool:
    """Whether it stands for a folder: consoles make such."""
    return row[2] == 0 and row[0].endswith("/")
