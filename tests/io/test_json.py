"""What fits JSON comes back exactly; what does not is told by place."""

from __future__ import annotations

import enum
import json as reference
import math
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.errors import ValueFormatError
from freshet.io.json import MAX_DEPTH, dumps, loads, misfit, try_dumps

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
fitting = st.recursive(scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5))
anything = st.recursive(
    scalars | st.floats() | st.integers() | st.binary(max_size=3) | st.text(max_size=3) | st.uuids() | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(texts | st.integers(), inner, max_size=4)
    ),
)


def kind_of(value: object) -> type[object]:
    return type(value)


def same(left: Any, right: Any) -> bool:
    """Equal, with the same types all the way down, and the same signs of zero."""
    kind = kind_of(left)
    if kind is not kind_of(right):
        return False
    if kind is dict:
        pairs: dict[Any, Any] = left
        return list(pairs) == list(right) and all(same(pairs[key], right[key]) for key in pairs)
    if kind in (list, tuple):
        items: list[Any] | tuple[Any, ...] = left
        return len(items) == len(right) and all(map(same, items, right))
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


@given(fitting)
def test_what_fits_comes_back_exactly(value: Any) -> None:
    assert misfit(value) is None
    assert same(loads(dumps(value)), value)


@given(anything)
def test_what_is_written_comes_back_exactly_and_the_rest_has_a_place(value: Any) -> None:
    data = try_dumps(value)
    if data is None:
        assert misfit(value) is not None
    else:
        assert same(loads(data), value)
        assert same(reference.loads(data), value)


class Colour(enum.StrEnum):
    RED = "red"


class Number(int):
    pass


@dataclass
class Row:
    amount: int


MISFITS: list[tuple[Any, str, str]] = [
    ([{"amount": 1.0}, {"amount": math.nan}], "$[1].amount", "NaN"),
    ({"rows": [1, -math.inf]}, "$.rows[1]", "-Infinity"),
    (math.inf, "$", "Infinity"),
    ([2**64], "$[0]", "an integer of more than 64 bits"),
    ({"a": (1, 2)}, "$.a", "of type tuple"),
    ({"a b": b"x"}, "$['a b']", "of type bytes"),
    ({1: "x"}, "$", "the key 1 is of type int"),
    ({Colour.RED: 1}, "$", "is of type Colour"),
    ([Colour.RED], "$[0]", "of type Colour"),
    ([Number(3)], "$[0]", "of type Number"),
    (OrderedDict[str, int](a=1), "$", "of type OrderedDict"),
    (Row(1), "$", "of type Row"),
    (uuid.UUID(int=0), "$", "of type UUID"),
    (datetime(2026, 1, 1, tzinfo=UTC), "$", "of type datetime"),
    ({"name": "a\ud800"}, "$.name", "lone surrogate"),
    ({"a\ud800": 1}, "$", "lone surrogate"),
    ({1, 2}, "$", "of type set"),
]


@pytest.mark.parametrize(("value", "place", "reason"), MISFITS)
def test_a_misfit_is_told_by_its_place(value: Any, place: str, reason: str) -> None:
    found = misfit(value)
    assert found is not None
    assert found[0] == place
    assert reason in found[1]
    with pytest.raises(ValueFormatError) as caught:
        dumps(value)
    assert f"{place}: " in caught.value.message
    assert "pickle" in caught.value.hint


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_bounded_and_a_cycle_ends() -> None:
    assert same(loads(dumps(nested(MAX_DEPTH))), nested(MAX_DEPTH))
    with pytest.raises(ValueFormatError, match="nested deeper than 254"):
        dumps(nested(MAX_DEPTH + 1))
    loop: list[Any] = []
    loop += [loop, loop]
    with pytest.raises(ValueFormatError, match="nested deeper"):
        dumps(loop)


def test_an_object_whose_repr_raises_still_gets_a_message() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(ValueFormatError, match="<Rude>"):
        dumps([Rude()])
