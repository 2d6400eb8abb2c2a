"""Hints add up, a full look swallows them, and too many of them become one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.attention import FULL, HINTS_MAX, NOTHING, Attention

wakes = st.lists(st.one_of(st.none(), st.lists(st.text(max_size=3), max_size=4)), max_size=8)


@given(wakes)
def test_a_sequence_of_wakes_is_their_union_or_everything(sequence: list[list[str] | None]) -> None:
    attention = NOTHING
    for hints in sequence:
        attention = attention.add(hints)
    if None in sequence:
        assert attention == FULL
        assert attention.order() is None
    else:
        named = {hint for hints in sequence if hints is not None for hint in hints}
        assert attention.order() == tuple(sorted(named))
        assert bool(attention) == bool(named)


def test_more_hints_than_the_limit_are_a_full_look() -> None:
    almost = NOTHING.add(str(n) for n in range(HINTS_MAX))
    assert not almost.full
    assert almost.add(["one more"]) == FULL


def test_merging_keeps_what_either_asked_for() -> None:
    one, two = Attention(hints=frozenset({"a"})), Attention(hints=frozenset({"b"}))
    assert one.merge(two).order() == ("a", "b")
    assert one.merge(FULL) == FULL
    assert FULL.merge(one) == FULL
