"""JSON from strangers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.definitions.outcome import Json
from freshet.http import payload
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


def emptied(value: Any) -> Any:
    """The same without its texts, each key a number."""
    if isinstance(value, dict):
        return dict(enumerate(map(emptied, cast("dict[str, Any]", value).values())))
    if isinstance(value, list):
        inner: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return list(map(emptied, inner))
    return "" if isinstance(value, str) else value


@given(value=VALUES, depth=st.integers(0, 4))
def test_what_is_within_the_bounds_is_what_it_says(value: Json, depth: int) -> None:
    body = json.dumps(value).encode()
    if depth_of(value) <= depth:
        assert parse(body, depth=depth) == value
    else:
        with pytest.raises(BadPayload, match="nested deeper"):
            parse(body, depth=depth)


class Pairs(list[tuple[str, Any]]):
    """An object of JSON whose keys may stand twice."""


class Values(list[Any]):
    """A list of JSON."""


PAIRS = st.recursive(
    st.none() | st.integers(-9, 9) | st.text('a:\\"{[,', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4).map(Values)
        | st.lists(st.tuples(st.text('ab:\\"', max_size=1), inner), max_size=4).map(Pairs)
    ),
)


def written(value: object, escaped: Callable[[], bool]) -> str:
    """As JSON, with some characters as escapes."""
    if isinstance(value, str):
        inner = [f"\\u{ord(one):04x}" if escaped() else json.dumps(one)[1:-1] for one in value]
        return f'"{"".join(inner)}"'
    if isinstance(value, Values):
        return "[" + ",".join(written(one, escaped) for one in value) + "]"
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{written(name, escaped)}: {written(one, escaped)}" for name, one in value) + "}"
    return json.dumps(value)


def has_a_key_twice(value: object) -> bool:
    if isinstance(value, Pairs):
        return len({name for name, _ in value}) < len(value) or any(has_a_key_twice(one) for _, one in value)
    return isinstance(value, Values) and any(map(has_a_key_twice, value))


@given(data=st.data(), value=PAIRS, piece=st.integers(1, 7))
def test_a_key_that_stands_twice_is_refused_however_it_is_written(data: st.DataObject, value: Any, piece: int) -> None:
    body = written(value, lambda: data.draw(st.booleans())).encode()
    with mock.patch.object(payload, "_PIECE", piece):
        if has_a_key_twice(value):
            with pytest.raises(BadPayload, match="stands twice"):
                parse(body)
        else:
            assert parse(body) == json.loads(body)


@given(value=VALUES, depth=st.integers(0, 4), values=st.integers(0, 9), piece=st.integers(1, 7))
def test_the_bounds_hold_wherever_the_body_is_cut(value: Json, depth: int, values: int, piece: int) -> None:
    body = json.dumps(value).encode()
    bare = json.dumps(emptied(value))
    with mock.patch.object(payload, "_PIECE", piece):
        if bare.count(",") + bare.count("[") + bare.count("{") > values:
            with pytest.raises(BadPayload, match="more than"):
                parse(body, depth=depth, values=values)
        elif depth_of(value) > depth:
            with pytest.raises(BadPayload, match="nested deeper"):
                parse(body, depth=depth, values=values)
        else:
            assert parse(body, depth=depth, values=values) == value


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
        (b'{"a": 1, "b": {"c": 1, "a": 2, "c": 3}}', "the key 'c' stands twice"),
        (b'{"a": 1, "\\u0061": 2}', "the key 'a' stands twice"),
        (b'{"a": 1, "a": 2, "b": "\\u003a"}', "the key 'a' stands twice"),
    ],
)
def test_what_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(BadPayload, match=said):
        parse(body)


@pytest.mark.parametrize(
    ("pointer", "found"),
    [("/id", "7"), ("/event/id", "e1"), ("/list/1", "b"), ("/a~1b", "slash"), ("/list/2", None), ("/none", None),
     ("/event", None), ("/true", None), ("/id/x", None), ("/list/-1", None),
     ("/list/0", "a"), ("/list/01", None), ("/list/\u0661", None)],
)  # fmt: skip
def test_pointers(pointer: str, found: str | None) -> None:
    value: Json = {"id": 7, "event": {"id": "e1"}, "list": ["a", "b"], "a/b": "slash", "true": True}
    assert pointed(value, pointer) == found
