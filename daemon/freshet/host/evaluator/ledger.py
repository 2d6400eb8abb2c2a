"""The evaluator's side of a ledger: a cache of hashes, and above it what the tick at hand has changed.

The truth is the store. The cache holds 16 bytes of each item's key and 8 of its version (about 32 bytes an item with
what is around them); the texts stay behind and are asked for by the few that need them (`absent`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any

from freshet.host.evaluator.entries import Entries

__all__ = ["LedgerCache", "LedgerChange", "TickLedger", "digest_of", "version_of"]

_ASK = 4096
_PIECE = 4096
_TORN = -1

TextsOf = Callable[[list[bytes]], dict[bytes, str]]
"""The key texts of some digests; those that the store no longer has are left out. Blocks."""


def digest_of(key: str) -> bytes:
    """16 bytes that stand for an item's key. Raises `ValueError` where the key is no valid Unicode text."""
    try:
        return blake2b(key.encode(), digest_size=16).digest()
    except UnicodeEncodeError:
        raise ValueError(
            f"the ledger key {key!r} holds a lone surrogate (a file name that is not UTF-8?): "
            "use os.fsencode(name).hex() or the like"
        ) from None


def version_of(version: str) -> bytes:
    """8 bytes that stand for an item's version."""
    return blake2b(version.encode("utf-8", "surrogatepass"), digest_size=8).digest()


class LedgerCache:
    """What the store holds for one sensor, at `revision`. `texts`: the keys too, where memory is no matter (tests).
    `notes`: see `host.contexts.Ledger`."""

    __slots__ = ("entries", "notes", "revision", "texts")

    def __init__(self, revision: int = 0, *, keep_texts: bool = False) -> None:
        self.revision = revision
        self.entries = Entries()
        self.notes: dict[str, Any] = {}
        self.texts: dict[bytes, str] | None = {} if keep_texts else None

    def texts_of(self, digests: list[bytes]) -> dict[bytes, str]:
        """The texts that are kept here."""
        texts = self.texts or {}
        return {digest: texts[digest] for digest in digests if digest in texts}


class TickLedger:
    """`ctx.ledger`: the cache with this tick's changes above it. See `host.contexts.Ledger`.

    `put` has the new version by digest, `keys` the text: two dicts of plain bytes and texts, since the garbage
    collector does not visit those, and there may be a million of them.
    """

    __slots__ = ("_cache", "_texts_of", "keys", "put", "removed")

    def __init__(self, cache: LedgerCache, texts_of: TextsOf) -> None:
        self._cache = cache
        self._texts_of = texts_of
        self.put: dict[bytes, bytes] = {}
        self.keys: dict[bytes, str] = {}
        self.removed: set[bytes] = set()

    def __contains__(self, key: str) -> bool:
        return self._version(digest_of(key)) is not None

    def __len__(self) -> int:
        entries = self._cache.entries
        removed = sum(1 for digest in self.removed if digest in entries)
        return len(entries) - removed + sum(1 for digest in self.put if digest not in entries)

    def seen(self, key: str, version: str = "") -> bool:
        """Whether this version of the item was the last one seen."""
        return self._version(digest_of(key)) == version_of(version)

    def add(self, key: str, version: str = "") -> None:
        """This version of the item is seen now."""
        digest, new = digest_of(key), version_of(version)
        self.removed.discard(digest)
        if self._cache.entries.get(digest) == new:
            self.put.pop(digest, None)
        else:
            self.put[digest] = new
            self.keys[digest] = key

    def remove(self, key: str) -> None:
        """Forget the item."""
        digest = digest_of(key)
        self.put.pop(digest, None)
        if digest in self._cache.entries:
            self.removed.add(digest)

    def absent(self, keys: Iterable[str]) -> Iterator[str]:
        """The items in the ledger that are not among `keys`.

        Which they are is settled at the call, so the ledger may be changed while iterating; their texts come from the
        store, some thousands at a time. A large difference is best read in a `def` sensor: on the loop each of these
        requests holds up the other sensors for some milliseconds.
        """
        present = {digest_of(key) for key in keys}
        known = [self.keys[digest] for digest in self.put if digest not in present]
        unknown = [
            digest
            for digest in self._cache.entries
            if digest not in present and digest not in self.removed and digest not in self.put
        ]
        return self._read(known, unknown)

    def _read(self, known: list[str], unknown: list[bytes]) -> Iterator[str]:
        yield from known
        for start in range(0, len(unknown), _ASK):
            asked = unknown[start : start + _ASK]
            texts = self._texts_of(asked)
            yield from (texts[digest] for digest in asked if digest in texts)

    def _version(self, digest: bytes) -> bytes | None:
        changed = self.put.get(digest)
        if changed is not None:
            return changed
        return None if digest in self.removed else self._cache.entries.get(digest)

    @property
    def notes(self) -> dict[str, Any]:
        """See `host.contexts.Ledger`."""
        return self._cache.notes

    def change(self) -> LedgerChange | None:
        """What this tick changed so far, None for nothing. It stays visible here."""
        if not self.put and not self.removed:
            return None
        return LedgerChange(self._cache, self.put.copy(), self.keys.copy(), self.removed.copy())

    def sink(self, put: dict[bytes, bytes], removed: set[bytes]) -> None:
        """The cache holds these changes now: what has not been changed again is forgotten here."""
        for digest, new in put.items():
            if self.put.get(digest) == new:
                del self.put[digest], self.keys[digest]
        self.removed -= removed
        if not self.put:
            self.put, self.keys = {}, {}


class LedgerChange:
    """What a tick changed, until the daemon says whether it is committed."""

    __slots__ = ("cache", "keys", "put", "removed")

    def __init__(
        self, cache: LedgerCache, put: dict[bytes, bytes], keys: dict[bytes, str], removed: set[bytes]
    ) -> None:
        self.cache = cache
        self.put = put
        self.keys = keys
        self.removed = removed

    def __len__(self) -> int:
        return len(self.put) + len(self.removed)

    def apply(self, revision: int, above: TickLedger | None = None) -> None:
        """It is committed: the cache stands at `revision` now. `above`: the look that goes on after a checkpoint."""
        for _ in self.pieces(revision, above):
            pass

    def pieces(self, revision: int, above: TickLedger | None = None) -> Iterator[None]:
        """`apply`, some thousand items at a time. The cache stands at no revision until all are there."""
        cache, entries, texts = self.cache, self.cache.entries, self.cache.texts
        cache.revision = _TORN
        removed = iter(self.removed)
        while gone := set(islice(removed, _PIECE)):
            for digest in gone:
                entries.pop(digest, None)
                if texts is not None:
                    texts.pop(digest, None)
            if above is not None:
                above.sink({}, gone)
            yield
        items = iter(self.put.items())
        while put := dict(islice(items, _PIECE)):
            entries.merge(put)
            if texts is not None:
                texts.update((digest, self.keys[digest]) for digest in put)
            if above is not None:
                above.sink(put, set())
            yield
        cache.revision = revision
