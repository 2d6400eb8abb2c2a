"""Which annotations are of a single value for certain."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Optional, Protocol, TypedDict, TypeVar

import pytest

from freshet.definitions.annotations import single_value
from freshet.io.values import Values

T = TypeVar("T")


@dataclass
class Row(Generic[T]):
    number: int


class Named(TypedDict):
    name: str


class Sized(Protocol):
    def __len__(self) -> int: ...


@pytest.mark.parametrize("found", [dict, dict[str, int], Mapping[str, int], OrderedDict[str, int], Values[int]])
def test_values_by_key_are_not(found: Any) -> None:
    assert single_value(found) is None
    assert single_value(Annotated[found, "as it is"]) is None
    assert single_value(Optional[found]) is None  # noqa: UP045  # the other way to write it
    assert single_value(found | int) is None, "it may be given either"


@pytest.mark.parametrize("found", [None, Any, object, Iterable, Iterable[str], T, Named, Sized, "later"])
def test_what_says_nothing_certain_is_not(found: Any) -> None:
    assert single_value(found) is None


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (int, "int"),
        (list[int], "list[int]"),
        (Row, "Row"),
        (int | None, "int | None"),
        (Annotated[str, "as it is"], "str"),
        (tuple[dict[str, int], ...], "tuple[dict[str, int], ...]"),
    ],
)
def test_all_others_are_and_are_told(found: Any, told: str) -> None:
    assert single_value(found) == told
