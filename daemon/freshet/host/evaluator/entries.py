"""Digests and versions of a ledger in little memory: about 32 bytes an item where a dict takes 150."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from struct import Struct
from typing import Any

from freshet.host.evaluator.messages import DIGEST, RECORD

__all__ = ["Entries"]

_DIGESTS = Struct(f"{DIGEST}s{RECORD - DIGEST}x")
_MEAN = 8
"""Records in a bucket on average: enough that a bucket's own 50 bytes weigh little, and few enough that hardly one gets
over 512 bytes. What is larger does not come from Python's own arenas, and is hardly ever given back."""


class Entries(MutableMapping[bytes, bytes]):
    """Versions (8 bytes) by digests (16 bytes). Setting others raises `ValueError`; looking others up means nothing.

    The records stand joined in buckets, as they come over the wire. The table grows by linear hashing: one bucket at a
    time is split in two, so that no change takes longer than a few others, however large the ledger. It does not
    shrink: where everything was removed, 8 bytes a bucket stay.

    A bucket is `bytes` and replaced as a whole: whoever reads in another thread sees it before or after a change.
    """

    __slots__ = ("_buckets", "_count", "_mask")

    def __init__(self) -> None:
        self._buckets = [b""]
        self._count = 0
        self._mask = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        for bucket in self._buckets:
            for (digest,) in _DIGESTS.iter_unpack(bucket):
                yield digest

    def __contains__(self, digest: object) -> bool:
        return isinstance(digest, bytes) and self.get(digest) is not None

    def __getitem__(self, digest: bytes) -> bytes:
        version: bytes | None = self.get(digest)
        if version is None:
            raise KeyError(digest)
        return version

    def get(self, digest: bytes, default: Any = None) -> Any:
        """The version of a digest."""
        buckets, mask = self._buckets, self._mask
        place = hash(digest) & mask
        bucket = buckets[place if place < len(buckets) else place & (mask >> 1)]
        at = bucket.find(digest)
        if at > 0 and at % RECORD:
            at = _find(bucket, digest)
        return default if at < 0 else bucket[at + DIGEST : at + RECORD]

    def __setitem__(self, digest: bytes, version: bytes) -> None:
        if len(digest) != DIGEST or len(version) != RECORD - DIGEST:
            raise ValueError(f"not {DIGEST} bytes of digest and {RECORD - DIGEST} of version: {digest!r}, {version!r}")
        self.load(digest + version)

    def __delitem__(self, digest: bytes) -> None:
        place = self._place(digest)
        bucket = self._buckets[place]
        at = _find(bucket, digest)
        if at < 0:
            raise KeyError(digest)
        self._buckets[place] = bucket[:at] + bucket[at + RECORD :]
        self._count -= 1

    def load(self, records: bytes) -> None:
        """Set all of these joined records. Raises `ValueError` where the last one is cut off."""
        if len(records) % RECORD:
            raise ValueError(f"{len(records)} bytes are no whole number of ledger records of {RECORD}")
        buckets = self._buckets
        for start in range(0, len(records), RECORD):
            record = records[start : start + RECORD]
            digest = record[:DIGEST]
            place = hash(digest) & self._mask
            if place >= len(buckets):
                place &= self._mask >> 1
            bucket = buckets[place]
            at = bucket.find(digest)
            if at > 0 and at % RECORD:
                at = _find(bucket, digest)
            if at >= 0:
                buckets[place] = bucket[:at] + record + bucket[at + RECORD :]
            else:
                buckets[place] = bucket + record
                self._count += 1
                if self._count > _MEAN * len(buckets):
                    self._split()

    def merge(self, put: Mapping[bytes, bytes]) -> None:
        """Set all of these. Room is made first: no record that arrives is moved again."""
        while self._count + len(put) > _MEAN * len(self._buckets):
            self._split()
        self.load(b"".join([digest + version for digest, version in put.items()]))

    def _place(self, digest: bytes) -> int:
        """Its bucket. Those that are not split yet in this round stand for the new one too."""
        place = hash(digest) & self._mask
        return place if place < len(self._buckets) else place & (self._mask >> 1)

    def _split(self) -> None:
        """Make one bucket more, of what belongs there."""
        new = len(self._buckets)
        if new > self._mask:
            self._mask = 2 * self._mask + 1
        mask, old = self._mask, new & (self._mask >> 1)
        bucket = self._buckets[old]
        stay, move = list[bytes](), list[bytes]()
        for start in range(0, len(bucket), RECORD):
            record = bucket[start : start + RECORD]
            (move if hash(record[:DIGEST]) & mask == new else stay).append(record)
        self._buckets.append(b"".join(move))
        self._buckets[old] = b"".join(stay)


def _find(bucket: bytes, digest: bytes) -> int:
    """Where its record begins, -1 where there is none: the same bytes may stand across two others."""
    at = bucket.find(digest)
    while at > 0 and at % RECORD:
        at = bucket.find(digest, at + 1)
    return at
