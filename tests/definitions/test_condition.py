"""Conditions as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tests.definitions.conditions import KINDS, joined, operands, trees

from freshet import AutomationCondition, DefinitionError
from freshet.definitions.condition import And, Operand, OperandKind, Or

C = AutomationCondition
ADAPTER: TypeAdapter[AutomationCondition] = TypeAdapter(AutomationCondition)

policies: st.SearchStrategy[AutomationCondition] = st.sampled_from(
    [C.executed_with_tags(["a"], {"b": "1"}), C.on_lapse(2), C.eager("5s"), C.on_missing()]
)


CHECKS: list[AutomationCondition] = [
    C.check_passed(),
    C.check_failed("good"),
    C.any_checks_match(C.check_failed() | ~C.check_passed(), blocking_only=True),
    C.all_checks_match(C.check_passed()),
    C.all_deps_blocking_checks_passed(),
]
TREES = trees(st.one_of(operands, policies, st.sampled_from(CHECKS)), max_leaves=12, max_wait="90s")


@given(st.one_of(TREES, joined(TREES, ["a", "b"], max_wait="90s")))
def test_they_travel_as_json_and_compare(tree: AutomationCondition) -> None:
    read = ADAPTER.validate_json(orjson.dumps(tree))
    assert read == tree and hash(read) == hash(tree) and str(read) == str(tree)


@pytest.mark.parametrize(
    "text", ['{"kind": "and"}', '{"kind": "nothing"}', "{}", '{"kind": "not", "operand": {"kind": "x"}}', "null"]
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_json(text)


def test_they_print_as_expressions() -> None:
    assert str(C.missing() & ~C.in_progress() | C.newly_updated()) == "((missing & ~in_progress) | newly_updated)"
    assert str(C.any_deps_updated().since_last_handled()) == "any_deps_match(newly_updated).since(newly_handled)"
    assert str(~C.any_deps_in_progress()) == "~any_deps_match(in_progress)"
    assert str(C.eager(max_wait="90s")) == (
        "(((newly_missing | any_deps_match(newly_updated)).since(newly_handled).when_deps_ready(1m30s)"
        " | any_deps_match(will_be_requested).when_deps_ready(None)) & ~in_progress)"
    )
    assert str(C.any_of("a", "b").debounce("10s", max_wait="1m")) == (
        "(asset_matches('a', newly_updated) | asset_matches('b', newly_updated)).since(newly_handled).debounce(10s, 1m)"
    )
    assert str(C.all_of("a", within="90s")) == (
        "((asset_matches('a', newly_updated).since(newly_handled) & asset_matches('a', newly_updated).recently(1m30s)))"
        ".since(newly_handled)"
    )
    assert str(C.missing().batch(5) | C.missing().batch(within="2s")) == "(missing.batch(5) | missing.batch(None, 2s))"
    assert str(C.executed_with_tags({"b", "a"}, {"c": "1"})) == "executed_with_tags('a', 'b', 'c': '1')"
    assert str(C.on_lapse()) == "(lapse_unserved(3, 30s).when_deps_ready(1m, after_lapsed) & ~in_progress)"


def test_other_names_for_the_same() -> None:
    assert C.freshness_failed() == C.freshness_lapsed()
    assert C.run_in_progress() == C.in_progress()
    every, some = (make(["a"], {"b": "1"}) for make in (C.all_new_updates_have_run_tags, C.any_new_update_has_run_tags))
    assert str(every) == str(some) == "(newly_updated & executed_with_tags('a', 'b': '1'))"
    assert (every.label, some.label) == ("all_new_updates_have_run_tags", "any_new_update_has_run_tags")


def test_equal_operators_in_a_row_are_one_node() -> None:
    one, two, three = C.missing(), C.in_progress(), C.newly_updated()
    assert one & two & three == And((one, two, three))
    assert one | (two | three) == Or((one, two, three))
    named = (one & two).with_label("named")
    assert named & three == And((named, three))


def test_labels_are_kept_and_change_nothing_else() -> None:
    labelled = C.missing().with_label("gap")
    assert labelled == Operand("missing", label="gap") and str(labelled) == "missing"


@pytest.mark.parametrize("kind", KINDS)
def test_a_factory_for_each_operand(kind: OperandKind) -> None:
    assert getattr(C, kind)() == Operand(kind)


def _any(value: object) -> Any:
    """What a plugin that no type checker sees may hand over."""
    return value


def _and(one: Any, other: Any) -> object:
    return one and other


def _or(one: Any, other: Any) -> object:
    return one or other


def _not(one: Any, other: Any) -> object:
    return not one or not other


@pytest.mark.parametrize("wrong", [_and, _or, _not])
def test_what_python_would_decide_by_itself_is_refused(wrong: Callable[[Any, Any], object]) -> None:
    """`a and b` would be `b` alone, and `not a` False: another condition than the one written."""
    with pytest.raises(DefinitionError, match="neither true nor false") as caught:
        wrong(C.eager(), C.missing())
    assert "& instead of and" in caught.value.hint


@pytest.mark.parametrize(
    ("wrong", "says", "hint"),
    [
        (lambda: C(), "AutomationCondition() is no condition", "C.eager()"),
        (lambda: C("eager"), "AutomationCondition() is no condition", "C.eager()"),
        (lambda: C.any_deps_match(_any("missing")), "any_deps_match() takes AutomationCondition", "C.missing()"),
        (lambda: C.all_deps_match(_any(3)), "all_deps_match() takes AutomationCondition, not 3", "for example"),
        (lambda: C.all_deps_match(_any(C.missing)), "all_deps_match() takes AutomationCondition", "call it: missing()"),
        (C.backfill_in_progress, "in progress when its run is queued or running", "C.in_progress()"),
        (C.executed_with_root_target, "read by its step", ".since_last_handled()"),
        (lambda: C.missing() & _any("eager"), "takes AutomationCondition, not 'eager'", "C.eager()"),
        (lambda: C.missing().since(_any("x")), "since() takes AutomationCondition, not 'x'", "for example"),
        (lambda: C.all_of("a", reset=_any("c")), "all_of(reset=) takes AutomationCondition, not 'c'", "for example"),
        (lambda: C.all_of("a", within="soon"), "all_of(within=): 'soon' is not a duration", "30s"),
        (lambda: C.missing().with_label(_any(3)), "with_label() takes a text, not 3", "with_label("),
        (lambda: C.on_lapse(_any("3")), "on_lapse(attempts=) takes a whole number, not '3'", "at least 1"),
        (lambda: C.on_lapse(_any(2.5)), "on_lapse(attempts=) takes a whole number, not 2.5", "at least 1"),
        (lambda: C.on_lapse(0), "on_lapse(attempts=0) allows no run", "at least 1"),
        (lambda: C.missing().batch(_any("3")), "batch(count=) takes a whole number, not '3'", "at least 1"),
        (lambda: C.missing().batch(0), "batch(count=0) is never full", "at least 1"),
        (lambda: C.missing().debounce("10s", max_wait="5s"), "never waits for '10s'", "longer max_wait="),
    ],
)
def test_a_wrong_part_is_refused_where_it_is_written(wrong: Callable[[], object], says: str, hint: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        wrong()
    assert says in caught.value.message
    assert hint.replace("C.", "AutomationCondition.") in caught.value.hint
