"""Names and partition keys."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.definitions.names import (
    KEY_MAX_CHARS,
    PRIORITY_MAX,
    check_key,
    check_name,
    check_priority,
    key_filename,
    nearest_hint,
)
from freshet.errors import DefinitionError, InvalidName, PartitionKeyError


@pytest.mark.parametrize("name", ["a", "_x", "Raw_2", "a" * 100])
def test_names_that_are_fine(name: str) -> None:
    assert check_name(name, what="asset") == name


@pytest.mark.parametrize("name", ["", "2a", "a-b", "a b", "ä", "a" * 101, "a\n"])
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(InvalidName, match="asset"):
        check_name(name, what="asset")


def test_sensors_may_have_dashes_and_dots() -> None:
    assert check_name("orders-hook.v2", what="sensor", identifier=False) == "orders-hook.v2"


@pytest.mark.parametrize("key", ["", ".hidden", "a\x00b", "a\nb", "a\x7fb", "\ud800", "x" * (KEY_MAX_CHARS + 1)])
def test_keys_that_no_set_may_hold(key: str) -> None:
    with pytest.raises(PartitionKeyError) as caught:
        check_key(key)
    assert caught.value.hint


def test_keys_are_normalized() -> None:
    assert check_key("e\u0301") == "\u00e9"
    assert check_key("2026-03-29/eu b") == "2026-03-29/eu b"


keys = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60).filter(
    lambda key: not unicodedata.normalize("NFC", key).startswith(".")
)


@given(keys, keys)
def test_file_names_are_safe_short_and_distinct(one: str, other: str) -> None:
    names = [key_filename(check_key(key)) for key in (one, other)]
    for name in names:
        assert name.isascii() and "/" not in name and len(name) <= 200 and name not in (".", "..")
    assert (names[0] == names[1]) == (check_key(one) == check_key(other))


def test_long_file_names_keep_their_beginning() -> None:
    name = key_filename("ä" * 150)
    assert len(name) == 160 + 1 + 32 and name.startswith("%C3%A4")
    assert name != key_filename("ä" * 149)


def test_the_nearest_name_is_offered() -> None:
    assert nearest_hint("ordres", ["orders", "sales"]) == "did you mean 'orders'?"
    assert nearest_hint("zzz", ["orders", "sales"]) == "known are: orders, sales"
    assert nearest_hint("x", []) == ""


@pytest.mark.parametrize("priority", [PRIORITY_MAX + 1, -PRIORITY_MAX - 1, True, 1.5, "high"])
def test_a_priority_that_no_queue_can_hold_is_refused(priority: Any) -> None:
    with pytest.raises(DefinitionError, match="orders: priority: expected a whole number"):
        check_priority(priority, what="orders: priority")
