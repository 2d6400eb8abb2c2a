"""How an outcome is divided, so that no transaction holds the writer, and no step the loop, for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Literal, TypeVar

from freshet.definitions.graph import Definitions
from freshet.errors import UnknownName
from freshet.executors.base import TickEnd
from freshet.store.records import LedgerDelta, LedgerEntry, PartitionDelta, PartitionRef, names_of
from freshet.store.records.stages import StagePiece

__all__ = [
    "COMBINATIONS",
    "KEYS",
    "GivenKeys",
    "halves",
    "is_large",
    "key_pieces",
    "ledger_pieces",
    "lighter",
    "slices",
]

T = TypeVar("T")

KEYS = 2000
"""How many keys one transaction adds or deletes at the most; the others likewise, all measured to stay below 20 ms."""
COMBINATIONS = 1000
"""How many combinations come or go with the keys of one transaction, at the most."""
LEDGER = 1500
_SIZES: dict[Literal["reports", "runs"], int] = {"reports": 250, "runs": 350}


def is_large(end: TickEnd) -> bool:
    """Whether an outcome is too much for one transaction."""
    keys = sum(len(delta.add) + len(delta.delete) for delta in end.partitions)
    entries = len(end.ledger.put) + len(end.ledger.remove)
    runs, reports = len(end.runs) / _SIZES["runs"], len(end.reports) / _SIZES["reports"]
    return keys / KEYS + entries / LEDGER + runs + reports > 1


def slices(items: Sequence[T], what: Literal["reports", "runs"]) -> Iterator[tuple[T, ...]]:
    """Reports or runs, a piece at a time."""
    size = _SIZES[what]
    return (tuple(items[start : start + size]) for start in range(0, len(items), size))


def key_pieces(deltas: Sequence[PartitionDelta], size: int = KEYS) -> Iterator[tuple[PartitionDelta, ...]]:
    """The same changes in the same order, `size` keys at a time."""
    piece: list[PartitionDelta] = []
    room = size
    for delta in deltas:
        at, split, total = 0, len(delta.add), len(delta.add) + len(delta.delete)
        while at < total:
            upto = min(total, at + room)
            deleted = delta.delete[max(0, at - split) : max(0, upto - split)]
            piece.append(replace(delta, add=delta.add[at:upto], delete=deleted))
            room -= upto - at
            at = upto
            if not room:
                yield tuple(piece)
                piece, room = [], size
    if piece:
        yield tuple(piece)


def lighter(delta: PartitionDelta, hanging: Sequence[int]) -> Iterator[PartitionDelta]:
    """The same changes, so divided that at most `COMBINATIONS` come and go with the keys of one. `hanging`: how many do
    with each key, those to add before those to delete. A key with more of them alone is one by itself."""
    if sum(hanging) <= COMBINATIONS:
        yield delta
        return
    added, start, weight = len(delta.add), 0, 0
    for at, one in enumerate((*hanging, COMBINATIONS + 1)):
        if at > start and (weight + one > COMBINATIONS or at == len(hanging)):
            upto = slice(max(0, start - added), max(0, at - added))
            yield replace(delta, add=delta.add[start:at], delete=delta.delete[upto])
            start, weight = at, 0
        weight += one


async def ledger_pieces(delta: LedgerDelta) -> AsyncIterator[tuple[LedgerDelta, bool]]:
    """The changes in the order of their digests, so that a piece touches few pages of a large ledger; with each,
    whether it is the last."""
    count = 1 + (len(delta.put) + len(delta.remove)) // LEDGER * 2
    put: list[list[int]] = [[] for _ in range(count)]
    remove: list[list[bytes]] = [[] for _ in range(count)]
    for start in range(0, len(delta.put), KEYS):
        for at, entry in enumerate(delta.put[start : start + KEYS], start):
            put[int.from_bytes(entry.digest[:4], "big") * count >> 32].append(at)
        await asyncio.sleep(0)
    for start in range(0, len(delta.remove), KEYS):
        for digest in delta.remove[start : start + KEYS]:
            remove[int.from_bytes(digest[:4], "big") * count >> 32].append(digest)
        await asyncio.sleep(0)
    pieces = (piece for at in range(count) for piece in _bucket([delta.put[one] for one in put[at]], remove[at]))
    held = next(pieces, None)
    while held is not None:
        following = next(pieces, None)
        yield held, following is None
        held = following


def _bucket(put: list[LedgerEntry], remove: list[bytes]) -> Iterator[LedgerDelta]:
    put.sort(key=lambda entry: entry.digest)
    anew = {entry.digest for entry in put}  # removed and put again: put
    remove = sorted(digest for digest in remove if digest not in anew)
    for start in range(0, max(len(put), len(remove)), LEDGER // 2):
        chosen = slice(start, start + LEDGER // 2)
        yield LedgerDelta(tuple(put[chosen]), tuple(remove[chosen]))


def halves(piece: StagePiece) -> tuple[StagePiece, StagePiece] | None:
    """The piece as two; None where it is of one item."""
    sizes = [len(delta.add) + len(delta.delete) for delta in piece.partitions]
    put, remove = piece.ledger.put, piece.ledger.remove
    others = len(piece.reports) + len(piece.runs) + len(piece.pending) + len(piece.release)
    if sum(sizes) + len(put) + len(remove) + others < 2:
        return None
    keys = list(key_pieces(piece.partitions, (sum(sizes) + 1) // 2 or 1))
    reports, runs = (len(piece.reports) + 1) // 2, (len(piece.runs) + 1) // 2
    pending, release = (len(piece.pending) + 1) // 2, (len(piece.release) + 1) // 2
    first = StagePiece(
        partitions=keys[0] if keys else (),
        ledger=LedgerDelta(put[: len(put) // 2], remove[: len(remove) // 2]),
        reports=piece.reports[:reports],
        runs=piece.runs[:runs],
        pending=piece.pending[:pending],
        release=piece.release[:release],
    )
    second = StagePiece(
        partitions=tuple(delta for rest in keys[1:] for delta in rest),
        ledger=LedgerDelta(put[len(put) // 2 :], remove[len(remove) // 2 :]),
        ends_ledger=piece.ends_ledger,
        reports=piece.reports[reports:],
        runs=piece.runs[runs:],
        pending=piece.pending[pending:],
        release=piece.release[release:],
    )
    return first, second


class GivenKeys:
    """The keys that an outcome itself adds or deletes, as its runs and reports will find them."""

    def __init__(self) -> None:
        self._there: dict[str, dict[str, bool]] = {}

    def note(self, deltas: Sequence[PartitionDelta]) -> None:
        """The next changes."""
        for delta in deltas:
            known = self._there.setdefault(delta.set, {})
            known.update(dict.fromkeys(names_of(delta.add), True))
            known.update(dict.fromkeys(delta.delete, False))

    def check(self, definitions: Definitions, piece: StagePiece) -> StagePiece | None:
        """What of the piece the store must be asked about; None for nothing. Raises `UnknownName` for a key that the
        outcome deletes."""
        asset = definitions.asset
        reports = tuple(
            one
            for one in piece.reports
            if (spec := asset[one.asset].partitions) is not None
            and one.key is not None
            and self._asks(PartitionRef(spec.name, one.key, one.number, one.parts))
        )
        runs = tuple(
            one
            for one in piece.runs
            if one.set is not None
            and one.key is not None
            and self._asks(PartitionRef(one.set, one.key, one.partition, one.parts))
        )
        return StagePiece(reports=reports, runs=runs) if reports or runs else None

    def _asks(self, ref: PartitionRef) -> bool:
        parts = ref.parts or (ref,)
        found = [self._there.get(one.set, {}).get(one.key) for one in parts]
        if False in found:
            gone = parts[found.index(False)]
            raise UnknownName(
                f"the partition set {gone.set!r} has no key {gone.key!r}: the same outcome deletes it",
                hint="leave out the run or report, or DeletePartitions",
            )
        return True not in found
