"""Random conditions."""

from __future__ import annotations

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
        )

    return st.recursive(leaves, above, max_leaves=max_leaves)
