"""How long what an operand is true of stays so: for a moment, or until something else happens."""

from __future__ import annotations

from collections.abc import Iterator

from pyroaring import BitMap

from freshet.definitions.condition import AllDepsMatch, And, AnyDepsMatch, AssetMatches, Or
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.program import Node
from freshet.engine.automation.state import EMPTY
from freshet.engine.automation.topology import Edge

__all__ = ["lasting"]


def lasting(look: Look, node: Node, scope: Scope) -> BitMap:
    """The candidates of which the node may be true for longer than a look."""
    if node.span != "mixed":
        return EMPTY if node.span == "moment" else scope.candidates
    match node.condition:
        case And():
            found = scope.candidates
            for kid in node.kids:
                found = found & lasting(look, kid, scope)
        case Or():
            found = EMPTY
            for kid in node.kids:
                found = found | lasting(look, kid, scope)
        case AllDepsMatch():
            found = scope.candidates
            for edge, below in _deps(look, node, scope):
                found = found - (look.world.having(edge, found) - below)
        case AnyDepsMatch() | AssetMatches():
            found = EMPTY
            for _, below in _deps(look, node, scope):
                found = found | below
        case _:
            found = lasting(look, node.kids[0], scope)
    return found


def _deps(look: Look, node: Node, scope: Scope) -> Iterator[tuple[Edge, BitMap]]:
    """For each asset that is looked at, the candidates that depend on something of which the operand may last."""
    condition, topology = node.condition, look.world.topology
    if isinstance(condition, AssetMatches):
        edges: tuple[Edge, ...] = (topology.named[scope.asset][condition.asset],)
    else:
        edges = topology.chosen(scope.asset, node.deps)
    for edge in edges:
        above = look.above(scope, edge)
        yield edge, look.matched(scope, edge, lasting(look, node.kids[0], above))
