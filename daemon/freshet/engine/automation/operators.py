"""Evaluation of nodes: algebra on bitmaps, limited to a scope's candidates. Nothing here changes a value in place."""

from __future__ import annotations

from collections.abc import Iterable

from pyroaring import BitMap

from freshet.definitions.condition import (
    AllDepsMatch,
    And,
    AnyDepsMatch,
    LapseUnserved,
    NewlyTrue,
    Not,
    Operand,
    Or,
    Since,
    WhenDepsReady,
)
from freshet.engine.automation.lapse import lapse_unserved
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.operands import OPERANDS
from freshet.engine.automation.program import Node
from freshet.engine.automation.ready import when_deps_ready
from freshet.engine.automation.state import EMPTY
from freshet.engine.automation.topology import Edge

__all__ = ["value"]


def value(look: Look, node: Node, scope: Scope) -> BitMap:
    """The candidates of which the node is true. A node is evaluated once in a look."""
    known = look.values.get((node.index, scope.path))
    if known is None:
        look.moment.visited += 1
        known = look.values[node.index, scope.path] = _evaluate(look, node, scope)
    return known


def _evaluate(look: Look, node: Node, scope: Scope) -> BitMap:
    match node.condition:
        case Operand(kind=kind):
            return OPERANDS[kind](look, scope)
        case And():
            return _all(value(look, kid, scope) for kid in node.kids)
        case Or():
            return _any(value(look, kid, scope) for kid in node.kids)
        case Not():
            return scope.candidates - value(look, node.kids[0], scope)
        case Since():
            return _since(look, node, scope)
        case NewlyTrue():
            return _newly_true(look, node, scope)
        case AnyDepsMatch():
            return _any(bits for _, bits in _deps(look, node, scope))
        case AllDepsMatch():
            return _every_dep(look, node, scope)
        case WhenDepsReady() as ready:
            return when_deps_ready(look, node, ready, scope, value(look, node.kids[0], scope))
        case LapseUnserved() as lapse:
            return lapse_unserved(look, node, lapse, scope)
        case _:
            raise TypeError(f"no evaluation for {node.condition!r}")


def _all(values: Iterable[BitMap]) -> BitMap:
    parts = list(values)
    return BitMap.intersection(*parts) if len(parts) > 1 else parts[0]


def _any(values: Iterable[BitMap]) -> BitMap:
    parts = [bits for bits in values if bits]
    if not parts:
        return EMPTY
    return BitMap.union(*parts) if len(parts) > 1 else parts[0]


def _since(look: Look, node: Node, scope: Scope) -> BitMap:
    trigger, reset = (value(look, kid, scope) for kid in node.kids)
    key = look.key(node, scope)
    held = ((look.memory.get(key) & scope.candidates) | trigger) - reset
    look.memory.assign(key, scope.candidates, held)
    return held


def _newly_true(look: Look, node: Node, scope: Scope) -> BitMap:
    now = value(look, node.kids[0], scope)
    key = look.key(node, scope)
    fresh = now - look.memory.get(key)
    look.memory.assign(key, scope.candidates, now)
    return fresh


def _every_dep(look: Look, node: Node, scope: Scope) -> BitMap:
    found = scope.candidates
    for edge, matched in _deps(look, node, scope):
        found = found - (look.world.having(edge, found) - matched)
    return found


def _deps(look: Look, node: Node, scope: Scope) -> list[tuple[Edge, BitMap]]:
    found: list[tuple[Edge, BitMap]] = []
    for edge in look.world.topology.edges[scope.asset]:
        above = look.above(scope, edge)
        found.append((edge, look.matched(scope, edge, value(look, node.kids[0], above))))
    return found
