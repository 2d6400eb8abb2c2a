"""What checks have found, as bitmaps of partitions. Nothing here changes a value in place."""

from __future__ import annotations

from dataclasses import dataclass

from pyroaring import BitMap

from freshet.definitions.check import is_imported
from freshet.definitions.condition import And, AutomationCondition, CheckIs, ChecksMatch, Not, Or
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.state import EMPTY

__all__ = ["check_is", "checks_match"]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Of one check, the candidates that it is a check `of`, and those that passed and that failed. What was imported is
    no check of a partition that it says nothing of."""

    of: BitMap
    passed: BitMap
    failed: BitMap


def check_is(look: Look, condition: CheckIs, scope: Scope) -> BitMap:
    """The candidates of which a check found this; without a name, see `CheckIs`."""
    passes = condition.kind == "check_passed"
    if condition.name is not None:
        one = _verdict(look, scope, condition.name)
        return one.passed if passes else one.failed
    found = [_verdict(look, scope, name) for name in _names(look, scope)]
    if not passes:
        return BitMap.union(EMPTY, *(one.failed for one in found))
    return BitMap.union(EMPTY, *(one.of for one in found)) - _short(found, [one.passed for one in found])


def checks_match(look: Look, condition: ChecksMatch, scope: Scope) -> BitMap:
    """The candidates of which the operand is true of any check, or of every one."""
    found = [_verdict(look, scope, name) for name in _names(look, scope, blocking_only=condition.blocking_only)]
    true = [_matching(condition.operand, one) for one in found]
    if condition.kind == "all_checks_match":
        return scope.candidates - _short(found, true)
    return BitMap.union(EMPTY, *true)


def _short(found: list[_Verdict], true: list[BitMap]) -> BitMap:
    """Those of which it is not true of some check."""
    return BitMap.union(EMPTY, *(one.of - bits for one, bits in zip(found, true, strict=True)))


def _names(look: Look, scope: Scope, *, blocking_only: bool = False) -> list[str]:
    """The checks that are declared, and those that were imported."""
    declared = look.world.topology.checks.get(scope.asset, ())
    if blocking_only:
        return [name for name, blocking in declared if blocking]
    return [*(name for name, _ in declared), *(name for name in look.levels(scope).results if is_imported(name))]


def _verdict(look: Look, scope: Scope, name: str) -> _Verdict:
    both = look.levels(scope).results.get(name, (EMPTY, EMPTY))
    passed, failed = (_marked(look, scope, bits) for bits in both)
    return _Verdict(passed | failed if is_imported(name) else scope.candidates, passed, failed)


def _marked(look: Look, scope: Scope, bits: BitMap) -> BitMap:
    """A check of all partitions together (0) speaks for each."""
    if 0 in bits and look.world.topology.set_of[scope.asset] is not None:
        return scope.candidates
    return scope.candidates & bits


def _matching(operand: AutomationCondition, one: _Verdict) -> BitMap:
    match operand:
        case CheckIs():
            return one.passed if operand.kind == "check_passed" else one.failed
        case Not():
            return one.of - _matching(operand.operand, one)
        case And() | Or():
            parts = [_matching(part, one) for part in operand.operands]
            return BitMap.intersection(*parts) if isinstance(operand, And) else BitMap.union(*parts)
        case _:
            raise AssertionError(operand)
