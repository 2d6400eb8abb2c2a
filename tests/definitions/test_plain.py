"""Plain annotations: what the daemon says of a value without the plugin is what the plugin's own process says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal, Union

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from freshet.definitions.job import JobSpec
from freshet.definitions.plain import described, rebuilt
from freshet.engine.parameters import check_params
from freshet.errors import Conflict, UnknownName
from freshet.host.parameters import InvalidParameter, Parameters

SINGLE = st.sampled_from([int, float, str, bool, None, date, datetime, Literal["a", "1"], Literal[1, True, None]])
ANNOTATIONS: st.SearchStrategy[Any] = st.recursive(
    SINGLE,
    lambda inner: st.one_of(
        inner.map(list.__class_getitem__),
        inner.map(lambda one: dict.__class_getitem__((str, one))),
        st.lists(inner, min_size=2, max_size=3).map(lambda some: Union[tuple(some)]),  # noqa: UP007
    ),
    max_leaves=4,
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-3, 3),
    st.sampled_from(["a", "1", "1.0", "true", "", "2026-01-02", "2026-01-02T03:04:05Z", 2**70, 1e300]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def _job(annotation: Any) -> Callable[..., None]:
    def job(ctx: Any, given: Any, other: int = 1) -> None: ...

    job.__annotations__["given"] = annotation
    return job


def _spec(parameters: Parameters) -> JobSpec:
    plain = orjson.loads(orjson.dumps(parameters.plain))
    return JobSpec("job", parameters=parameters.schema(), plain=plain)


@given(annotation=ANNOTATIONS, value=VALUES)
def test_both_sides_agree(annotation: Any, value: Any) -> None:
    parameters = Parameters("job", _job(annotation))
    spec = _spec(parameters)
    assert spec.plain["other"] == "int" and "given" in spec.plain
    try:
        parameters.check({"given": value})
    except InvalidParameter:
        with pytest.raises(Conflict) as caught:
            check_params(spec, {"given": value}, by="hand")
        assert "the job 'job': the parameter 'given" in caught.value.message and caught.value.hint
    else:
        check_params(spec, {"given": value}, by="hand")


@given(annotation=ANNOTATIONS)
def test_what_is_described_is_built_anew(annotation: Any) -> None:
    plain = described(annotation)
    assert plain is not None and described(rebuilt(orjson.loads(orjson.dumps(plain)))) == plain


@dataclass
class Row:
    number: int


@pytest.mark.parametrize(
    "annotation", [Any, object, Row, list[Row], list, dict, dict[int, str], int | Row, Annotated[int, Field(gt=0)], "x"]
)
def test_what_only_the_plugin_can_judge_is_left_to_it(annotation: Any) -> None:
    assert described(annotation) is None


def test_names_and_what_is_missing() -> None:
    spec = _spec(Parameters("job", _job(list[int])))
    with pytest.raises(UnknownName, match="did you mean 'given'"):
        check_params(spec, {"givn": [1]}, by="hand")
    with pytest.raises(Conflict, match=r"needs the parameter 'given'.*--param given=\.\.\."):
        check_params(spec, {}, by="hand")
    with pytest.raises(Conflict, match=r"params=\{'given': \.\.\.\}"):
        check_params(spec, {}, by="request")
    with pytest.raises(Conflict, match=r"'given\.1': .* found 'x' \(given takes: list of int\)"):
        check_params(spec, {"given": [1, "x"]}, by="hand")
