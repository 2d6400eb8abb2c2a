"""Templates: what may be written, and what is made of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.definitions.template import check_template, fill_text, fill_value
from freshet.errors import Conflict, DefinitionError

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
SCALARS = st.one_of(TEXTS, st.integers(-(2**53), 2**53), st.booleans())


def scope(**given: Any) -> dict[str, Any]:
    return {"target": "raw", "params": {}, "tags": {}, **given}


@given(TEXTS, TEXTS, TEXTS)
def test_plain_text_and_values_come_through_unchanged(before: str, value: str, after: str) -> None:
    """Braces in values are no fields, and doubled ones in the template are braces."""
    template = f"{_escaped(before)}{{tags.x}}{_escaped(after)}"
    check_template(template, "run_key")
    assert fill_text(template, scope(tags={"x": value}), "run_key") == before + value + after


@given(st.dictionaries(NAMES, SCALARS, min_size=1, max_size=4))
def test_a_field_alone_keeps_its_type(params: dict[str, Any]) -> None:
    wanted = {name: f"{{params.{name}}}" for name in params}
    assert fill_value(wanted, scope(params=params), "params") == params
    assert fill_value([wanted, 7, None], scope(params=params), "params") == [params, 7, None]


@given(NAMES.filter(lambda name: name not in ("partition", "target", "params", "tags", "metadata")))
def test_one_name_is_looked_for_in_metadata_then_params_then_tags(name: str) -> None:
    every = {"metadata": {name: "m"}, "params": {name: "p"}, "tags": {name: "t"}}
    for without, expected in ((None, "m"), ("metadata", "p"), ("params", "t")):
        if without:
            every[without] = {}
        assert fill_text(f"{{{name}}}", scope(**every), "run_key") == expected


def test_the_example_of_a_bucket() -> None:
    known = scope(metadata={"bucket": "b", "key": "2026/x.csv", "etag": "9f", "size": 12})
    assert fill_text("{bucket}/{key}@{etag}", known, "run_key") == "b/2026/x.csv@9f"
    assert fill_value({"at": ["{metadata.size}"]}, known, "params") == {"at": [12]}
    assert fill_text("{metadata.size} bytes", known, "run_key") == "12 bytes"


@pytest.mark.parametrize(
    "template", ["", "{", "}", "{}", "{a b}", "{a.}", "a{b", "{run.id}", "{partition.key}", "{0}", 7]
)
def test_what_is_no_template_is_refused_where_it_is_declared(template: object) -> None:
    with pytest.raises(DefinitionError, match="run_key") as refused:
        check_template(template, "landing: run_key")
    assert refused.value.hint


@pytest.mark.parametrize("template", ["{etag}", "{metadata.etag}", "{metadata.a.b}", "{partition}"])
def test_a_field_that_is_not_there_is_named_with_what_is(template: str) -> None:
    with pytest.raises(Conflict) as refused:
        fill_text(template, scope(metadata={"a": 1, "path": "x"}, tags={"file": "y"}), "run_key")
    assert template in str(refused.value)
    assert "metadata.path" in refused.value.hint
    assert "tags.file" in refused.value.hint


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
