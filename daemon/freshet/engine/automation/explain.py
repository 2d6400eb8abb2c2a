"""Why: a condition's tree with the values of its nodes for one partition."""

from __future__ import annotations

from dataclasses import dataclass

from freshet.definitions.condition import AllDepsMatch, AnyDepsMatch, WhenDepsReady
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.memory import Stamps
from freshet.engine.automation.operators import value
from freshet.engine.automation.program import Node

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A node: of which asset, its expression and label, whether it is true now.

    `since`: from when on, where that is remembered. `until`: when what holds back ends at the latest.
    """

    asset: str
    expression: str
    label: str | None
    value: bool
    since: float | None = None
    until: float | None = None
    children: tuple[Explanation, ...] = ()


def explain(look: Look, node: Node, scope: Scope) -> Explanation:
    """`look` is at rest and has a copy of the memory; `scope` holds one partition, or those of a dependency."""
    true = bool(value(look, node, scope))
    since = until = None
    if isinstance(node.condition, (AnyDepsMatch, AllDepsMatch)):
        edges = look.world.topology.edges[scope.asset]
        children = tuple(explain(look, node.kids[0], look.above(scope, edge)) for edge in edges)
    else:
        children = tuple(explain(look, kid, scope) for kid in node.kids)
    if isinstance(node.condition, WhenDepsReady) and node.condition.max_wait is not None:
        stamps = look.memory.stamps(look.key(node, scope, f".wait{Stamps.DEADLINE}"), deadline=True)
        for when, _ in stamps.items(scope.candidates):
            until, since = when, when - node.condition.max_wait
    return Explanation(scope.asset, str(node.condition), node.condition.label, true, since, until, children)
