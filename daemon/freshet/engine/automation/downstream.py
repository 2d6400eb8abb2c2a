"""`any_downstream_conditions`: written out, for each asset, as the conditions of those below it."""

from __future__ import annotations

from freshet.definitions.condition import AnyDownstreamConditions, AutomationCondition, Or
from freshet.definitions.graph import Definitions

__all__ = ["written_out"]


def written_out(definitions: Definitions) -> dict[str, AutomationCondition]:
    """The conditions by asset. Where one below says `any_downstream_conditions` too, those below it take its place; one
    that has none below is never true."""
    found: dict[str, AutomationCondition] = {}
    plain: dict[int, bool] = {}
    below: dict[str, tuple[AutomationCondition, ...]] = {}
    for name in reversed(definitions.order):
        condition = definitions.asset[name].automation
        if condition is None:
            below[name] = ()
            continue
        known = plain.get(id(condition))
        if known is None:
            known = plain[id(condition)] = not _mentions(condition)
        if known:
            below[name] = (condition,)
            found[name] = condition
            continue
        below[name] = tuple(dict.fromkeys(one for child in definitions.downstream[name] for one in below[child]))
        found[name] = _replaced(condition, Or(below[name], label="any_downstream_conditions"))
    return found


def _mentions(condition: AutomationCondition) -> bool:
    return isinstance(condition, AnyDownstreamConditions) or any(map(_mentions, condition.children()))


def _replaced(condition: AutomationCondition, by: AutomationCondition) -> AutomationCondition:
    if isinstance(condition, AnyDownstreamConditions):
        return by
    kids = condition.children()
    return condition.with_children([_replaced(kid, by) for kid in kids]) if kids else condition
