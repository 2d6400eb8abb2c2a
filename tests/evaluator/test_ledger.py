"""A ledger behaves as a dict would, whatever is committed, refused or loaded again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from freshet.host.evaluator.ledger import LedgerCache, LedgerChange, TickLedger, digest_of, version_of
from freshet.host.evaluator.messages import fill, join, messages_of, records, split
from freshet.host.evaluator.outcome import Outcome

KEYS = st.sampled_from(["a", "b", "c", "ä", "d" * 300, ""])
VERSIONS = st.sampled_from(["", "1", "2"])


class LedgerAgainstDict(RuleBasedStateMachine):
    """`store`: what is committed; `model`: what the tick at hand must see."""

    def __init__(self) -> None:
        super().__init__()
        self.store: dict[str, str] = {}
        self.model: dict[str, str] = {}
        self.cache = LedgerCache()
        self.ledger = TickLedger(self.cache, self.texts_of)

    def texts_of(self, digests: list[bytes]) -> dict[bytes, str]:
        return {digest_of(key): key for key in self.store if digest_of(key) in digests}

    @rule(key=KEYS, version=VERSIONS)
    def add(self, key: str, version: str) -> None:
        self.ledger.add(key, version)
        self.model[key] = version

    @rule(key=KEYS)
    def remove(self, key: str) -> None:
        self.ledger.remove(key)
        self.model.pop(key, None)

    @rule(keys=st.lists(KEYS))
    def absent(self, keys: list[str]) -> None:
        assert sorted(self.ledger.absent(keys)) == sorted(self.model.keys() - set(keys))

    @rule()
    def remove_what_is_absent(self) -> None:
        for key in self.ledger.absent([]):
            self.ledger.remove(key)
        self.model.clear()

    @rule()
    def checkpoint(self) -> None:
        self._commit(self.ledger.change(), self.ledger)
        assert self.ledger.change() is None

    @rule(committed=st.booleans())
    def end_the_tick(self, committed: bool) -> None:
        change = self.ledger.change()
        if committed:
            self._commit(change)
        self.model = dict(self.store)
        self.ledger = TickLedger(self.cache, self.texts_of)

    @rule()
    def load_again(self) -> None:
        self.cache = LedgerCache(self.cache.revision)
        fill(self.cache, b"".join(digest_of(key) + version_of(version) for key, version in self.store.items()).hex())
        self.model = dict(self.store)
        self.ledger = TickLedger(self.cache, self.texts_of)

    def _commit(self, change: LedgerChange | None, above: TickLedger | None = None) -> None:
        if change is not None:
            for digest in change.removed:
                assert digest in map(digest_of, self.store), "what is not there is not removed"
            put = {change.keys[digest]: self.model[change.keys[digest]] for digest in change.put}
            assert put.items().isdisjoint(self.store.items()), "what stands there already is not put again"
            change.apply(self.cache.revision + 1, above)
        self.store = dict(self.model)

    @invariant()
    def agrees(self) -> None:
        assert len(self.ledger) == len(self.model)
        for key in ("a", "b", "ä", ""):
            assert (key in self.ledger) == (key in self.model)
            assert [self.ledger.seen(key, version) for version in ("", "1", "2")] == [
                self.model.get(key) == version for version in ("", "1", "2")
            ]


TestLedgerAgainstDict = LedgerAgainstDict.TestCase


def test_a_key_that_is_no_text_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match=r"lone surrogate .* os\.fsencode"):
        TickLedger(LedgerCache(), lambda _: {}).add("caf\udce9.csv")


def test_what_goes_over_the_wire_comes_back() -> None:
    digests = [digest_of(str(number)) for number in range(3)]
    assert split(join(digests)) == digests
    pairs = [(digest, version_of("1")) for digest in digests]
    assert records(b"".join(one + other for one, other in pairs).hex()) == pairs


def test_a_large_outcome_is_cut_and_nothing_is_lost() -> None:
    keys = {digest_of(str(number)): str(number) for number in range(9000)}
    put = dict.fromkeys(keys, version_of(""))
    removed = {digest_of(f"old {number}") for number in range(5000)}
    outcome = Outcome("ok", cursor=[1], ledger=LedgerChange(LedgerCache(), put, keys, removed), runs=[["r"]])
    messages = list(messages_of(7, outcome))
    assert [message[0] for message in messages] == ["part"] * 6 + ["end"]
    bodies: list[dict[str, Any]] = [message[-1] for message in messages]
    assert sum(len(body["put"][1]) for body in bodies if "put" in body) == 9000
    assert sum(len(split(body["remove"])) for body in bodies if "remove" in body) == 5000
    assert messages[-1] == ["end", 7, "ok", {"cursor": [1]}]
