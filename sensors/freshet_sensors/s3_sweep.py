"""What a full look has met so far, in eight bytes a key: memory is never the bucket."""

from __future__ import annotations

from hashlib import blake2b

__all__ = ["Sweep", "Texts"]

_BYTES = 8
_SHARDS = 1 << 12


class Texts:
    """A set of texts that cannot be read back: 8 bytes of a hash each."""

    def __init__(self) -> None:
        self._shards: dict[int, bytearray] = {}
        self._count = 0

    def add(self, text: str) -> None:
        """It is in there now."""
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()
        shard = self._shards.setdefault(int.from_bytes(digest[:2]) % _SHARDS, bytearray())
        if not _holds(shard, digest):
            shard += digest
            self._count += 1

    def __contains__(self, text: str) -> bool:
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()
        return _holds(self._shards.get(int.from_bytes(digest[:2]) % _SHARDS, b""), digest)

    def __len__(self) -> int:
        return self._count


def _holds(shard: bytes | bytearray, digest: bytes) -> bool:
    at = shard.find(digest)
    while at >= 0 and at % _BYTES:
        at = shard.find(digest, at + 1)
    return at >= 0


class Sweep:
    """A listing under way, from its first page on, over as many looks as it takes.

    `paths`: what it has met that is meant; `keys`: their partition keys, where they matter; `after`: how far it is;
    `listed`: objects of any kind; `pages`: calls.
    """

    def __init__(self) -> None:
        self.paths = Texts()
        self.keys = Texts()
        self.after = ""
        self.listed = 0
        self.pages = 0
