"""What condition nodes remember of an asset's partitions: bitmaps by key, written in chunks of 65,536 partitions.

A number per partition (a deadline, a count of attempts) is kept as one bitmap for each value, under the key
`KEY=VALUE`. Deadlines are rounded so that few values are in use at a time; 20,000 partitions that wait together
cost one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping

from pyroaring import BitMap

from freshet.engine.automation.state import EMPTY
from freshet.store.records import ConditionChunk

__all__ = ["CHUNK", "Memory", "Stamps", "rename", "round_up"]

CHUNK = 65_536


def _nobody(_asset: str, _when: float, _instant: bool) -> None:
    """Nobody waits."""


class Memory:
    """One asset's. `changes` counts changes, so that a look can tell whether it changed anything. `on_deadline` is
    told each deadline that is set, with the asset, and whether it is an instant (see `Deadlines`)."""

    __slots__ = ("_asset", "_bits", "_on_deadline", "_signature", "_stamps", "_touched", "changes")

    def __init__(self, asset: str = "", on_deadline: Callable[[str, float, bool], None] = _nobody) -> None:
        self.changes = 0
        self._asset = asset
        self._bits: dict[str, BitMap] = {}
        self._signature: tuple[frozenset[str], float] | None = None
        self._stamps: dict[str, Stamps] = {}
        self._touched: dict[str, set[int]] = {}
        self._on_deadline = on_deadline

    def get(self, key: str) -> BitMap:
        """To read."""
        return self._bits.get(key, EMPTY)

    def assign(self, key: str, scope: BitMap, value: BitMap) -> None:
        """Within `scope` the node's bits are now `value`, a subset of it."""
        old = self._bits.get(key)
        if old is None:
            if not value:
                return
            old = EMPTY
        changed = (old & scope) ^ value
        if not changed:
            return
        self.changes += 1
        self._signature = None
        fresh = old ^ changed
        if fresh:
            self._bits[key] = fresh
        else:
            del self._bits[key]
        touched = self._touched.setdefault(key, set())
        low, high = changed.min() // CHUNK, changed.max() // CHUNK
        touched.update((low,) if low == high else _chunks(changed))

    def add(self, key: str, bits: BitMap) -> None:
        """Set `bits`."""
        if bits:
            self.assign(key, bits, bits)

    def remove(self, key: str, bits: BitMap) -> None:
        """Clear `bits`."""
        if bits and key in self._bits:
            self.assign(key, bits, EMPTY)

    @property
    def unsaved(self) -> bool:
        """Whether anything changed since the last flush."""
        return bool(self._touched)

    @property
    def numbered(self) -> bool:
        """Whether any partition has or had a number."""
        return bool(self._stamps)

    @property
    def timed(self) -> bool:
        """Whether any partition has a number now."""
        return any(stamps.values for stamps in self._stamps.values())

    def take(self, other: Memory) -> None:
        """Remember what another one does, of which no partition has a number; nothing of it is left to write."""
        self._bits = dict(other._bits)
        self._signature = None

    def signature(self) -> tuple[frozenset[str], float]:
        """Of an asset without partitions: the keys under which something is remembered, those of numbers without the
        number (`KEY=`); and the least number."""
        found = self._signature
        if found is None:
            names, least = list[str](), math.inf
            for key, bits in self._bits.items():
                base, _, value = key.rpartition("=")
                if 0 in bits:
                    names.append(f"{base}=" if base else key)
                    least = min(least, float(value)) if base else least
            found = self._signature = frozenset(names), least
        return found

    def waiting(self) -> dict[str, float]:
        """Of an asset without partitions: the numbers by their keys."""
        split = (key.rpartition("=") for key, bits in self._bits.items() if 0 in bits)
        return {base: float(value) for base, _, value in split if base}

    def stamps(self, key: str, *, deadline: bool = False) -> Stamps:
        """The numbers kept under `key`; `deadline`: they are times at which to look again."""
        found = self._stamps.get(key)
        if found is None:
            found = self._stamps[key] = Stamps(self, key, deadline)
        return found

    def due(self, now: float, *, instant: bool = False) -> BitMap:
        """Its own partitions with a deadline, or an instant, that has come."""
        found = BitMap()
        for key, stamps in self._stamps.items():
            if stamps.deadline and stamps.instant is instant and not _owner(key):
                found |= stamps.until(now)
        return found

    def due_above(self, now: float, *, instant: bool = False) -> set[str]:
        """The assets above for a partition of which one has come, as far as conditions look at that, and those on the
        way there."""
        return {
            name
            for key, stamps in self._stamps.items()
            if stamps.deadline and stamps.instant is instant and _owner(key) and stamps.until(now)
            for name in key.split("/")[:-1]
        }

    def deadlines(self, node: str, partitions: BitMap) -> list[float]:
        """The deadlines of these partitions that a node has set; its keys begin with `node`."""
        waiting = [stamps for key, stamps in self._stamps.items() if stamps.deadline and key.startswith(f"{node}.")]
        return [when for stamps in waiting for when, _ in stamps.items(partitions)]

    def waits_for(self, when: float, *, instant: bool = False) -> bool:
        """Whether any partition has exactly this deadline, or instant."""
        return any(
            stamps.deadline and stamps.instant is instant and stamps.has(when) for stamps in self._stamps.values()
        )

    def deadline_set(self, when: float, *, instant: bool) -> None:
        """Told by `Stamps`."""
        self._on_deadline(self._asset, when, instant)

    def rename(self, asset: str) -> None:
        """It is that of this asset."""
        self._asset = asset
        for stamps in self._stamps.values():
            for value in stamps.values:
                stamps.note(value)

    def forget(self, owner: str, partitions: BitMap) -> None:
        """Clear deleted partitions. `owner`: the asset above whose partitions they are, empty for the own ones."""
        for key, stamps in self._stamps.items():
            if _owner(key) == owner:
                stamps.clear(partitions)
        for key in [key for key in self._bits if _owner(key) == owner]:
            self.remove(key, partitions)

    def copy(self) -> Memory:
        """To try something out in."""
        other = Memory()
        other._bits.update(self._bits)
        for key, stamps in self._stamps.items():
            mine = other.stamps(key, deadline=stamps.deadline)
            for value in stamps.values:
                mine.note(value)
        return other

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Drop all keys but the wanted ones."""
        for key in [key for key in self._bits if not wanted(key)]:
            self.remove(key, self._bits[key])
            base, _, value = key.rpartition("=")
            if base in self._stamps:
                self._stamps[base].drop(float(value))

    def move(self, key_of: Callable[[str], str]) -> None:
        """Keep what is remembered under a key under the one that it has now; `key_of` is asked for keys of numbers
        without the number, too."""
        for key in [key for key in self._bits if key_of(key) != key]:
            bits, fresh = self._bits[key], key_of(key)
            self.remove(key, bits)
            if fresh not in self._bits:
                self.add(fresh, bits)
        for base in [base for base in self._stamps if key_of(base) != base]:
            mine = self._stamps.pop(base)
            moved = self.stamps(key_of(base), deadline=mine.deadline)
            for value in mine.values:
                moved.note(value)

    def load(self, key: str, bits: bytes) -> None:
        """Take over one stored chunk."""
        loaded = BitMap.deserialize(bits)
        self._signature = None
        self._bits[key] = self._bits.get(key, EMPTY) | loaded
        base, _, value = key.rpartition("=")
        if base:
            self.stamps(base, deadline=base.endswith((Stamps.DEADLINE, Stamps.INSTANT))).note(float(value))

    def flush(self, asset: str) -> Iterator[ConditionChunk]:
        """The chunks that changed since the last flush."""
        for key, chunks in self._touched.items():
            bits = self._bits.get(key, EMPTY)
            for chunk in sorted(chunks):
                part = bits if len(bits) == 0 or _within(bits, chunk) else bits & _chunk_range(chunk)
                yield ConditionChunk(asset, key, chunk, part.serialize() if part else b"")
        self._touched.clear()


class Stamps:
    """A number for some partitions. Keys of deadlines end in `DEADLINE` or `INSTANT`, so that loading knows them."""

    DEADLINE = "-at"
    INSTANT = "-by"

    def __init__(self, memory: Memory, key: str, deadline: bool) -> None:
        self.deadline = deadline
        self.instant = key.endswith(Stamps.INSTANT)
        self._memory = memory
        self._key = key
        self.values: set[float] = set()

    def put(self, value: float, bits: BitMap) -> None:
        """Give `bits` this number in place of any other."""
        self.clear(bits, but=value)
        if bits:
            if self.deadline and value not in self.values:
                self._memory.deadline_set(value, instant=self.instant)
            self.values.add(value)
            self._memory.add(self._name(value), bits)

    def clear(self, bits: BitMap, *, but: float | None = None) -> None:
        """Take their number from `bits`."""
        for value in [value for value in self.values if value != but]:
            self._memory.remove(self._name(value), bits)
            if not self._memory.get(self._name(value)):
                self.values.discard(value)

    def items(self, scope: BitMap) -> list[tuple[float, BitMap]]:
        """The numbers in use within `scope`, ascending, with their partitions."""
        found = [(value, self._memory.get(self._name(value)) & scope) for value in sorted(self.values)]
        return [(value, bits) for value, bits in found if bits]

    def known(self, scope: BitMap) -> BitMap:
        """Those of `scope` that have a number."""
        found = BitMap()
        for _, bits in self.items(scope):
            found |= bits
        return found

    def until(self, now: float) -> BitMap:
        """Those whose number is at most `now`."""
        found = BitMap()
        for value in self.values:
            if value <= now:
                found |= self._memory.get(self._name(value))
        return found

    def has(self, value: float) -> bool:
        """Whether any partition has exactly this number."""
        return value in self.values

    def note(self, value: float) -> None:
        """A stored chunk with this number was loaded."""
        self.values.add(value)
        if self.deadline:
            self._memory.deadline_set(value, instant=self.instant)

    def drop(self, value: float) -> None:
        """Its bits are gone."""
        self.values.discard(value)

    def _name(self, value: float) -> str:
        return f"{self._key}={value!r}"


def round_up(when: float, grain: float) -> float:
    """The first multiple of `grain` that is not before `when`."""
    if grain <= 0:
        return when
    steps = when // grain
    rounded = steps * grain
    while rounded < when:
        steps += 1
        rounded = steps * grain
    return rounded


def rename(memory: dict[str, Memory], gone: Collection[str], names: Mapping[str, str]) -> None:
    """Of the assets `gone` nothing is remembered any more; of those with other `names`, by the old ones, all."""
    for asset in gone:
        memory.pop(asset, None)
    for old in names.keys() & memory.keys():
        memory[names[old]] = memory.pop(old)
        memory[names[old]].rename(names[old])


def _owner(key: str) -> str:
    return key.rpartition("/")[0].rpartition("/")[2]


def _chunks(bits: BitMap) -> Iterator[int]:
    position = 0
    while True:
        found = next(iter(bits.iter_equal_or_larger(position)), None)
        if found is None:
            return
        yield found // CHUNK
        position = (found // CHUNK + 1) * CHUNK


def _chunk_range(chunk: int) -> BitMap:
    return BitMap(range(chunk * CHUNK, (chunk + 1) * CHUNK))


def _within(bits: BitMap, chunk: int) -> bool:
    return bits.min() // CHUNK == chunk == bits.max() // CHUNK
