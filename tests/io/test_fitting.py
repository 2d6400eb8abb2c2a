"""Values held against annotations: where and why they do not fit."""

from __future__ import annotations

import collections.abc
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal, NewType, NotRequired, Optional, Protocol, TypedDict, TypeVar, Union

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.io.fitting import element, unfit

T = TypeVar("T")
Key = NewType("Key", str)


class Row(TypedDict):
    amount: float
    note: NotRequired[str | None]


class Closes(Protocol):
    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (1, Any),
        (1, object),
        (1, float),
        (True, int),
        (np.int64(3), int),
        (np.float32(3), float),
        (None, None),
        (None, Optional[int]),  # noqa: UP045
        (1, Union[int, str]),  # noqa: UP007
        ("a", int | str),
        ([1, 2], list),
        ([1, 2], list[int]),
        ([], list[int]),
        ((1, "a"), tuple[int, str]),
        ((1, 2, 3), tuple[int, ...]),
        ({"a": [1]}, dict[str, list[int]]),
        (MappingProxyType({"a": 1}), dict[str, int]),
        ({"a": 1}, Mapping[str, float]),
        ({1, 2}, set[int]),
        ([1, "a"], Sequence[int | str]),
        (iter([1]), Iterable[str]),
        ({"amount": 1}, Row),
        ({"amount": 1, "note": None, "more": 2}, Row),
        ("a", Literal["a", "b"]),
        ("k", Key),
        (1, Closes),
        (1, T),
        (1, Annotated[int, ["no hash"]]),
        (print, Callable[[int], None]),
        (3, Awaitable[int]),
        (np.zeros(2), np.ndarray[Any, np.dtype[np.int64]]),
        (1, "not resolved"),
    ],
)
def test_what_fits(value: Any, annotation: Any) -> None:
    assert unfit(value, annotation) is None


@pytest.mark.parametrize(
    ("value", "annotation", "place", "said"),
    list[Any](
        [
            ("1", int, "$", "'1' is of type str, not int"),
            (1.5, int, "$", "1.5 is of type float, not int"),
            (None, int, "$", "None is of type NoneType, not int"),
            (0, None, "$", "0 is of type int, not NoneType"),
            (b"", str, "$", "b'' is of type bytes, not str"),
            (1, list[int], "$", "1 is of type int, not list"),
            ([1, "a"], list[int], "$[1]", "'a' is of type str, not int"),
            ([{"amount": "x"}], list[Row], "$[0].amount", "'x' is of type str, not float"),
            ([{}], list[Row], "$[0]", "Row needs the key 'amount'"),
            ([3], list[Row], "$[0]", "3 is of type int, not Row"),
            ({"a": {"b c": 1}}, dict[str, dict[str, str]], "$.a['b c']", "1 is of type int, not str"),
            ({1: 1}, dict[str, int], "$'s key 1", "1 is of type int, not str"),
            ((1,), tuple[int, str], "$", "1 elements, not 2"),
            ((1, 2), tuple[int, str], "$[1]", "2 is of type int, not str"),
            ("c", Literal["a", "b"], "$", "'c' is none of 'a', 'b'"),
            (True, Literal[1], "$", "True is none of 1"),
            (1.5, int | str, "$", "1.5 is of type float, not int | str"),
            ([1.5], list[int] | None, "$[0]", "1.5 is of type float, not int"),
            (1, Key, "$", "1 is of type int, not str"),
            ("x", Awaitable[int], "$", "'x' is of type str, not int"),
        ],
    ),
)
def test_what_does_not_fit(value: Any, annotation: Any, place: str, said: str) -> None:
    assert unfit(value, annotation) == (place, said)


def test_what_each_value_by_key_is_to_be() -> None:
    assert element(dict[str, int]) is int
    assert element(collections.abc.Mapping[str, list[int]] | None) == list[int]
    assert element(Annotated[dict[str, str], "x"]) is str
    assert element(dict) is Any
    assert element(list[int]) is Any


_KINDS: list[Any] = [int, str, None, bool]
ANNOTATIONS = st.recursive(
    st.sampled_from(_KINDS),
    lambda inner: st.one_of(
        inner.map(lambda one: list[one]),  # type: ignore[valid-type]
        inner.map(lambda one: dict[str, one]),  # type: ignore[valid-type]
        inner.map(lambda one: tuple[one, ...]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda two: Union[two[0], two[1]]),  # noqa: UP007
    ),
    max_leaves=5,
)
PLAIN = st.recursive(
    st.one_of(st.integers(0, 3), st.sampled_from(["", "a"]), st.none(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
        st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=6,
)


@given(PLAIN, ANNOTATIONS)
def test_pydantic_agrees_on_plain_kinds(value: Any, annotation: Any) -> None:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(strict=True))
    try:
        adapter.validate_python(value)
        agrees = True
    except ValidationError:
        agrees = False
    found = unfit(value, annotation)
    if agrees:
        assert found is None
    elif found is None:
        assert "True" in repr(value) or "False" in repr(value), "a bool is no int in pydantic's strict mode"
