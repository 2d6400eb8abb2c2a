"""The compact table of a ledger's digests behaves as a dict would, and takes little memory, which it gives back."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from freshet.host.evaluator.entries import Entries
from freshet.host.evaluator.ledger import LedgerCache, LedgerChange, TickLedger, digest_of, version_of
from freshet.host.evaluator.messages import PIECE, fill


def _alike(one: bytes, other: bytes, cut: int) -> bytes:
    return one * cut + other * (16 - cut)


BYTES = st.sampled_from([b"\0", b"\1"])
PLAIN = st.integers(0, 400).map(lambda number: digest_of(str(number)))
ALIKE: st.SearchStrategy[bytes] = st.builds(_alike, BYTES, BYTES, st.integers(0, 16))
"""Digests that are found across the borders of records too."""
DIGESTS = st.one_of(PLAIN, ALIKE)
VERSIONS = st.sampled_from([b"\0" * 8, b"\1" * 8, b"\0\1" * 4, version_of("1")])
MANY = st.dictionaries(DIGESTS, VERSIONS, max_size=60)


class EntriesAgainstDict(RuleBasedStateMachine):
    """Every way of changing the table, on a dict too."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = Entries()
        self.model: dict[bytes, bytes] = {}

    @rule(digest=DIGESTS, version=VERSIONS)
    def put(self, digest: bytes, version: bytes) -> None:
        self.entries[digest] = self.model[digest] = version

    @rule(digest=DIGESTS)
    def remove(self, digest: bytes) -> None:
        assert self.entries.pop(digest, None) == self.model.pop(digest, None)

    @rule(digest=DIGESTS)
    def remove_by_name(self, digest: bytes) -> None:
        if digest in self.model:
            del self.entries[digest], self.model[digest]
        else:
            with pytest.raises(KeyError):
                del self.entries[digest]
            with pytest.raises(KeyError):
                self.entries[digest]

    @rule(records=st.lists(st.tuples(DIGESTS, VERSIONS), max_size=60))
    def load(self, records: list[tuple[bytes, bytes]]) -> None:
        self.entries.load(b"".join(digest + version for digest, version in records))
        self.model.update(records)

    @rule(put=MANY)
    def merge(self, put: dict[bytes, bytes]) -> None:
        self.entries.merge(put)
        self.model |= put

    @rule(first=st.integers(0, 400), count=st.integers(0, 400), version=VERSIONS)
    def merge_many(self, first: int, count: int, version: bytes) -> None:
        self.merge(dict.fromkeys((digest_of(str(number)) for number in range(first, first + count)), version))

    @rule(put=MANY, gone=st.sets(DIGESTS))
    def commit(self, put: dict[bytes, bytes], gone: set[bytes]) -> None:
        cache = LedgerCache(1)
        cache.entries = self.entries
        LedgerChange(cache, put, dict.fromkeys(put, ""), gone - put.keys()).apply(2)
        self.model = {digest: self.model[digest] for digest in self.model.keys() - gone} | put

    @rule()
    def load_again(self) -> None:
        self.entries = Entries()
        self.entries.load(b"".join(digest + version for digest, version in sorted(self.model.items())))

    @invariant()
    def agrees(self) -> None:
        assert len(self.entries) == len(self.model)
        listed = list(self.entries)
        assert len(listed) == len(self.model)
        assert {digest: self.entries.get(digest) for digest in listed} == self.model

    @rule(digest=DIGESTS)
    def look_up(self, digest: bytes) -> None:
        assert self.entries.get(digest) == self.model.get(digest)
        assert (digest in self.entries) == (digest in self.model)


TestEntriesAgainstDict = EntriesAgainstDict.TestCase


@given(cut=st.integers(1, 23), digest=st.binary(max_size=17), version=st.binary(max_size=9))
def test_what_is_no_record_is_refused_and_changes_nothing(cut: int, digest: bytes, version: bytes) -> None:
    entries = Entries()
    with pytest.raises(ValueError, match="no whole number of ledger records"):
        entries.load(bytes(24 + cut))
    if (len(digest), len(version)) != (16, 8):
        with pytest.raises(ValueError, match="not 16 bytes of digest"):
            entries[digest] = version
    assert len(entries) == 0


def test_a_tick_over_a_large_ledger_is_dropped_or_applied() -> None:
    cache = LedgerCache()
    model = {str(number): "1" for number in range(20_000)}
    for start in range(0, len(model), PIECE):
        names = list(model)[start : start + PIECE]
        fill(cache, b"".join(digest_of(name) + version_of("1") for name in names).hex())
    for committed in (False, True):
        ledger, seen = TickLedger(cache, lambda _: {}), dict(model)
        for number in range(0, 30_000, 3):
            ledger.add(str(number), "2")
            seen[str(number)] = "2"
        for number in range(0, 30_000, 7):
            ledger.remove(str(number))
            seen.pop(str(number), None)
        assert len(ledger) == len(seen)
        change = ledger.change()
        assert change is not None
        if committed:
            change.apply(2)
            model = seen
        after = TickLedger(cache, lambda _: {})
        assert len(after) == len(model)
        for number in range(30_000):
            version = model.get(str(number))
            assert (str(number) in after) == (version is not None)
            assert (after.seen(str(number), "1"), after.seen(str(number), "2")) == (version == "1", version == "2")


def test_no_frame_takes_much_longer_than_the_others() -> None:
    pieces = [
        b"".join(digest_of(str(number)) + bytes(8) for number in range(start, start + PIECE))
        for start in range(0, 60 * PIECE, PIECE)
    ]
    least = [float("inf")] * len(pieces)
    for _ in range(5):  # what a busy machine adds to one frame it does not add to the same five times
        entries = Entries()
        for number, piece in enumerate(pieces):
            began = time.thread_time()
            entries.load(piece)
            least[number] = min(least[number], time.thread_time() - began)
    assert max(least) < 12 * sorted(least)[30], "the table grows a little at a time"


_MEMORY = """\
import gc
from pathlib import Path
from freshet.host.evaluator.ledger import LedgerCache, digest_of, version_of
from freshet.host.evaluator.messages import PIECE, fill
def resident():
    return int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / 2**20


before = resident()
cache = LedgerCache()
for start in range(0, 200 * PIECE, PIECE):
    numbers = range(start, start + PIECE)
    fill(cache, b"".join(digest_of(str(number)) + version_of(str(number)) for number in numbers).hex())
full = resident() - before
assert len(cache.entries) == 200 * PIECE
del cache
gc.collect()
print(full, resident() - before)
"""


def test_a_ledger_takes_little_memory_and_gives_it_back() -> None:
    told = subprocess.run([sys.executable, "-c", _MEMORY], capture_output=True, text=True, check=True).stdout
    full, left = map(float, told.split())
    assert full < 40, "819,200 items"
    assert left < full / 4
