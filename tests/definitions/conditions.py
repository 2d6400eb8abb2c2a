"""Random conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from hypothesis import strategies as st

from freshet.definitions.condition import AutomationCondition, Operand, OperandKind

KINDS: tuple[OperandKind, ...] = get_args(OperandKind)
operands: st.SearchStrategy[AutomationCondition] = st.sampled_from([Operand(kind) for kind in KINDS])


def trees(
    leaves: st.SearchStrategy[AutomationCondition], *, max_leaves: int, max_wait: str
) -> st.SearchStrategy[AutomationCondition]:
    """Expressions over `leaves` with every operator."""

    def above(inner: st.SearchStrategy[AutomationCondition]) -> st.SearchStrategy[AutomationCondition]:
        pairs = st.tuples(inner, inner)
        return st.one_of(
            pairs.map(lambda pair: pair[0] & pair[1]),
            pairs.map(lambda pair: pair[0] | pair[1]),
            pairs.map(lambda pair: pair[0].since(pair[1])),
            inner.map(lambda one: ~one),
            inner.map(lambda one: one.newly_true()),
            inner.map(AutomationCondition.any_deps_match),
            inner.map(AutomationCondition.all_deps_match),
            inner.map(lambda one: AutomationCondition.any_deps_match(one).ignore("n1")),
            inner.map(lambda one: AutomationCondition.all_deps_match(one).allow("n0", "n2")),
            inner.map(lambda one: one.when_deps_ready(max_wait)),
            inner.map(lambda one: one.when_deps_ready(max_wait, after_lapsed=True)),
            inner.map(lambda one: one.when_deps_ready(None)),
            inner.map(lambda one: one.with_label("named")),
            inner.map(lambda one: one.recently(max_wait)),
            inner.map(lambda one: one.debounce(max_wait)),
            inner.map(lambda one: one.debounce("8s", max_wait=max_wait)),
            inner.map(lambda one: one.batch(3)),
            inner.map(lambda one: one.batch(2, within=max_wait)),
        )

    return st.recursive(leaves, above, max_leaves=max_leaves)


def joined(
    inner: st.SearchStrategy[AutomationCondition], names: Sequence[str], *, max_wait: str
) -> st.SearchStrategy[AutomationCondition]:
    """Expressions that name assets; `inner` names none."""
    named = st.builds(AutomationCondition.asset_matches, st.sampled_from(names), inner)
    items = st.lists(st.one_of(st.sampled_from(names), st.sampled_from(names), inner), min_size=1, max_size=3)

    def above(kids: st.SearchStrategy[AutomationCondition]) -> st.SearchStrategy[AutomationCondition]:
        pairs = st.tuples(kids, kids)
        return st.one_of(
            pairs.map(lambda pair: pair[0] & pair[1]),
            pairs.map(lambda pair: pair[0] | pair[1]),
            pairs.map(lambda pair: pair[0].since(pair[1])),
            kids.map(lambda one: ~one),
            kids.map(lambda one: one.newly_true()),
            kids.map(lambda one: one.when_deps_ready(max_wait)),
            kids.map(lambda one: one.debounce(max_wait)),
            kids.map(lambda one: one.batch(2, within=max_wait)),
        )

    joins = st.one_of(
        items.map(lambda some: AutomationCondition.all_of(*some)),
        items.map(lambda some: AutomationCondition.all_of(*some, within=max_wait)),
        items.map(lambda some: AutomationCondition.any_of(*some)),
    )
    return st.one_of(joins, st.recursive(st.one_of(named, named, inner, joins), above, max_leaves=4))
