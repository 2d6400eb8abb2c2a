from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.host.parameters import InvalidParameter, Parameters


@dataclass
class Order:
    number: int
    due: date


def odd(ctx: Any, json: Order, _x: int = 1, model_config: str = "m", copy: list[int] | None = None) -> None: ...


untyped: Any = eval("lambda a, b=2: None")


def nothing(ctx: Any) -> None: ...


def test_names_that_a_model_would_not_take() -> None:
    parameters = Parameters("odd", odd)
    schema = parameters.schema()
    assert list(schema["properties"]) == ["json", "_x", "model_config", "copy"]
    assert schema["required"] == ["json"]
    assert schema["additionalProperties"] is False
    checked = parameters.check({"json": {"number": "4", "due": "2026-01-02"}, "copy": ["1"]})
    assert checked == {"json": Order(4, date(2026, 1, 2)), "copy": [1]}


def test_an_error_names_the_parameter_and_what_was_found() -> None:
    with pytest.raises(InvalidParameter) as caught:
        Parameters("odd", odd).check({"json": {"number": "x", "due": "2026-01-02"}, "jsn": 1})
    assert "parameter 'json.number': Input should be a valid integer" in caught.value.message
    assert "found 'x'" in caught.value.message
    assert "there is no parameter 'jsn'" in caught.value.message
    assert caught.value.hint == "its parameters are: json, _x, model_config, copy"


def test_without_annotations_anything_goes() -> None:
    parameters = Parameters("untyped", untyped)
    assert parameters.check({"a": [1, {"b": None}]}) == {"a": [1, {"b": None}]}
    with pytest.raises(InvalidParameter, match="parameter 'a' is missing"):
        parameters.check({})


def test_a_job_that_takes_nothing() -> None:
    parameters = Parameters("nothing", nothing)
    assert parameters.check({}) == {}
    assert parameters.schema()["properties"] == {}
    with pytest.raises(InvalidParameter, match="there is no parameter 'x'"):
        parameters.check({"x": 1})


def plain(a: int, b: float, c: str = "c", d: bool = False, of_day: int = 5) -> None: ...


def marked(
    a: Annotated[int, ""],
    b: Annotated[float, ""],
    c: Annotated[str, ""] = "c",
    d: Annotated[bool, ""] = False,
    of_day: Annotated[int, ""] = 5,
) -> None: ...


_TEXTS = ["", "8", "-08", " 8", "+8", "1_0", "8.0", "9" * 15, "9" * 16, "true", "TRUE", "false", "off", "\u0668"]
_VALUES = st.sampled_from([True, 0, 7, -1, 2**53, 2**53 + 1, 2**70, 1.5, 2.0, float("inf"), None, [1], *_TEXTS])


@pytest.mark.parametrize("others", [{}, {"c": 1}, {"d": None, "_x": float("nan")}, {"of_day": -2.5, "aB_c__d9": True}])
def test_scalars_are_described_as_pydantic_does(others: dict[str, Any]) -> None:
    names = ["a", *others]
    text = ", ".join(["a: {}", *(f"{name}: {{}} = others[{name!r}]" for name in others)])
    for kinds in itertools.product(("int", "float", "str", "bool"), repeat=len(names)):
        one, other = (
            _function(text.format(*(form.format(kind) for kind in kinds)), others)
            for form in ("{}", "Annotated[{}, '']")
        )
        assert Parameters("one", one).schema() == Parameters("one", other).schema()


def _function(parameters: str, others: dict[str, Any]) -> Any:
    made: dict[str, Any] = {"others": others, "Annotated": Annotated}
    exec(f"def one({parameters}): ...", made)
    return made["one"]


def test_scalars_are_taken_without_pydantic() -> None:
    program = """
import sys
from freshet.host.parameters import Parameters
def one(a: int, b: float, c: str = "c", d: bool = False): ...
taken = Parameters("one", one).check({"a": "12", "b": 3, "d": "true"})
assert taken == {"a": 12, "b": 3.0, "d": True}, taken
assert "pydantic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d", "of_day", "f"]), _VALUES), st.booleans())
def test_scalars_are_converted_as_pydantic_does(values: dict[str, Any], partly: bool) -> None:
    def checked(parameters: Parameters) -> list[Any]:
        try:
            found = parameters.check(values, partly=partly)
        except InvalidParameter as error:
            return [error.message, error.hint]
        return [{name: (type(value), value) for name, value in found.items()}]

    assert checked(Parameters("one", plain)) == checked(Parameters("one", marked))
