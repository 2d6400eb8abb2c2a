"""JSON from strangers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.definitions.outcome import Json
from freshet.http.payload import BadPayload, parse, pointed

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def depth_of(value: Any) -> int:
    inner: Any = value.values() if isinstance(value, dict) else value  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return 1 + max(map(depth_of, inner), default=0) if isinstance(value, dict | list) else 0


@given(value=VALUES, depth=st.integers(0, 4))
def test_what_is_within_the_bounds_is_what_it_says(value: Json, depth: int) -> None:
    body = json.dumps(value).encode()
    if depth_of(value) <= depth:
        assert parse(body, depth=depth) == value
    else:
        with pytest.raises(BadPayload, match="nested deeper"):
            parse(body, depth=depth)


def test_brackets_and_commas_in_texts_do_not_count() -> None:
    body = json.dumps({"text": '[{,"\\' * 1000}).encode()
    assert parse(body, depth=1, values=3) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"{", "no JSON"),
        (b"[NaN]", "no JSON"),
        (b"-Infinity", "no JSON"),
        (b"1e999", "no JSON"),
        (b'"\\ud800"', "no JSON"),
        (b"[" * 100_000, "nested deeper|more than"),
        (b"[" + b"[]," * 350_000 + b"[]]", "more than 100,000 values"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper than 64"),
    ],
)
def test_what_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(BadPayload, match=said):
        parse(body)


@pytest.mark.parametrize(
    ("pointer", "found"),
    [("/id", "7"), ("/event/id", "e1"), ("/list/1", "b"), ("/a~1b", "slash"), ("/list/2", None), ("/none", None),
     ("/event", None), ("/true", None), ("/id/x", None), ("/list/-1", None)],
)  # fmt: skip
def test_pointers(pointer: str, found: str | None) -> None:
    value: Json = {"id": 7, "event": {"id": "e1"}, "list": ["a", "b"], "a/b": "slash", "true": True}
    assert pointed(value, pointer) == found
