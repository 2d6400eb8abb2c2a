"""The operands: one function each, from a look and a scope to the candidates of which it is true."""

from __future__ import annotations

from collections.abc import Callable

from pyroaring import BitMap

from freshet.definitions.condition import OperandKind
from freshet.engine.automation.lapses import lapsed_above
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.state import EMPTY

__all__ = ["OPERANDS"]


def _missing(look: Look, scope: Scope) -> BitMap:
    levels = look.levels(scope)
    return scope.candidates - (levels.usable if scope.path else levels.materialized)


def _in_progress(look: Look, scope: Scope) -> BitMap:
    levels = look.levels(scope)
    return levels.in_flight(scope.candidates) if scope.path else scope.candidates & levels.in_progress


def _execution_failed(look: Look, scope: Scope) -> BitMap:
    return scope.candidates & look.levels(scope).failed


def _newly_updated(look: Look, scope: Scope) -> BitMap:
    pulses = look.pulses(scope)
    return scope.candidates & (pulses.arrived if scope.path else pulses.updated)


def _newly_requested(look: Look, scope: Scope) -> BitMap:
    return scope.candidates & look.pulses(scope).requested


def _newly_missing(look: Look, scope: Scope) -> BitMap:
    fresh = scope.candidates if look.first and look.pulsing else scope.candidates & look.pulses(scope).added
    return fresh - look.levels(scope).materialized if fresh else fresh


def _newly_handled(look: Look, scope: Scope) -> BitMap:
    return scope.candidates & look.pulses(scope).handled


def _will_be_requested(look: Look, scope: Scope) -> BitMap:
    if not look.pulsing or not scope.path or not scope.joins:
        return EMPTY
    return scope.candidates & look.moment.asked_of(scope.asset)


def _freshness_passed(look: Look, scope: Scope) -> BitMap:
    topology, levels = look.world.topology, look.levels(scope)
    if scope.asset not in topology.policies:
        return EMPTY
    stale = levels.lapsed | levels.warned
    if scope.asset in topology.by_partition:
        return scope.candidates - stale
    return EMPTY if stale else scope.candidates & look.world.newest(scope.asset)


def _freshness_lapsed(look: Look, scope: Scope) -> BitMap:
    return scope.candidates & look.world.marked(scope.asset, look.levels(scope).lapsed)


def _freshness_warned(look: Look, scope: Scope) -> BitMap:
    return scope.candidates & look.world.marked(scope.asset, look.levels(scope).warned)


def _upstream_lapsed(look: Look, scope: Scope) -> BitMap:
    return scope.candidates & lapsed_above(look, scope.asset)


def _initial_evaluation(look: Look, scope: Scope) -> BitMap:
    return scope.candidates if look.first and look.pulsing else EMPTY


def _code_version_changed(look: Look, scope: Scope) -> BitMap:
    return scope.candidates if look.pulses(scope).code else EMPTY


def _data_version_changed(look: Look, scope: Scope) -> BitMap:
    pulses = look.pulses(scope)
    return scope.candidates & (pulses.arrived_anew if scope.path else pulses.changed)


OPERANDS: dict[OperandKind, Callable[[Look, Scope], BitMap]] = {
    "missing": _missing,
    "in_progress": _in_progress,
    "execution_failed": _execution_failed,
    "newly_updated": _newly_updated,
    "newly_requested": _newly_requested,
    "newly_missing": _newly_missing,
    "newly_handled": _newly_handled,
    "will_be_requested": _will_be_requested,
    "freshness_passed": _freshness_passed,
    "freshness_lapsed": _freshness_lapsed,
    "freshness_warned": _freshness_warned,
    "upstream_lapsed": _upstream_lapsed,
    "initial_evaluation": _initial_evaluation,
    "code_version_changed": _code_version_changed,
    "data_version_changed": _data_version_changed,
}
