"""How far a backfill is with each asset: bitmaps of partitions, written in pieces of 65,536."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyroaring import BitMap

from freshet.store.records import BackfillChunk, BackfillMark

__all__ = ["Marks", "Progress", "chunks_of"]

_CHUNK = 65_536
_MARKS: tuple[BackfillMark, ...] = ("wanted", "asked", "done", "failed")


class Marks:
    """Of one asset. `asked`: in a run, now or before; `done`, `failed`: how that ended. All are parts of `wanted`."""

    __slots__ = ("asked", "done", "failed", "wanted")

    def __init__(self, wanted: BitMap, asked: BitMap, done: BitMap, failed: BitMap) -> None:
        self.wanted = wanted
        self.asked = asked
        self.done = done
        self.failed = failed

    @classmethod
    def fresh(cls, wanted: BitMap) -> Marks:
        """Nothing asked for yet."""
        return cls(wanted, BitMap(), BitMap(), BitMap())

    @property
    def to_come(self) -> BitMap:
        """Wanted, and neither done nor failed."""
        return self.wanted - self.done - self.failed

    @property
    def in_flight(self) -> int:
        """How many are in a run that has not ended."""
        return len(self.asked) - len(self.done) - len(self.failed)


class Progress:
    """A backfill's marks by asset, in dependency order, and which pieces of them are still to be written."""

    def __init__(self, marks: Mapping[str, Marks]) -> None:
        self.marks = dict(marks)
        self._touched: set[tuple[str, BackfillMark, int]] = set()
        self._taken: set[tuple[str, BackfillMark, int]] = set()

    def set(self, asset: str, what: BackfillMark, numbers: Iterable[int]) -> None:
        """Mark partitions."""
        found = BitMap(numbers)
        bits: BitMap = getattr(self.marks[asset], what)
        bits |= found
        self._touch(asset, what, found)

    def clear(self, asset: str, what: BackfillMark, numbers: Iterable[int]) -> None:
        """Take marks away."""
        found = BitMap(numbers)
        bits: BitMap = getattr(self.marks[asset], what)
        bits -= found
        self._touch(asset, what, found)

    def drop(self, asset: str, numbers: BitMap) -> bool:
        """Partitions are no more: nothing of them is wanted. Returns whether any was."""
        gone = numbers & self.marks[asset].wanted
        if gone:
            for what in _MARKS:
                self.clear(asset, what, gone)
        return bool(gone)

    def rename(self, names: Mapping[str, str]) -> None:
        """Assets have other names, by the old ones."""
        self.marks = {names.get(asset, asset): marks for asset, marks in self.marks.items()}
        self._touched = {(names.get(asset, asset), what, index) for asset, what, index in self._touched}
        self._taken = {(names.get(asset, asset), what, index) for asset, what, index in self._taken}

    def changes(self) -> tuple[BackfillChunk, ...]:
        """The pieces that changed since this was asked last."""
        self._taken, self._touched = self._touched, set()
        return tuple(
            _chunk(asset, what, index, getattr(self.marks[asset], what)) for asset, what, index in sorted(self._taken)
        )

    def not_written(self) -> None:
        """What was asked for last could not be written."""
        self._touched |= self._taken

    def _touch(self, asset: str, what: BackfillMark, numbers: BitMap) -> None:
        self._touched.update((asset, what, index) for index in _indexes(numbers))


def chunks_of(marks: Mapping[str, Marks]) -> tuple[BackfillChunk, ...]:
    """All pieces, of a new backfill."""
    return tuple(
        _chunk(asset, what, index, bits)
        for asset, one in marks.items()
        for what in _MARKS
        for bits in (getattr(one, what),)
        for index in _indexes(bits)
    )


def _indexes(numbers: BitMap) -> Iterable[int]:
    place = numbers.min() if numbers else None
    while place is not None:
        yield place // _CHUNK
        place = next(numbers.iter_equal_or_larger((place // _CHUNK + 1) * _CHUNK), None)


def _chunk(asset: str, what: BackfillMark, index: int, bits: BitMap) -> BackfillChunk:
    piece = bits & BitMap(range(index * _CHUNK, (index + 1) * _CHUNK))
    piece.run_optimize()
    return BackfillChunk(asset, what, index, piece.serialize() if piece else b"")
