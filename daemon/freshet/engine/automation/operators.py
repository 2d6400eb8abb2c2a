"""Evaluation of nodes: algebra on bitmaps, limited to a scope's candidates. Nothing here changes a value in place."""

from __future__ import annotations

from collections.abc import Callable

from pyroaring import BitMap

from freshet.definitions.condition import (
    AllDepsMatch,
    And,
    AnyDepsMatch,
    AssetMatches,
    AutomationCondition,
    Batch,
    CheckIs,
    ChecksMatch,
    CronTickPassed,
    Debounce,
    ExecutedWithTags,
    InLatestTimeWindow,
    LapseUnserved,
    NewlyTrue,
    Not,
    Operand,
    Or,
    Recently,
    Since,
    WhenDepsReady,
)
from freshet.engine.automation.lapse import lapse_unserved
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.operands import OPERANDS
from freshet.engine.automation.program import Node
from freshet.engine.automation.ready import when_deps_ready
from freshet.engine.automation.state import EMPTY
from freshet.engine.automation.timed import batch, debounce, recently
from freshet.engine.automation.topology import Edge
from freshet.engine.automation.verdicts import check_is, checks_match

__all__ = ["value"]


def value(look: Look, node: Node, scope: Scope) -> BitMap:
    """The candidates of which the node is true. A node is evaluated once in a look."""
    if not node.shared:
        look.moment.visited += 1
        return _EVALUATE[type(node.condition)](look, node, scope)
    known = look.values.get((node.index, scope.path))
    if known is None:
        look.moment.visited += 1
        known = look.values[node.index, scope.path] = _EVALUATE[type(node.condition)](look, node, scope)
    return known


def _operand(look: Look, node: Node, scope: Scope) -> BitMap:
    assert isinstance(node.condition, Operand)
    return OPERANDS[node.condition.kind](look, scope)


def _and(look: Look, node: Node, scope: Scope) -> BitMap:
    return _all([value(look, kid, scope) for kid in node.kids])


def _or(look: Look, node: Node, scope: Scope) -> BitMap:
    return _any([value(look, kid, scope) for kid in node.kids])


def _not(look: Look, node: Node, scope: Scope) -> BitMap:
    return scope.candidates - value(look, node.kids[0], scope)


def _some_dep(look: Look, node: Node, scope: Scope) -> BitMap:
    return _any([bits for _, bits in _deps(look, node, scope)])


def _when_deps_ready(look: Look, node: Node, scope: Scope) -> BitMap:
    assert isinstance(node.condition, WhenDepsReady)
    return when_deps_ready(look, node, node.condition, scope, value(look, node.kids[0], scope))


def _lapse_unserved(look: Look, node: Node, scope: Scope) -> BitMap:
    assert isinstance(node.condition, LapseUnserved)
    return lapse_unserved(look, node, node.condition, scope)


def _all(parts: list[BitMap]) -> BitMap:
    return BitMap.intersection(*parts) if all(parts) else EMPTY


def _any(parts: list[BitMap]) -> BitMap:
    there = [bits for bits in parts if bits]
    if not there:
        return EMPTY
    return BitMap.union(*there) if len(there) > 1 else there[0]


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
    """For each dependency, the candidates that depend on something of which the operand is true."""
    operand, moment, edges = node.kids[0], look.moment, look.world.topology.chosen(scope.asset, node.deps)
    if operand.instant:
        if not look.pulsing:
            return [(edge, EMPTY) for edge in edges]
        moved = [edge.asset in moment.pulses or edge.asset in moment.asked for edge in edges]
        if not any(moved):
            return [(edge, EMPTY) for edge in edges]
    found: list[tuple[Edge, BitMap]] = []
    for edge in edges:
        above = look.above(scope, edge)
        found.append((edge, look.matched(scope, edge, value(look, operand, above))))
    return found


def _asset_matches(look: Look, node: Node, scope: Scope) -> BitMap:
    assert isinstance(node.condition, AssetMatches)
    operand, edge = node.kids[0], look.world.topology.named[scope.asset][node.condition.asset]
    moment = look.moment
    if operand.instant and not (look.pulsing and (edge.asset in moment.pulses or edge.asset in moment.asked)):
        return EMPTY
    above = look.above(scope, edge)
    return look.matched(scope, edge, value(look, operand, above))


def _recently(look: Look, node: Node, scope: Scope) -> BitMap:
    assert isinstance(node.condition, Recently)
    return recently(look, node, node.condition, scope, value(look, node.kids[0], scope))


def _debounce(look: Look, node: Node, scope: Scope) -> BitMap:
    assert isinstance(node.condition, Debounce)
    return debounce(look, node, node.condition, scope, value(look, node.kids[0], scope), value)


def _batch(look: Look, node: Node, scope: Scope) -> BitMap:
    assert isinstance(node.condition, Batch)
    return batch(look, node, node.condition, scope, value(look, node.kids[0], scope), value)


def _cron_tick_passed(look: Look, node: Node, scope: Scope) -> BitMap:
    return scope.candidates if look.pulsing and node.key in look.ticked else EMPTY


def _executed_with_tags(look: Look, node: Node, scope: Scope) -> BitMap:
    """Remembered: the last run of which partitions has them."""
    condition, pulses, key = node.condition, look.pulses(scope), look.key(node, scope)
    assert isinstance(condition, ExecutedWithTags)
    if updated := scope.candidates & pulses.updated:
        tagged = BitMap(number for number in updated if condition.has(pulses.tags.get(number, {})))
        look.memory.assign(key, updated, tagged)
    return look.memory.get(key) & scope.candidates


def _in_latest_time_window(look: Look, node: Node, scope: Scope) -> BitMap:
    assert isinstance(node.condition, InLatestTimeWindow)
    return look.world.latest(scope.asset, scope.candidates, node.condition.lookback)


def _check_is(look: Look, node: Node, scope: Scope) -> BitMap:
    assert isinstance(node.condition, CheckIs)
    return check_is(look, node.condition, scope)


def _checks_match(look: Look, node: Node, scope: Scope) -> BitMap:
    assert isinstance(node.condition, ChecksMatch)
    return checks_match(look, node.condition, scope)


_EVALUATE: dict[type[AutomationCondition], Callable[[Look, Node, Scope], BitMap]] = {
    Operand: _operand,
    And: _and,
    Or: _or,
    Not: _not,
    Since: _since,
    NewlyTrue: _newly_true,
    AnyDepsMatch: _some_dep,
    AllDepsMatch: _every_dep,
    AssetMatches: _asset_matches,
    WhenDepsReady: _when_deps_ready,
    Recently: _recently,
    Debounce: _debounce,
    Batch: _batch,
    LapseUnserved: _lapse_unserved,
    CronTickPassed: _cron_tick_passed,
    ExecutedWithTags: _executed_with_tags,
    InLatestTimeWindow: _in_latest_time_window,
    CheckIs: _check_is,
    ChecksMatch: _checks_match,
}
