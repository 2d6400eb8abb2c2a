"""What a sensor hands over becomes plain data, or an error that says what is wrong with it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluator import zoo

from freshet import (
    AddPartitions,
    DeletePartitions,
    DynamicPartitions,
    PartitionKeyError,
    Report,
    RetryLater,
    RunRequest,
    asset,
)
from freshet.host.evaluator.evaluate import failed_look, form_of
from freshet.host.evaluator.failure import describe
from freshet.host.evaluator.outcome import Found, WrongResult
from freshet.host.evaluator.plain import NotPlain, plain

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_is_kept_as_it_is(value: Any) -> None:
    copied = plain(value, "it", exact=True)
    assert copied == value
    assert orjson.loads(orjson.dumps(copied)) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, math.inf]}, r"it\['a'\]\[1\] is inf"),
        ({1: "a"}, "it has the key 1: the keys must be texts"),
        ([2**64], "over 64 bits"),
        (["\ud800"], r"it\[0\] holds a lone surrogate"),
        ((1, 2), "it is a tuple"),
        (datetime.now(UTC), r"\(datetime\)"),
        (MappingProxyType[str, int]({}), r"\(mappingproxy\)"),
    ],
)
def test_what_json_cannot_hold_is_named(value: Any, message: str) -> None:
    with pytest.raises(NotPlain, match=message):
        plain(value, "it", exact=True)


def test_endless_nesting_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotPlain, match="nested more than"):
        plain(endless, "it")


def found(*items: Any) -> Found:
    made = Found("sensor")
    for item in items:
        made.add(item)
    return made


def test_objects_stand_for_their_names() -> None:
    @asset
    def orders() -> int:
        return 1

    named: Any = orders
    batches = DynamicPartitions("batches")
    made = found(RunRequest(named), Report(named), AddPartitions(batches, ["k"]))
    assert made.runs[0][0] == "orders"
    assert made.reports[0][0] == "orders"
    assert made.partitions == [["batches", [["k", {}]], []]]


def test_partitions_of_one_set_are_gathered_but_never_reordered() -> None:
    made = found(
        AddPartitions("s", ["a"]),
        AddPartitions("s", {"b": {"size": 1}}),
        DeletePartitions("s", ["a"]),
        DeletePartitions("s", ["b"]),
        AddPartitions("s", ["a"]),
        AddPartitions("t", []),
    )
    assert made.partitions == [
        ["s", [["a", {}], ["b", {"size": 1}]], []],
        ["s", [], ["a", "b"]],
        ["s", [["a", {}]], []],
    ]


def test_keys_are_normalized_at_the_door() -> None:
    assert found(RunRequest("t", partition="e\u0301")).runs[0][1] == "\u00e9"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("text", r"yielded 'text' \(str\); yield RunRequest"),
        (AddPartitions("s", "abc"), r"AddPartitions\(keys\) must be a dict or an iterable of keys"),
        (AddPartitions("s", {"a": 1}), "metadata of 'a' must be a dict"),
        (RunRequest("t", run_key=""), r"RunRequest\(run_key\) is empty"),
        (RunRequest("t", priority=1.5), r"RunRequest\(priority\) must be a whole number"),  # type: ignore[arg-type]
        (RunRequest("t", tags={"a": 1}), "the tag 'a' must be a text"),  # type: ignore[dict-item]
        (RunRequest("t", params={"a": {1}}), r"RunRequest\(params\)\['a'\] is \{1\} \(set\)"),
        (RunRequest("t", partition=3), r"a partition key must be a text, found 3 \(int\)"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_field_is_named(item: Any, message: str) -> None:
    with pytest.raises(WrongResult, match=message):
        found(item)


def test_a_key_that_no_set_may_hold_is_refused() -> None:
    with pytest.raises(PartitionKeyError, match="begins with a dot"):
        found(AddPartitions("s", [".hidden"]))


@pytest.mark.parametrize(
    ("name", "form"),
    [("coroutine", "async"), ("async_generator", "async"), ("function", "thread"), ("generator", "thread")],
)
def test_the_form_of_a_sensor_is_known_before_it_is_called(name: str, form: str) -> None:
    assert form_of(zoo.ALL[name]) == form


def test_an_exception_that_cannot_be_shown_is_described() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise ValueError("no")

    try:
        raise Broken
    except Broken as error:
        described = describe(error)
    assert described["message"] == "(its text cannot be shown: ValueError)"
    assert "Broken" in described["traceback"]
    assert orjson.dumps(describe(ValueError("\ud800")))


class _Hasty(RetryLater):
    def __init__(self, *after: Any) -> None:  # forgets its parent's
        for self.after in after:
            pass


@pytest.mark.parametrize(
    ("error", "after"),
    [(RetryLater(after="7s"), 7.0), (_Hasty(), None), (_Hasty("soon"), None), (_Hasty(math.nan), None)],
)
def test_patience_is_a_number_of_seconds_or_left_to_the_engine(error: RetryLater, after: float | None) -> None:
    outcome = failed_look(error, None, timeout=1)
    assert (outcome.status, outcome.after) == ("later", after)
